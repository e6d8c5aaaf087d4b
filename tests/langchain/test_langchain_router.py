"""`TryageRouter` decides, and hands the decision to a chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, RouterRunnable, RunnablePassthrough
from numpy.typing import NDArray

import tryage
from langchain_tryage import TryageRouter
from tests.langchain.fakes import Counting, answering, in_order
from tests.langchain.ways import Way
from tryage import (
    Decision,
    EmptyLibrary,
    EmptyPrompt,
    Flags,
    InvalidFlag,
    Library,
    ModelCard,
    NoEligibleModel,
    UnknownFlag,
    UnknownModel,
    UsageError,
)
from tryage.testing import FunctionPredictor

PROMPT = ChatPromptTemplate([("system", "Be brief."), ("human", "{question}")])


def routing(*names: str, **kwargs: Any) -> TryageRouter:
    """Return a router that prefers the models in the order given."""
    return TryageRouter(names, **{"predictor": in_order(*names), **kwargs})


def only(name: str) -> dict[str, Any]:
    return {"configurable": {"tryage_flags": f"only {name}"}}


class Tallied(FunctionPredictor):
    """Prefers `b` for hard prompts, and keeps how many prompts each prediction was for."""

    def __init__(self) -> None:
        super().__init__(lambda prompt, model: 0.9 if (model == "b") == ("hard" in prompt) else 0.1)
        self.sizes: list[int] = []

    def for_library(self, library: Library) -> FunctionPredictor:
        self.models_ = library.names
        return self

    def predict(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        self.sizes.append(len(prompts))
        return super().predict(prompts)


@pytest.mark.parametrize(
    "asked",
    [
        "Hi",
        PROMPT.invoke({"question": "Hi"}),
        [HumanMessage("Hi")],
        [("system", "Be brief."), ("human", "Hi")],
        [{"role": "user", "content": "Hi"}],
    ],
)
async def test_every_form_of_a_prompt_is_decided(way: Way, asked: Any) -> None:
    decision = await way.invoke(routing("a", "b"), asked)
    assert isinstance(decision, Decision)
    assert decision.order == ("a", "b")
    assert await way.invoke(routing("a", "b", as_key=True), asked) == "a"
    assert await way.stream(routing("a", "b", as_key=True), asked) == ["a"]


@pytest.mark.parametrize(
    ("models", "names"),
    [
        (["gpt-4o", "my-own"], ("gpt-4o", "my-own")),
        (["openai:gpt-4o", "my:own"], ("gpt-4o", "my:own")),
        ([ModelCard(name="x"), ModelCard(name="y")], ("x", "y")),
        (Library([ModelCard(name="x", aliases=("z",))]), ("x",)),
        ([answering("x"), answering("y")], ("x", "y")),
        ({"fast": answering("x")}, ("fast",)),
        (None, Library.bundled().names),
    ],
)
def test_models_are_given_in_many_forms(models: Any, names: tuple[str, ...]) -> None:
    router = TryageRouter(models)
    assert router.models.names == router.router.library.names == names
    assert router.invoke("Hi").model in names


def test_cards_tell_of_names_and_of_chat_models() -> None:
    card = ModelCard(name="x", parameters=1e9)
    for models in (["x", "y"], [answering("x"), answering("y")]):
        assert TryageRouter(models, cards=[card]).models.find("x").parameters == 1e9


@pytest.mark.parametrize(
    ("models", "kwargs", "error", "said"),
    [
        ("gpt-4o", {}, UsageError, "models=str: give a list"),
        (answering("x"), {}, UsageError, "models=FunctionChatModel: give a list"),
        ([], {}, EmptyLibrary, "is empty"),
        ([3], {}, UsageError, "models\\[0\\] is a int"),
        (["x"], {"cards": [ModelCard(name="y")]}, UnknownModel, "none of the models"),
        ([ModelCard(name="x")], {"cards": [ModelCard(name="x")]}, UsageError, "put yours into"),
        (["x"], {"flags": "cheep"}, UnknownFlag, "cheep"),
        (["x"], {"flags": {"cost": -1}}, InvalidFlag, "cost"),
    ],
)
def test_what_cannot_be_routed_over(
    models: Any, kwargs: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        TryageRouter(models, **kwargs)


async def test_the_later_flags_are_the_stronger(way: Way) -> None:
    router = routing("a", "b", "c", "d", flags="only a", prompt_flags=True, as_key=True)
    assert await way.invoke(router, "Hi") == "a"
    assert await way.invoke(router, "Hi", only("b")) == "b"
    with tryage.flags("only c"):
        assert await way.invoke(router, "Hi", only("b")) == "c"
        assert await way.invoke(router, "[Flag: only d] Hi", only("b")) == "d"
        assert await way.batch(router, ["Hi", "[Flag: only d] Hi"]) == ["c", "d"]
    assert await way.invoke(routing("a", "b", as_key=True), "[Flag: only b] Hi") == "a"
    bound = router.with_config(configurable={"tryage_flags": Flags(allow=frozenset({"b"}))})
    assert await way.invoke(bound, "Hi") == "b"


async def test_what_the_messages_hold_counts(way: Way) -> None:
    cards = [
        ModelCard(name="a", capabilities={"tools"}, context_tokens=1_000),
        ModelCard(name="b", capabilities={"tools", "vision"}),
    ]
    router = TryageRouter(cards, predictor=in_order("a", "b"), as_key=True)
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    assert await way.invoke(router, "Hi") == "a"
    assert await way.invoke(router, [HumanMessage([picture])]) == "b"
    assert await way.invoke(router, [("system", "word " * 5_000), ("human", "Hi")]) == "b"


async def test_a_model_that_waits_for_its_tools_stays(way: Way) -> None:
    call = {"name": "add", "args": {}, "id": "1"}
    wrote = {"response_metadata": {"model_name": "b"}}
    conversation = [HumanMessage("Hi"), AIMessage("", tool_calls=[call], **wrote)]
    router = routing("a", "b", as_key=True)
    answered = [*conversation, ToolMessage("3", tool_call_id="1")]
    assert await way.invoke(router, answered) == "b"
    assert await way.invoke(router, [*answered, AIMessage("3", **wrote), HumanMessage("?")]) == "a"


async def test_the_picked_model_of_a_router_runnable_answers(way: Way) -> None:
    models = {"a": answering("a"), "b": answering("b")}
    router = TryageRouter(models, predictor=in_order("a", "b"), as_key=True)
    chain = {"key": router, "input": RunnablePassthrough()} | RouterRunnable(models)
    assert (await way.invoke(chain, "Hi")).text == "a heard: Hi"
    assert (await way.invoke(chain, [("human", "Hi")], only("b"))).text == "b heard: Hi"
    chunks = await way.stream(chain, "Hi there", only("b"))
    assert [chunk.text for chunk in chunks] == ["b", " heard:", " Hi", " there", ""]
    answers = await way.batch(chain, ["One", [("human", "Two")]], [only("b"), only("a")])
    assert [answer.text for answer in answers] == ["b heard: One", "a heard: Two"]
    after = PROMPT | chain
    assert (await way.invoke(after, {"question": "Hi"}, only("b"))).text == "b heard: Hi"


async def test_a_batch_is_predicted_at_once(way: Way) -> None:
    predictor = Tallied()
    router = TryageRouter(["a", "b"], predictor=predictor, as_key=True)
    prompts = ["easy", "hard", [("human", "hard")], PROMPT.invoke({"question": "easy"})]
    assert await way.batch(router, prompts) == ["a", "b", "b", "a"]
    assert predictor.sizes == [4]
    assert await way.batch(router, ["easy"] * 3, [only("b"), {}, only("a")]) == ["b", "a", "a"]
    assert await way.batch(router, ["easy"] * 2, only("b")) == ["b", "b"]
    assert predictor.sizes == [4, 3, 2]
    assert await way.batch(router, []) == []


async def test_in_a_batch_each_prompt_has_its_own_error(way: Way) -> None:
    router = routing("a", "b", as_key=True)
    prompts: list[Any] = ["Hi", " ", 3, "Hi", "Hi"]
    configs = [{}, {}, {}, {"configurable": {"tryage_flags": "max params 1B"}}, only("b")]
    came = await way.batch(router, prompts, configs, return_exceptions=True)
    assert (came[0], came[4]) == ("a", "b")
    assert [type(error) for error in came[1:4]] == [EmptyPrompt, UsageError, NoEligibleModel]
    with pytest.raises(EmptyPrompt):
        await way.batch(router, prompts, configs)


async def test_a_decision_is_one_run_of_a_chain(way: Way) -> None:
    seen = Counting()
    await way.invoke(routing("a"), "Hi", {"callbacks": [seen]})
    await way.batch(routing("a"), ["Hi", "Hi"], {"callbacks": [seen]})
    assert seen.events == {"chain_start": 3}


async def test_what_is_no_prompt(way: Way) -> None:
    with pytest.raises(UsageError, match="cannot route a dict; give a prompt"):
        await way.invoke(routing("a"), {"messages": ["Hi"]})
    with pytest.raises(UnknownFlag):
        await way.invoke(routing("a"), "Hi", {"configurable": {"tryage_flags": "cheep"}})
    with pytest.raises(TypeError, match="unexpected keyword argument 'flags'"):
        await way.invoke(routing("a"), "Hi", flags="cheap")


async def test_it_is_configurable_and_describes_itself(way: Way) -> None:
    router = routing("a", "b")
    configurable = router.configurable_fields(as_key=ConfigurableField("as_key"))
    assert await way.invoke(configurable, "Hi", {"configurable": {"as_key": True}}) == "a"
    assert routing("a", as_key=True).get_output_jsonschema()["type"] == "string"
    assert router.get_output_jsonschema()["title"] == "TryageRouterOutput"
    assert repr(router).startswith("TryageRouter(models=Library(2 models: a, b), flags=Flags()")
