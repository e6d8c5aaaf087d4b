"""Agents of several turns over the router, their tools really called."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    LLMToolSelectorMiddleware,
    ModelFallbackMiddleware,
    SummarizationMiddleware,
)
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

import tryage
from langchain_tryage import ChatTryage
from tests.langchain.fakes import (
    Scripted,
    answering,
    authors,
    in_order,
    openai,
    router,
    scripted,
)
from tests.langchain.ways import Way
from tests.servers.openai_server import OpenAIServer
from tryage import Flags, ModelCard
from tryage.testing import FunctionPredictor, Upstream


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


@tool
def join(a: str, b: str) -> str:
    """Join two texts."""
    return a + b


TURNS = {
    "add(1, 2)": "All I got: 3",
    "add(1, 2) & multiply(3, 4) then join(x, y)": "All I got: 3 12 xy",
    "multiply(5, 6)": "All I got: 30",
    "What now?": "All I got: ",
    "join(a, b) then join(c, d) & add(7, 8)": "All I got: ab cd 15",
}
CALLS = [2, 3, 2, 1, 3]
"""How often a model is called in each turn."""


def agent(model: BaseChatModel, **kwargs: Any) -> Any:
    return create_agent(model, [add, multiply, join], checkpointer=InMemorySaver(), **kwargs)


def said(text: str) -> dict[str, Any]:
    return {"messages": [HumanMessage(text)]}


def thread(**kwargs: Any) -> dict[str, Any]:
    return {"configurable": {"thread_id": "1"}, **kwargs}


def fickle() -> ChatTryage:
    """Return a router whose predictor prefers another model each time that it is asked."""
    questions = itertools.count()  # two for each decision, one a model

    def quality(prompt: str, model: str) -> float:
        return 0.9 if model == "ab"[next(questions) // 2 % 2] else 0.1

    return ChatTryage([scripted("a"), scripted("b")], predictor=FunctionPredictor(quality))


async def test_each_tool_loop_of_five_turns_stays_with_its_model(way: Way) -> None:
    talking = agent(fickle())
    for text, answer in TURNS.items():
        state = await way.invoke(talking, said(text), thread())
        assert state["messages"][-1].text == answer
    # The first decision of each turn is the 0th, 2nd, 5th, 7th and 8th; even ones prefer a.
    wanted = [[name] * calls for name, calls in zip("aabba", CALLS, strict=True)]
    assert authors(state["messages"]) == list(itertools.chain(*wanted))


async def test_flags_of_any_form_switch_the_model_between_turns(way: Way) -> None:
    talking = agent(router(scripted("a"), scripted("b")))
    wishes: list[Any] = ["only b", None, {"deny": ["a"]}, "only a", Flags(deny=frozenset({"a"}))]
    for text, flags in zip(TURNS, wishes, strict=True):
        config: dict[str, Any] = thread()
        config["configurable"]["tryage_flags"] = flags
        state = await way.invoke(talking, said(text), config)
        assert state["messages"][-1].text == TURNS[text]
    wanted = [[name] * calls for name, calls in zip("babab", CALLS, strict=True)]
    assert authors(state["messages"]) == list(itertools.chain(*wanted))


async def test_flags_around_the_agent_reach_inside(way: Way) -> None:
    talking = agent(router(scripted("a"), scripted("b")))
    with tryage.flags("only b"):
        await way.stream(talking, said("add(1, 2)"), thread())
    state = await way.invoke(talking, said("join(x, y)"), thread())
    assert authors(state["messages"]) == ["b", "b", "a", "a"]


async def test_flags_reach_an_agent_that_a_tool_of_the_agent_asks(way: Way) -> None:
    cards = [ModelCard(name="a", parameters=70e9), ModelCard(name="b", parameters=1e9)]
    model = router(scripted("a"), scripted("b"), cards=cards)
    helper = create_agent(model, [add])
    helped: list[str] = []

    def delegate(a: str, b: str) -> str:
        """Have another agent add two numbers."""
        state = helper.invoke(said(f"add({a}, {b})"))
        helped.extend(authors(state["messages"]))
        return state["messages"][-1].text

    talking = create_agent(model, [delegate])
    for flags in (None, "smallest model"):
        config = {"configurable": {"tryage_flags": flags}}
        state = await way.invoke(talking, said("delegate(1, 2)"), config)
        assert state["messages"][-1].text == "All I got: All I got: 3"
    assert helped == ["a", "a", "b", "b"]


@pytest.mark.parametrize("call", ["invoke", "stream"])
async def test_tokens_are_those_of_a_bare_model(way: Way, call: str) -> None:
    async def used(model: BaseChatModel) -> list[dict[str, Any]]:
        usage = UsageMetadataCallbackHandler()
        talking = agent(model)
        for text in TURNS:
            await getattr(way, call)(talking, said(text), thread(callbacks=[usage]))
        return list(usage.usage_metadata.values())

    (bare,) = await used(scripted("a"))
    of_a, of_b = await used(fickle())
    counted = ("input_tokens", "output_tokens", "total_tokens")
    assert {key: of_a[key] + of_b[key] for key in counted} == {key: bare[key] for key in counted}


async def test_the_message_stream_is_that_of_a_bare_model(way: Way) -> None:
    async def streamed(model: BaseChatModel) -> tuple[list[tuple[str, int]], list[str]]:
        talking = agent(model)
        parts: list[tuple[BaseMessage, Any]] = []
        for text in TURNS:
            parts += await way.stream(talking, said(text), thread(), stream_mode="messages")
        chunks = [(m.text, len(m.tool_calls)) for m, _ in parts if isinstance(m, AIMessageChunk)]
        # Tools that run side by side end in any order.
        return chunks, sorted(m.text for m, _ in parts if m.type == "tool")

    chunks, results = await streamed(fickle())
    assert (chunks, results) == await streamed(scripted("a"))
    assert "".join(text for text, _ in chunks) == "".join(TURNS.values())
    assert results == sorted(["3", "3", "12", "xy", "30", "ab", "cd", "15"])


async def test_updates_carry_the_report_and_messages_the_real_models_name(way: Way) -> None:
    talking = agent(router(scripted("a"), scripted("b")))
    modes = ["messages", "updates"]
    parts = await way.stream(talking, said("add(1, 2)"), thread(), stream_mode=modes)
    updates = [part["model"]["messages"][0] for mode, part in parts if "model" in part]
    assert authors(updates) == ["a", "a"]
    told = [m for mode, (_, m) in [p for p in parts if p[0] == "messages"] if "ls_provider" in m]
    assert {(m["ls_provider"], m["ls_model_name"], m["tryage_model"]) for m in told} == {
        ("function", "a", "a")
    }


async def test_several_tools_called_at_once(way: Way) -> None:
    talking = agent(fickle())
    text = "add(1, 2) & multiply(3, 4) & join(x, y)"
    await way.stream(talking, said(text), thread())
    messages = talking.get_state(thread()).values["messages"]
    assert [m.type for m in messages] == ["human", "ai", "tool", "tool", "tool", "ai"]
    assert [m.text for m in messages[2:]] == ["3", "12", "xy", "All I got: 3 12 xy"]
    calls = messages[1].tool_calls
    assert [m.tool_call_id for m in messages[2:5]] == [call["id"] for call in calls]
    assert authors(messages) == ["a", "a"]


async def test_when_a_model_dies_in_its_loop_another_takes_the_loop_over(way: Way) -> None:
    class Dying(Scripted):
        def answer(self, messages: list[BaseMessage]) -> AIMessage:
            if messages[-1].type == "tool":
                raise Upstream(503)
            return super().answer(messages)

    model = router(Dying(str, model_name="a"), scripted("b"), scripted("c"))
    state = await way.invoke(agent(model), said("add(1, 2) then join(x, y)"), thread())
    assert authors(state["messages"]) == ["a", "b", "b"]
    assert state["messages"][-1].text == "All I got: 3 xy"


async def test_an_interrupted_loop_is_taken_up_by_its_model_from_the_checkpoint(way: Way) -> None:
    saver = InMemorySaver()
    tools = [add, multiply, join]

    def started(*names: str) -> Any:
        """As in a process of its own: nothing but the checkpoints is shared."""
        model = ChatTryage([scripted("a"), scripted("b")], predictor=in_order(*names))
        return create_agent(model, tools, checkpointer=saver, interrupt_before=["tools"])

    await way.invoke(started("a", "b"), said("add(1, 2) then join(x, y)"), thread())
    again = started("b", "a")
    while again.get_state(thread()).next:
        state = await way.invoke(again, None, thread())
    assert authors(state["messages"]) == ["a", "a", "a"]
    state = await way.invoke(again, said("What now?"), thread())
    assert authors(state["messages"])[-1] == "b"


async def test_a_real_client_in_the_loop(way: Way, fresh_server: OpenAIServer) -> None:
    model = router(openai(fresh_server, "a"), openai(fresh_server, "b"))
    talking = agent(model)
    usage = UsageMetadataCallbackHandler()
    for _ in range(5):
        state = await way.invoke(talking, said("What is 3 and 3?"), thread(callbacks=[usage]))
    assert [m.text for m in state["messages"] if m.type == "tool"] == ["6"] * 5
    assert authors(state["messages"]) == ["a"] * 10
    assert usage.usage_metadata["a"]["total_tokens"] == 170


async def test_langchains_own_middleware_takes_the_router(way: Way, server: OpenAIServer) -> None:
    shorten = SummarizationMiddleware(
        router(answering("writer")), trigger=("messages", 3), keep=("messages", 1)
    )
    select = LLMToolSelectorMiddleware(model=router(openai(server, "selector")))
    fall_back = ModelFallbackMiddleware(router(scripted("b")))
    down = router(scripted("a", error=Upstream(503)))
    talking = agent(down, middleware=[shorten, select, fall_back])
    for text in ("add(1, 2)", "add(3, 4)"):
        state = await way.invoke(talking, said(text), thread())
    assert "writer heard: " in state["messages"][0].text
    assert state["messages"][-1].text == "All I got: 7"
    assert authors(state["messages"])[-1] == "b"
