"""Typed events (`version="v3"`): one model's, moved on from before its first content."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import AsyncCallbackHandler, UsageMetadataCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langchain_tests.utils.stream_lifecycle import assert_valid_event_stream
from langgraph.graph import START, MessagesState, StateGraph

import tryage
from langchain_tryage.testing import FunctionChatModel
from tests.langchain.fakes import Chunked, Counting, Recording, answering, openai, router
from tests.langchain.ways import Sync, Way
from tests.servers.openai_server import OpenAIServer
from tryage import AllModelsFailed, CircuitBreaker
from tryage.testing import Upstream

pytestmark = pytest.mark.filterwarnings("ignore:.*beta:langchain_core._api.LangChainBetaWarning")


async def opened(way: Way, model: Any, /, *arguments: Any, **kwargs: Any) -> Any:
    if isinstance(way, Sync):
        return model.stream_events(*arguments, version="v3", **kwargs)
    return await model.astream_events(*arguments, version="v3", **kwargs)


async def read(way: Way, stream: Any, events: list[Any]) -> None:
    """Append the events of a stream one by one, so that those before an error are kept."""
    if isinstance(way, Sync):
        for event in stream:
            events.append(event)
    else:
        async for event in stream:
            events.append(event)


async def first(way: Way, stream: Any) -> Any:
    return next(iter(stream)) if isinstance(way, Sync) else await anext(aiter(stream))


async def message(way: Way, stream: Any) -> AIMessage:
    return stream.output if isinstance(way, Sync) else await stream


def texts(events: list[Any]) -> list[str]:
    return [event["delta"]["text"] for event in events if event["event"] == "content-block-delta"]


class Native(Recording):
    """Makes its events itself, and no chunks: names no message, and ends as it likes."""

    events: list[Any]

    def _stream_chat_model_events(self, messages: Any, **kwargs: Any) -> Iterator[Any]:
        for event in self.events:
            if isinstance(event, Exception):
                raise event
            yield event

    async def _astream_chat_model_events(self, messages: Any, **kwargs: Any) -> AsyncIterator[Any]:
        for event in self._stream_chat_model_events(messages):
            yield event


START_EVENT = {"event": "message-start", "role": "ai"}
TEXT_START = {"event": "content-block-start", "index": 0, "content": {"type": "text", "text": ""}}
TEXT_DELTA = {
    "event": "content-block-delta",
    "index": 0,
    "delta": {"type": "text-delta", "text": "word"},
}


async def test_the_next_model_answers_and_the_report_tells_of_both(way: Way) -> None:
    model = router(answering("a", error=Upstream(503)), answering("b"))
    seen = Counting()
    answer = await message(way, await opened(way, model, "Hi", {"callbacks": [seen]}))
    assert answer.text == "b heard: Hi"
    told = answer.response_metadata["tryage"]
    assert (told["model"], told["decided"]) == ("b", "a")
    assert told["attempts"] == [{"model": "a", "error": "Upstream"}, {"model": "b", "error": None}]
    assert list(model.breaker.resting()) == ["a"]
    assert seen.events == {"chat_model_start": 2, "llm_error": 1, "llm_end": 1}
    assert [start["metadata"]["tryage_model"] for start in seen.starts] == ["a", "b"]


async def test_the_report_and_the_rest_are_as_of_any_other_answer(way: Way) -> None:
    invoked = await way.invoke(router(answering("gpt-4o"), answering("b")), "Hi")
    model = router(answering("gpt-4o"), answering("b"))
    seen, used = Counting(), UsageMetadataCallbackHandler()
    events: list[Any] = []
    stream = await opened(way, model, "Hi", {"callbacks": [seen, used]})
    await read(way, stream, events)
    answer = await message(way, stream)
    assert_valid_event_stream(events)
    assert texts(events) == ["gpt-4o", " heard:", " Hi"]
    assert answer.response_metadata["tryage"] == invoked.response_metadata["tryage"]
    assert answer.response_metadata["model_name"] == "gpt-4o"
    assert answer.usage_metadata == invoked.usage_metadata == used.usage_metadata["gpt-4o"]
    assert seen.events == {"chat_model_start": 1, "llm_end": 1}
    assert answer.id == f"lc_run--{seen.starts[0]['run_id']}"


async def test_a_stream_that_breaks_after_content_is_an_error_and_nothing_more(way: Way) -> None:
    error = Upstream(503)
    second = answering("b")
    model = router(answering("a", error=error, fail_after_chunks=2), second)
    seen = Counting()
    events: list[Any] = []
    stream = await opened(way, model, "Hi", {"callbacks": [seen]})
    with pytest.raises(Upstream) as raised:
        await read(way, stream, events)
    assert raised.value is error
    with pytest.raises(Upstream):
        await message(way, stream)
    assert texts(events) == ["a", " heard:"]
    assert seen.events == {"chat_model_start": 1, "llm_error": 1}
    assert not second.calls
    assert list(model.breaker.resting()) == ["a"]


async def test_when_all_fail_every_cause_is_there(way: Way) -> None:
    causes = [Upstream(503), ConnectionError()]
    model = router(*(answering(name, error=e) for name, e in zip("ab", causes, strict=True)))
    stream = await opened(way, model, "Hi")
    with pytest.raises(AllModelsFailed) as failed:
        await message(way, stream)
    assert list(failed.value.exceptions) == causes


async def test_an_error_of_the_call_comes_back_as_itself(way: Way) -> None:
    error, second = Upstream(400), answering("b")
    stream = await opened(way, router(answering("a", error=error), second), "Hi")
    with pytest.raises(Upstream) as raised:
        await message(way, stream)
    assert raised.value is error
    assert not second.calls


async def test_a_model_that_comes_back_is_known_to_be_well(way: Way) -> None:
    now = [0.0]
    breaker = CircuitBreaker(clock=lambda: now[0])
    breaker.failed("a")
    model = router(answering("a"), answering("b"), breaker=breaker)
    assert (await message(way, await opened(way, model, "Hi"))).text == "b heard: Hi"
    now[0] = 60.0
    for _ in range(2):
        assert (await message(way, await opened(way, model, "Hi"))).text == "a heard: Hi"


CALL = {"name": "add", "args": "", "id": "1", "index": 0}
CONTENT = {
    "text": {"content": "word"},
    "reasoning block": {"content": [{"type": "reasoning", "reasoning": "hm"}]},
    "reasoning beside": {"content": "", "additional_kwargs": {"reasoning_content": "hm"}},
    "image block": {"content": [{"type": "image", "base64": "AAAA", "mime_type": "image/png"}]},
    "tool call": {"content": "", "tool_call_chunks": [CALL]},
}
NO_CONTENT = {
    "role alone": {"content": ""},
    "no blocks": {"content": []},
    "empty text block": {"content": [{"type": "text", "text": "", "index": 0}]},
    "empty reasoning block": {"content": [{"type": "reasoning", "reasoning": "", "index": 0}]},
    "unknown block": {"content": [{"type": "thinking", "thinking": "", "index": 0}]},
    "metadata": {"content": "", "response_metadata": {"model_provider": "openai"}},
}


@pytest.mark.parametrize("kind", CONTENT)
async def test_after_this_chunk_no_other_model_is_tried(way: Way, kind: str) -> None:
    broken = Chunked(chunks=[CONTENT[kind], Upstream(503)])
    stream = await opened(way, router(broken, answering("b")), "Hi")
    with pytest.raises(Upstream):
        await message(way, stream)


@pytest.mark.parametrize("kind", NO_CONTENT)
async def test_after_this_chunk_another_model_is_tried(way: Way, kind: str) -> None:
    broken = Chunked(chunks=[NO_CONTENT[kind], Upstream(503)])
    events: list[Any] = []
    await read(way, await opened(way, router(broken, answering("b")), "Hi"), events)
    assert_valid_event_stream(events)
    assert texts(events) == ["b", " heard:", " Hi"]


async def test_the_model_is_picked_at_once_and_called_when_looked_at(way: Way) -> None:
    small, large = answering("small"), answering("large")
    model = router(small, large)
    with tryage.flags(allow=["large"]):
        stream = await opened(way, model, "Hi")
    assert not large.calls
    assert (await message(way, stream)).text == "large heard: Hi"
    assert (small.calls, large.calls) == ([], ["Hi"])


async def test_parts_can_be_read_side_by_side_and_again(way: Way) -> None:
    asked = answering("a")
    stream = await opened(way, router(asked), "Hi")
    assert (await first(way, stream))["event"] == "message-start"
    if isinstance(way, Sync):
        assert list(stream.text) == list(stream.text) == ["a", " heard:", " Hi"]
    else:
        assert [word async for word in stream.text] == ["a", " heard:", " Hi"]
        assert await stream.text == "a heard: Hi"
    assert len(asked.calls) == 1


def test_a_stream_that_is_dropped_is_closed() -> None:
    endless = Chunked(chunks=[{"content": "word"}] * 100)
    stream = router(endless).stream_events("Hi", version="v3")
    assert next(iter(stream.text)) == "word"
    del stream
    gc.collect()  # the framework's own streams hold themselves in a ring
    assert endless.closed == ["closed"]


async def test_an_asynchronous_stream_that_is_closed_is_cancelled() -> None:
    seen = Counting()
    model = router(FunctionChatModel(lambda _: "word " * 10_000), answering("b"))
    stream = await model.astream_events("Hi", {"callbacks": [seen]}, version="v3")
    async with stream:
        assert await anext(aiter(stream.text)) == "word"
    assert stream.done
    assert stream.output_message is None
    assert seen.events == {"chat_model_start": 1, "llm_error": 1}
    assert not model.breaker.resting()


async def test_an_asynchronous_stream_can_be_closed_unread() -> None:
    asked = answering("a")
    stream = await router(asked).astream_events("Hi", version="v3")
    await stream.aclose()
    assert stream.done
    assert not asked.calls


class Slow(AsyncCallbackHandler):
    """Takes its time to note what happened."""

    def __init__(self) -> None:
        self.noted: list[str] = []

    async def on_chat_model_start(self, *arguments: Any, **kwargs: Any) -> None:
        self.noted.append("start")

    async def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        await self._note("error")

    async def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        await self._note("end")

    async def _note(self, event: str) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        self.noted.append(event)


async def test_a_run_has_ended_before_the_next_starts_and_before_the_answer_is_had() -> None:
    slow = Slow()
    model = router(answering("a", error=Upstream(503)), answering("b"))
    await (await model.astream_events("Hi", {"callbacks": [slow]}, version="v3"))
    assert slow.noted == ["start", "error", "start", "end"]


async def test_a_model_that_cannot_stream_answers_in_one_piece(way: Way) -> None:
    whole = Recording()
    model = router(whole, answering("b"))
    seen = Counting()
    events: list[Any] = []
    stream = await opened(way, model, "Hi", {"callbacks": [seen]}, temperature=0.5)
    await read(way, stream, events)
    answer = await message(way, stream)
    assert_valid_event_stream(events)
    assert texts(events) == [answer.text] == ["recorded"]
    assert answer.response_metadata["tryage"]["model"] == "recording"
    assert whole.received[0][2] == {"temperature": 0.5}
    assert seen.events == {"chat_model_start": 1, "llm_end": 1}


class Signed(Recording):
    """Answers with what only `additional_kwargs` hold."""

    def _generate(self, *arguments: Any, **kwargs: Any) -> ChatResult:
        answer = AIMessage("signed", additional_kwargs={"signature": "x"})
        return ChatResult(generations=[ChatGeneration(message=answer)])


async def test_an_answer_in_one_piece_keeps_all_of_itself(way: Way) -> None:
    events: list[Any] = []
    await read(way, await opened(way, router(Signed()), "Hi"), events)
    assert events[-1]["additional_kwargs"] == {"signature": "x"}


async def test_where_streaming_is_off_the_answer_comes_in_one_piece(way: Way) -> None:
    broken = answering("a", error=Upstream(503))
    able = answering("b", disable_streaming=False)
    model = router(broken, able, disable_streaming=True)
    events: list[Any] = []
    await read(way, await opened(way, model, "Hi"), events)
    assert texts(events) == ["b heard: Hi"]
    model = router(answering("a", disable_streaming=True))
    events.clear()
    await read(way, await opened(way, model, "Hi"), events)
    assert texts(events) == ["a heard: Hi"]


@pytest.mark.parametrize("trouble", [Upstream(503), {"event": "error", "message": "no"}])
async def test_events_of_a_models_own_making(way: Way, trouble: Any) -> None:
    seen = Counting()
    events: list[Any] = []
    well = Native(events=[START_EVENT, TEXT_START, TEXT_DELTA], model_name="well")
    stream = await opened(way, router(well), "Hi", {"callbacks": [seen]})
    await read(way, stream, events)
    answer = await message(way, stream)
    assert texts(events) == ["word"]
    assert answer.id == f"lc_run--{seen.starts[0]['run_id']}"
    assert answer.response_metadata["tryage"]["model"] == "well"

    second = answering("b")
    broken = Native(events=[START_EVENT, TEXT_START, TEXT_DELTA, trouble])
    with pytest.raises((Upstream, RuntimeError)):
        await message(way, await opened(way, router(broken, second), "Hi"))
    assert not second.calls


@pytest.mark.parametrize("broken", ["boom-429", "boom-500", "boom-context", "boom-opening"])
async def test_errors_of_a_real_client_are_understood(
    way: Way, fresh_server: OpenAIServer, broken: str
) -> None:
    model = router(openai(fresh_server, broken), openai(fresh_server, "b"))
    used = UsageMetadataCallbackHandler()
    stream = await opened(way, model, "Hi", {"callbacks": [used]})
    answer = await message(way, stream)
    assert answer.text == "b heard: Hi"
    assert answer.response_metadata["tryage"]["model"] == "b"
    assert {name: usage["total_tokens"] for name, usage in used.usage_metadata.items()} == {"b": 17}
    assert list(model.breaker.resting()) == ([] if broken == "boom-context" else [broken])


async def test_a_connection_lost_in_mid_answer_is_an_error(
    way: Way, fresh_server: OpenAIServer
) -> None:
    model = router(openai(fresh_server, "boom-midstream"), openai(fresh_server, "b"))
    events: list[Any] = []
    with pytest.raises(Exception, match="peer closed|incomplete|disconnected|Connection error"):
        await read(way, await opened(way, model, "one two three four"), events)
    assert "".join(texts(events)).startswith("boom-midstream heard:")
    assert fresh_server.calls("b") == 0
    assert list(model.breaker.resting()) == ["boom-midstream"]


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def test_bound_tools_are_called_by_whoever_answers(
    way: Way, fresh_server: OpenAIServer
) -> None:
    model = router(openai(fresh_server, "boom-500"), openai(fresh_server, "b"))
    answer = await message(way, await opened(way, model.bind_tools([add]), "What is 3 and 3?"))
    assert [call["name"] for call in answer.tool_calls] == ["add"]
    assert answer.response_metadata["tryage"]["model"] == "b"


@pytest.mark.filterwarnings("ignore:.*experimental")
async def test_a_graphs_events_hold_each_message_once(way: Way) -> None:
    model = router(answering("a", error=Upstream(503)), answering("b"))

    def node(state: MessagesState) -> dict[str, list[AIMessage]]:
        return {"messages": [model.stream_events(state["messages"], version="v3").output]}

    async def anode(state: MessagesState) -> dict[str, list[AIMessage]]:
        return {"messages": [await (await model.astream_events(state["messages"], version="v3"))]}

    chosen: Any = node if isinstance(way, Sync) else anode
    graph = StateGraph(MessagesState).add_node("node", chosen).add_edge(START, "node").compile()
    for runnable in (graph, create_agent(model)):
        question = {"messages": [HumanMessage("Hi there")]}
        run = await opened(way, runnable, question)
        if isinstance(way, Sync):
            said = [str(part.text) for part in run.messages]
            final = run.output["messages"][-1]
        else:
            said = [await part.text async for part in run.messages]
            final = (await run.output())["messages"][-1]
        assert "".join(said) == final.text == "b heard: Hi there"
        assert final.response_metadata["tryage"]["model"] == "b"
