"""Graphs whose nodes ask one router under different flags."""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from operator import itemgetter
from typing import Any

import pytest
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import Runnable, RunnableLambda
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph

import tryage
from langchain_tryage import ChatTryage
from tests.langchain.fakes import answering, authors, router
from tests.langchain.ways import Way
from tryage import CircuitBreaker, ModelCard
from tryage.testing import Upstream

CARDS = [ModelCard(name="large", parameters=70e9), ModelCard(name="small", parameters=1e9)]
ASKED = {"messages": [HumanMessage("Hi there")]}
TEXT = {name: f"{name} heard: Hi there" for name in ("large", "small")}


def sizes(**kwargs: Any) -> ChatTryage:
    """Return a router whose best model is large."""
    return router(answering("large"), answering("small"), cards=CARDS, **kwargs)


def as_update(message: AIMessage) -> dict[str, list[AIMessage]]:
    return {"messages": [message]}


def by_config(model: ChatTryage, flags: str | None = None) -> Runnable[Any, Any]:
    """Return a node whose flags stand in its config."""
    asked: Runnable[Any, Any] = model
    if flags is not None:
        asked = model.with_config(configurable={"tryage_flags": flags})
    return RunnableLambda(itemgetter("messages")) | asked | as_update


def by_block(model: ChatTryage, flags: str | None = None) -> Runnable[Any, Any]:
    """Return a node that asks within `with tryage.flags(...)`."""

    def around() -> AbstractContextManager[Any]:
        return nullcontext() if flags is None else tryage.flags(flags)

    def answer(state: MessagesState) -> dict[str, list[AIMessage]]:
        with around():
            return as_update(model.invoke(state["messages"]))

    async def aanswer(state: MessagesState) -> dict[str, list[AIMessage]]:
        with around():
            await asyncio.sleep(0)
            return as_update(await model.ainvoke(state["messages"]))

    return RunnableLambda(answer, aanswer)


def in_a_row(**nodes: Any) -> Any:
    return (
        StateGraph(MessagesState)
        .add_sequence(list(nodes.items()))
        .add_edge(START, next(iter(nodes)))
    )


def draft_and_final(node: Any, model: ChatTryage) -> Any:
    return in_a_row(draft=node(model, "smallest model"), final=node(model)).compile()


nodes = pytest.mark.parametrize("node", [by_config, by_block])


@nodes
async def test_each_node_is_answered_by_the_model_that_its_flags_ask_for(
    way: Way, node: Any
) -> None:
    graph = draft_and_final(node, sizes())
    messages = (await way.invoke(graph, ASKED))["messages"]
    assert authors(messages) == ["small", "large"]
    assert [m.text for m in messages[1:]] == [TEXT["small"], TEXT["large"]]
    flags = [m.response_metadata["tryage"]["flags"] for m in messages[1:]]
    assert [bool(told) for told in flags] == [True, False]


async def test_flags_of_the_whole_graph_hold_where_a_node_has_none(way: Way) -> None:
    model = sizes()
    graph = in_a_row(first=by_block(model), second=by_block(model, "only large")).compile()
    config = {"configurable": {"tryage_flags": "smallest model"}}
    assert authors((await way.invoke(graph, ASKED, config))["messages"]) == ["small", "large"]


async def test_a_callers_config_is_stronger_than_one_that_is_bound(way: Way) -> None:
    """LangChain's rule for all that is configurable."""
    graph = in_a_row(only=by_config(sizes(), "only small")).compile()
    config = {"configurable": {"tryage_flags": "only large"}}
    assert authors((await way.invoke(graph, ASKED))["messages"]) == ["small"]
    assert authors((await way.invoke(graph, ASKED, config))["messages"]) == ["large"]


@nodes
async def test_each_token_is_streamed_once_under_its_nodes_and_models_name(
    way: Way, node: Any
) -> None:
    graph = draft_and_final(node, sizes())
    modes = ["messages", "updates"]
    parts = await way.stream(graph, ASKED, stream_mode=modes)
    streamed = [part for mode, part in parts if mode == "messages"]
    for name, model in (("draft", "small"), ("final", "large")):
        here = [(m, told) for m, told in streamed if told["langgraph_node"] == name]
        assert "".join(m.text for m, _ in here) == TEXT[model]
        assert {(told["ls_model_name"], told["tryage_model"]) for _, told in here} == {
            (model, model)
        }
    updates = [part for mode, part in parts if mode == "updates"]
    assert [list(update) for update in updates] == [["draft"], ["final"]]
    answers = [message for update in updates for u in update.values() for message in u["messages"]]
    assert authors(answers) == ["small", "large"]


@nodes
async def test_events_of_a_graph_are_the_real_models(node: Any) -> None:
    graph = draft_and_final(node, sizes())
    used = UsageMetadataCallbackHandler()
    config: Any = {"callbacks": [used]}
    events = [event async for event in graph.astream_events(ASKED, config, version="v2")]
    of_models = [e for e in events if e["event"].startswith("on_chat_model")]
    for name, model in (("draft", "small"), ("final", "large")):
        here = [e for e in of_models if e["metadata"]["langgraph_node"] == name]
        counts = Counter(e["event"].removeprefix("on_chat_model_") for e in here)
        # "small", " heard:", " Hi", " there", and the last, which is empty.
        assert counts == {"start": 1, "stream": 5, "end": 1}
        assert {e["metadata"]["ls_model_name"] for e in here} == {model}
        chunks = [e["data"]["chunk"] for e in here if e["event"].endswith("stream")]
        assert "".join(chunk.text for chunk in chunks) == TEXT[model]
        (ended,) = [e["data"]["output"] for e in here if e["event"].endswith("end")]
        assert ended.usage_metadata.items() <= used.usage_metadata[model].items()


async def test_flags_reach_a_subgraph_and_its_text_is_streamed_once(way: Way) -> None:
    model = sizes()
    inner = in_a_row(one=by_block(model, "only large"), two=by_block(model)).compile()
    outer = in_a_row(before=by_block(model), inner=inner).compile()
    config = {"configurable": {"tryage_flags": "smallest model"}}
    messages = (await way.invoke(outer, ASKED, config))["messages"]
    assert authors(messages) == ["small", "large", "small"]
    parts = await way.stream(outer, ASKED, config, stream_mode="messages", subgraphs=True)
    within = [message.text for namespace, (message, _) in parts if namespace]
    assert "".join(within) == TEXT["large"] + TEXT["small"]
    without = [message.text for namespace, (message, _) in parts if not namespace]
    assert "".join(without) == TEXT["small"]


@nodes
async def test_flags_of_nodes_side_by_side_do_not_mix(way: Way, node: Any) -> None:
    model = sizes()
    graph = StateGraph(MessagesState)
    wanted = {f"node{n}": ("small", "large")[n % 2] for n in range(8)}
    for name, author in wanted.items():
        graph.add_node(name, node(model, f"only {author}")).add_edge(START, name)
    updates = await way.stream(graph.compile(), ASKED, stream_mode="updates")
    answered = {name: authors(u["messages"])[0] for part in updates for name, u in part.items()}
    assert answered == wanted


async def test_flags_around_a_task_hold_for_it_alone(way: Way) -> None:
    model = sizes()

    @task
    def ask(text: str) -> str:
        return model.invoke(text).text

    @entrypoint()
    async def asynchronous(text: str) -> list[str]:
        with tryage.flags("smallest model"):
            first = ask(text)
        return [await first, await ask(text)]

    @entrypoint()
    def synchronous(text: str) -> list[str]:
        with tryage.flags("smallest model"):
            first = ask(text)
        return [first.result(), ask(text).result()]

    workflow = asynchronous if way.__class__.__name__ == "Async" else synchronous
    assert await way.invoke(workflow, "Hi there") == [TEXT["small"], TEXT["large"]]


def test_one_event_loop_after_another() -> None:
    broken = answering("large", error=Upstream(503))
    # So long a rest that no machine is too slow for it.
    breaker = CircuitBreaker(first_rest_s=100)
    graph = draft_and_final(
        by_config, router(broken, answering("small"), breaker=breaker, cards=CARDS)
    )

    async def run() -> list[str]:
        parts = [part async for part in graph.astream(ASKED, stream_mode="messages")]
        return [told["ls_model_name"] for _, told in parts]

    for _ in range(2):
        with ThreadPoolExecutor(1) as pool:  # a thread without a loop of its own
            assert set(pool.submit(asyncio.run, run()).result()) == {"small"}
    assert len(broken.calls) == 1  # what the first loop learned, the second knows
