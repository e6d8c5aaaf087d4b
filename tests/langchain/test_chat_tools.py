"""Tools, bound to whichever model is picked."""

from __future__ import annotations

import typing
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableBinding
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from langchain_tryage import ChatTryage
from langchain_tryage.testing import FunctionChatModel
from tests.langchain.fakes import Counting, Recording, answering, openai, router
from tests.langchain.ways import Way
from tests.servers.openai_server import OpenAIServer
from tryage import ModelCard, NoEligibleModel
from tryage.testing import FunctionPredictor, Upstream


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Adder(FunctionChatModel):
    """Calls `add` when a user speaks, and says the result when the tool has answered."""

    bound: list[Any] = Field(default_factory=list)

    def bind_tools(self, tools: Any, *, tool_choice: Any = None, **kwargs: Any) -> Any:
        self.bound.append((tuple(tools), tool_choice, kwargs))
        return super().bind_tools(tools, tool_choice=tool_choice, **kwargs)

    def answer(self, messages: list[BaseMessage]) -> AIMessage:
        last = messages[-1]
        if last.type == "tool":
            return AIMessage(f"{self.model_name} says {last.text}")
        numbers = [int(word) for word in last.text.split() if word.isdigit()]
        arguments = dict(zip("ab", numbers, strict=True))
        return AIMessage("", tool_calls=[{"name": "add", "args": arguments, "id": "1"}])


def adder(name: str, **kwargs: Any) -> Adder:
    return Adder(str, model_name=name, **kwargs)


async def test_the_picked_model_calls_the_tool(way: Way, fresh_server: OpenAIServer) -> None:
    bound = router(openai(fresh_server, "a"), openai(fresh_server, "b")).bind_tools([add])
    assert isinstance(bound, RunnableBinding)
    answer = await way.invoke(bound, "What is 3 and 3?")
    assert answer.tool_calls[0]["name"] == "add"
    assert answer.response_metadata["tryage"]["model"] == "a"
    chunks = await way.stream(bound, "What is 3 and 3?")
    assert sum(chunks[1:], chunks[0]).tool_calls[0]["args"] == {"a": 3, "b": 3}
    assert fresh_server.requests["a"][0]["tools"][0]["function"]["name"] == "add"


async def test_each_model_binds_the_original_tools_once(way: Way) -> None:
    a, b = adder("a"), adder("b")
    bound = router(a, b).bind_tools([add], tool_choice="any", strict=True)
    for _ in range(3):
        await way.invoke(bound, "1 2")
        await way.invoke(bound, "1 2", model="b")
    assert a.bound == b.bound == [((add,), "any", {"strict": True})]


async def test_tools_and_choice_may_change_with_the_call(way: Way) -> None:
    a = adder("a")
    model = router(a)
    bound = model.bind_tools([add])
    await way.invoke(bound, "1 2", tool_choice="add")
    assert a.bound[-1] == ((add,), "add", {})
    formatted = bound.kwargs["tools"]
    await way.invoke(model, "1 2", tools=list(formatted))
    assert a.bound[-1] == (tuple(formatted), None, {})


async def test_models_that_cannot_call_tools_are_left_out(way: Way) -> None:
    unable = Recording(model_name="unable")
    model = router(unable, adder("b"))
    assert (await way.invoke(model, "1 2")).text == "recorded"
    answer = await way.invoke(model.bind_tools([add]), "1 2")
    assert answer.response_metadata["tryage"]["model"] == "b"
    with pytest.raises(NoEligibleModel, match="unable: lacks tools"):
        await way.invoke(router(unable).bind_tools([add]), "1 2")


async def test_cards_say_who_can_call_tools(way: Way) -> None:
    card = ModelCard(name="a", capabilities=frozenset({"vision"}))
    model = router(adder("a"), adder("b"), cards=[card])
    answer = await way.invoke(model.bind_tools([add]), "1 2")
    assert answer.response_metadata["tryage"]["model"] == "b"


async def test_tools_survive_failover(way: Way) -> None:
    model = router(adder("a", error=Upstream(503)), adder("b")).bind_tools([add])
    answer = await way.invoke(model, "1 2")
    assert answer.response_metadata["tryage"]["model"] == "b"
    assert answer.tool_calls


async def test_flags_of_a_call_survive_binding(way: Way) -> None:
    bound = router(adder("a"), adder("b")).bind_tools([add])
    config = {"configurable": {"tryage_flags": {"deny": {"a"}}}}
    assert (await way.invoke(bound, "1 2", config)).response_metadata["tryage"]["model"] == "b"
    settled = bound.with_config(configurable={"tryage_flags": "only b"})
    assert (await way.invoke(settled, "1 2")).response_metadata["tryage"]["model"] == "b"


async def test_other_bound_arguments_survive_binding_tools(
    way: Way, fresh_server: OpenAIServer
) -> None:
    bound = router(openai(fresh_server, "a")).bind_tools([add], parallel_tool_calls=False)
    await way.invoke(bound.bind(seed=7), "3")
    (body,) = fresh_server.requests["a"]
    assert body["seed"] == 7
    assert body["parallel_tool_calls"] is False


async def test_a_providers_own_tool_stays_as_it_is() -> None:
    theirs = {"type": "computer_20990101", "display_width_px": 1}
    bound = router(adder("a")).bind_tools([theirs, {"type": "web_search"}])
    assert bound.kwargs["tools"] == [theirs, {"type": "web_search"}]


async def test_streaming_switched_off_for_tools_only(way: Way) -> None:
    model = router(adder("a"), disable_streaming="tool_calling")
    assert len(await way.stream(model.bind_tools([add]), "1 2")) == 1


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_an_agent_runs_on_the_router(asynchronous: bool) -> None:
    agent = create_agent(router(adder("a"), adder("b")), [add])
    seen = Counting()
    question = {"messages": [HumanMessage("1 2")]}
    config: Any = {"callbacks": [seen], "configurable": {"tryage_flags": "not a"}}
    state = (
        await agent.ainvoke(question, config) if asynchronous else agent.invoke(question, config)
    )
    assert state["messages"][-1].text == "b says 3"
    spoken = [m for m in state["messages"] if m.type == "ai"]
    assert [m.response_metadata["tryage"]["model"] for m in spoken] == ["b", "b"]
    assert seen.events["chat_model_start"] == 2


async def test_an_agents_tool_loop_stays_with_one_model() -> None:
    decisions: list[str] = []

    def changes_its_mind(prompt: str, model: str) -> float:
        decisions.append(model)
        return 0.9 if (model == "a") == (len(decisions) <= 2) else 0.1

    model = router(adder("a"), adder("b"), predictor=FunctionPredictor(changes_its_mind))
    state = await create_agent(model, [add]).ainvoke({"messages": [HumanMessage("1 2")]})
    models = [m.response_metadata["tryage"]["model"] for m in state["messages"] if m.type == "ai"]
    assert models == ["a", "a"]
    assert (await model.ainvoke("1 2")).response_metadata["tryage"]["model"] == "b"


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize("strategy", [ToolStrategy, ProviderStrategy])
async def test_an_agent_answers_in_a_form(server: OpenAIServer, strategy: Any) -> None:
    class Person(BaseModel):
        """A person."""

        name: str
        age: int

    model = router(openai(server, "a"), openai(server, "b"))
    agent = create_agent(model, [], response_format=strategy(Person))
    state = await agent.ainvoke({"messages": [HumanMessage("'Ann' is 41 years old")]})
    assert state["structured_response"] == Person(name="Ann", age=41)


async def test_no_tools_are_no_need_of_tools(way: Way) -> None:
    answer = await way.invoke(router(Recording()).bind_tools([]), "Hi")
    assert answer.text == "recorded"


def test_types_resolve_at_run_time() -> None:
    """LangChain reads the annotations of methods that return runnables."""
    for method in (ChatTryage.bind_tools, ChatTryage.with_structured_output):
        assert "return" in typing.get_type_hints(method)
    assert ChatTryage.bind_tools is not BaseChatModel.bind_tools


async def test_tools_behind_fallbacks(way: Way) -> None:
    down = router(answering("a", error=Upstream(503)))
    guarded = down.with_fallbacks([router(adder("b"))]).bind_tools([add])
    assert (await way.invoke(guarded, "1 2")).tool_calls


async def test_tools_and_tool_calls_count_as_context(way: Way) -> None:
    def look(what: str) -> str:
        return what

    look.__doc__ = "Look something up. " + "All about it. " * 1000
    cards = [
        ModelCard(name="narrow", context_tokens=1000, capabilities={"tools"}),
        ModelCard(name="wide", context_tokens=100_000, capabilities={"tools"}),
    ]
    model = router(answering("narrow"), answering("wide"), cards=cards)
    assert (await way.invoke(model, "Hi")).text.startswith("narrow")
    assert (await way.invoke(model.bind_tools([look]), "Hi")).text.startswith("wide")
    written = {"name": "write", "args": {"text": "word " * 2000}, "id": "1"}
    history = [HumanMessage("Write"), AIMessage("", tool_calls=[written])]
    history += [ToolMessage("done", tool_call_id="1"), HumanMessage("Thanks")]
    assert (await way.invoke(model, history)).text.startswith("wide")
