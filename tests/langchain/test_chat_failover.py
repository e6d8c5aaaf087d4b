"""A model that fails is passed by, until the first content of a stream has arrived."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from tests.langchain.fakes import Chunked, Counting, answering, openai, router
from tests.langchain.ways import Way
from tests.servers.openai_server import OpenAIServer
from tryage import AllModelsFailed, CircuitBreaker
from tryage.testing import Upstream


async def test_the_next_model_answers_and_the_report_tells_of_both(way: Way) -> None:
    model = router(answering("a", error=Upstream(503)), answering("b"))
    answer = await way.invoke(model, "Hi")
    assert answer.text == "b heard: Hi"
    told = answer.response_metadata["tryage"]
    assert (told["model"], told["decided"]) == ("b", "a")
    assert told["quality"] == pytest.approx(0.8)
    assert told["attempts"] == [{"model": "a", "error": "Upstream"}, {"model": "b", "error": None}]


async def test_a_broken_model_is_asked_once_in_twenty_calls(way: Way) -> None:
    broken = answering("a", error=Upstream(503))
    model = router(broken, answering("b"))
    for _ in range(20):
        assert (await way.invoke(model, "Hi")).text == "b heard: Hi"
    assert len(broken.calls) == 1


async def test_a_breaker_can_be_shared(way: Way) -> None:
    breaker = CircuitBreaker()
    broken = answering("a", error=Upstream(503))
    for _ in range(2):
        await way.invoke(router(broken, answering("b"), breaker=breaker), "Hi")
    assert len(broken.calls) == 1


async def test_when_all_fail_every_cause_is_there(way: Way) -> None:
    causes = [Upstream(503), Upstream(429), ConnectionError()]
    model = router(*(answering(name, error=e) for name, e in zip("abc", causes, strict=True)))
    with pytest.raises(AllModelsFailed) as failed:
        await way.invoke(model, "Hi")
    assert list(failed.value.exceptions) == causes
    with pytest.raises(AllModelsFailed):
        await way.stream(model, "Hi")


@pytest.mark.parametrize("error", [Upstream(400), ValueError("no such tool"), KeyError("x")])
async def test_an_error_of_the_call_comes_back_as_itself(way: Way, error: Exception) -> None:
    second = answering("b")
    model = router(answering("a", error=error), second)
    with pytest.raises(type(error)) as raised:
        await way.invoke(model, "Hi")
    assert raised.value is error
    with pytest.raises(type(error)):
        await way.stream(model, "Hi")
    assert not second.calls
    assert not model.breaker.resting()


async def test_a_stream_moves_on_before_its_first_content(way: Way) -> None:
    model = router(answering("a", error=Upstream(503)), answering("b"))
    chunks = await way.stream(model, "Hi")
    assert "".join(chunk.text for chunk in chunks) == "b heard: Hi"
    assert sum("tryage" in chunk.response_metadata for chunk in chunks) == 1
    assert chunks[0].response_metadata["tryage"]["model"] == "b"


async def test_a_stream_that_breaks_after_content_is_an_error_and_nothing_more(way: Way) -> None:
    error = Upstream(503)
    second = answering("b")
    model = router(answering("a", error=error, fail_after_chunks=2), second)
    seen = Counting()
    chunks: list[Any] = []
    with pytest.raises(Upstream) as raised:
        await way.read(model, chunks, "Hi", {"callbacks": [seen]})
    assert raised.value is error
    assert [chunk.text for chunk in chunks] == ["a", " heard:"]
    assert seen.events == {"chat_model_start": 1, "llm_error": 1}
    assert not second.calls
    assert list(model.breaker.resting()) == ["a"]
    assert "".join(c.text for c in await way.stream(model, "Hi")) == "b heard: Hi"


CONTENT = {
    "text": {"content": "word"},
    "text block": {"content": [{"type": "text", "text": "word"}]},
    "thinking block": {"content": [{"type": "thinking", "thinking": "hm"}]},
    "reasoning block": {"content": [{"type": "reasoning", "reasoning": "hm"}]},
    "reasoning beside": {"content": "", "additional_kwargs": {"reasoning_content": "hm"}},
    "image block": {"content": [{"type": "image", "base64": "AAAA", "mime_type": "image/png"}]},
    "tool call": {
        "content": "",
        "tool_call_chunks": [{"name": "add", "args": "", "id": "1", "index": 0}],
    },
}
NO_CONTENT = {
    "role alone": {"content": ""},
    "no blocks": {"content": []},
    "empty text block": {"content": [{"type": "text", "text": "", "index": 0}]},
    "empty thinking block": {"content": [{"type": "thinking", "thinking": "", "index": 0}]},
    "metadata": {"content": "", "response_metadata": {"model_provider": "openai"}},
    "usage": {
        "content": "",
        "usage_metadata": {"input_tokens": 1, "output_tokens": 0, "total_tokens": 1},
    },
}


@pytest.mark.parametrize("kind", CONTENT)
async def test_after_this_chunk_no_other_model_is_tried(way: Way, kind: str) -> None:
    broken = Chunked(chunks=[CONTENT[kind], Upstream(503)])
    chunks: list[Any] = []
    with pytest.raises(Upstream):
        await way.read(router(broken, answering("b")), chunks, "Hi")
    assert len(chunks) == 1


@pytest.mark.parametrize("kind", NO_CONTENT)
async def test_after_this_chunk_another_model_is_tried(way: Way, kind: str) -> None:
    broken = Chunked(chunks=[NO_CONTENT[kind], Upstream(503)])
    chunks = await way.stream(router(broken, answering("b")), "Hi")
    assert "".join(chunk.text for chunk in chunks) == "b heard: Hi"


async def test_a_stream_that_is_left_is_closed() -> None:
    endless = Chunked(chunks=[{"content": "word"}] * 100)
    model = router(endless)
    chunks = model.stream("Hi")
    next(chunks)
    chunks.close()
    assert endless.closed == ["closed"]


async def test_an_asynchronous_stream_that_is_left_is_closed() -> None:
    endless = Chunked(chunks=[{"content": "word"}] * 100)
    seen = Counting()
    chunks = router(endless).astream("Hi", {"callbacks": [seen]})
    await anext(chunks)
    await chunks.aclose()
    assert seen.events["chat_model_start"] == 1
    assert seen.events["llm_error"] == 1  # the run is closed, by the same token


@pytest.mark.parametrize("broken", ["boom-429", "boom-500", "boom-context", "boom-opening"])
async def test_errors_of_a_real_client_are_understood(
    way: Way, fresh_server: OpenAIServer, broken: str
) -> None:
    model = router(openai(fresh_server, broken), openai(fresh_server, "b"))
    answer = await way.invoke(model, "Hi")
    assert answer.text == "b heard: Hi"
    model = router(openai(fresh_server, broken), openai(fresh_server, "b"))
    chunks = await way.stream(model, "Hi")
    assert "".join(chunk.text for chunk in chunks) == "b heard: Hi"
    assert list(model.breaker.resting()) == ([] if broken == "boom-context" else [broken])


async def test_a_bad_request_is_not_sent_to_every_model(
    way: Way, fresh_server: OpenAIServer
) -> None:
    model = router(openai(fresh_server, "boom-400"), openai(fresh_server, "b"))
    with pytest.raises(Exception, match="Invalid value") as raised:
        await way.invoke(model, "Hi")
    assert raised.value.status_code == 400
    assert fresh_server.calls("b") == 0


async def test_a_connection_lost_in_mid_answer_is_an_error(
    way: Way, fresh_server: OpenAIServer
) -> None:
    model = router(openai(fresh_server, "boom-midstream"), openai(fresh_server, "b"))
    chunks: list[Any] = []
    with pytest.raises(Exception, match="peer closed|incomplete|disconnected|Connection error"):
        await way.read(model, chunks, "one two three four")
    assert "".join(chunk.text for chunk in chunks).startswith("boom-midstream heard:")
    assert fresh_server.calls("b") == 0
    assert list(model.breaker.resting()) == ["boom-midstream"]


async def test_generate_moves_on_as_well(way: Way) -> None:
    model = router(answering("a", error=Upstream(503)), answering("b"))
    result = await way.generate(model, [[HumanMessage("Hi")]])
    assert result.generations[0][0].message.response_metadata["tryage"]["model"] == "b"


async def test_a_forced_model_has_no_substitute(way: Way) -> None:
    model = router(answering("a"), answering("b", error=Upstream(503)))
    with pytest.raises(AllModelsFailed, match="b: Upstream"):
        await way.invoke(model, "Hi", model="b")
