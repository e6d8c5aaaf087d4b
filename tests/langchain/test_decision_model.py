"""`TryageDecisionModel` answers LangChain's own router hook, where the installed core has it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool

import tryage
from tests.langchain.fakes import Counting, answering, in_order
from tests.langchain.ways import Way
from tryage import Flags, Library, ModelCard, NoEligibleModel, UnknownFlag, UsageError
from tryage.testing import FunctionPredictor

decisions = pytest.importorskip(
    "langchain_core.decisions", reason="decision models came with langchain-core 1.8"
)


def deciding(*names: str, **kwargs: Any) -> Any:
    """Return a decision model that prefers the models in the order given."""
    from langchain_tryage import TryageDecisionModel

    return TryageDecisionModel(names, **{"predictor": in_order(*names), **kwargs})


def asking(state: Any, *options: str) -> dict[str, Any]:
    question = decisions.Choice(instructions="Which model?", criteria=dict.fromkeys(options))
    return {"state": state, "questions": {"route": question}}


async def answer(way: Way, model: Any, state: Any, *options: str, config: Any = None) -> Any:
    return (await way.invoke(model, asking(state, *options), config)).choices["route"]


async def test_the_best_of_the_options_is_chosen(way: Way) -> None:
    model = deciding("a", "b", "c")
    assert (await answer(way, model, "Hi", "c", "a")).choice == "a"
    assert (await answer(way, model, "Hi", "c", "b")).choice == "b"
    assert (await answer(way, model, "Hi", "c")).choice == "c"
    response = await way.invoke(model, asking("Hi", "a", "b"))
    assert response.model == "tryage"


async def test_probabilities_follow_the_objective(way: Way) -> None:
    given = await answer(way, deciding("a", "b", "c"), "Hi", "c", "a", "b")
    assert list(given.probabilities) == ["c", "a", "b"]
    assert sum(given.probabilities.values()) == pytest.approx(1)
    # A tenth of predicted quality lies between a and b, and another between b and c.
    assert given.probabilities["a"] / given.probabilities["b"] == pytest.approx(math.e, rel=1e-4)
    assert given.probabilities["b"] / given.probabilities["c"] == pytest.approx(math.e, rel=1e-4)
    assert given.confidence == given.probabilities[given.choice]


async def test_what_a_limit_excludes_has_no_probability(way: Way) -> None:
    model = deciding("a", "b", flags="only b")
    given = await answer(way, model, "Hi", "a", "b")
    assert (given.choice, given.confidence) == ("b", 1)
    assert given.probabilities == {"a": 0, "b": 1}


async def test_flags_come_from_config_and_context(way: Way) -> None:
    model = deciding("a", "b", "c", flags="only a")
    config = {"configurable": {"tryage_flags": Flags(allow=frozenset({"b"}))}}
    options = ("a", "b", "c")
    assert (await answer(way, model, "Hi", *options)).choice == "a"
    assert (await answer(way, model, "Hi", *options, config=config)).choice == "b"
    with tryage.flags("only c"):
        assert (await answer(way, model, "Hi", *options, config=config)).choice == "c"
    with pytest.raises(UnknownFlag):
        await answer(way, model, "Hi", *options, config={"configurable": {"tryage_flags": "cheep"}})


@pytest.mark.parametrize(
    "state",
    [
        "hard",
        HumanMessage("hard"),
        [HumanMessage("hard")],
        {"task": "hard"},
        {"messages": [HumanMessage("hard")]},
        ["hard", 3],
    ],
)
async def test_every_form_of_state_is_read(way: Way, state: Any) -> None:
    predictor = FunctionPredictor(lambda prompt, model: float((model == "b") == ("hard" in prompt)))
    assert (await answer(way, deciding("a", "b", predictor=predictor), state, "a", "b")).choice == (
        "b"
    )


async def test_an_image_in_the_state_counts(way: Way) -> None:
    cards = [ModelCard(name="a", capabilities=set()), ModelCard(name="b", capabilities={"vision"})]
    from langchain_tryage import TryageDecisionModel

    model = TryageDecisionModel(cards, predictor=in_order("a", "b"))
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    assert (await answer(way, model, HumanMessage([picture]), "a", "b")).choice == "b"
    with pytest.raises(NoEligibleModel, match="a: lacks vision"):
        await answer(way, model, HumanMessage([picture]), "a")


async def test_options_may_be_aliases(way: Way) -> None:
    library = Library([ModelCard(name="large", aliases=("xl",)), ModelCard(name="small")])
    from langchain_tryage import TryageDecisionModel

    model = TryageDecisionModel(library, predictor=in_order("large", "small"))
    given = await answer(way, model, "Hi", "small", "xl")
    assert (given.choice, list(given.probabilities)) == ("xl", ["small", "xl"])


async def test_options_that_are_no_models(way: Way) -> None:
    with pytest.raises(UsageError, match=r"'route' has options .* no known models: fast, deep\."):
        await answer(way, deciding("a"), "Hi", "fast", "a", "deep")


async def test_a_router_answers_no_other_question(way: Way) -> None:
    for question in (
        decisions.Noul(instructions="Is it urgent?"),
        decisions.Score(instructions="How urgent?", criteria=["Not at all.", "Very."]),
        decisions.Box(instructions="Where?"),
    ):
        kind = type(question).__name__
        with pytest.raises(UsageError, match=f"question 'it' is a {kind}; .* ask a Choice"):
            await way.invoke(deciding("a"), {"state": "Hi", "questions": {"it": question}})


async def test_routers_are_built_once_for_the_same_options(way: Way) -> None:
    model = deciding("a", "b")
    for _ in range(3):
        await answer(way, model, "Hi", "a", "b")
    assert model._router_over.cache_info().misses == 1


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@pytest.mark.filterwarnings(
    "ignore:.*ModelRouterMiddleware:langchain_core._api.LangChainBetaWarning"
)
async def test_behind_langchains_own_middleware(way: Way) -> None:
    middleware = pytest.importorskip("langchain.agents.middleware.model_router")
    from langchain.agents import create_agent

    from tests.langchain.test_middleware import adder

    models = {"a": adder("a"), "b": adder("b")}
    routing = middleware.ModelRouterMiddleware(
        choices={n: middleware.ModelChoice(model=m, criteria="") for n, m in models.items()},
        instructions="Choose.",
        classifier=deciding("a", "b"),
    )
    unused = answering("unused", error=AssertionError("the agent's own model was called"))
    agent = create_agent(unused, [add], middleware=[routing])
    asked = {"messages": [HumanMessage("1 2")]}
    seen = Counting()
    state = await way.invoke(agent, asked, {"callbacks": [seen]})
    assert state["messages"][-1].text == "a says 3"
    assert seen.events["chat_model_start"] == 2  # the decision is no call of a chat model
    config = {"configurable": {"tryage_flags": "only b"}}
    state = await way.invoke(agent, asked, config)
    assert state["messages"][-1].text == "b says 3"
    assert state["model_route"].choice == "b"
