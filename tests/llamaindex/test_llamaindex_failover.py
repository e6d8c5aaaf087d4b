"""When an LLM fails: the next one answers, or the error comes out, and nothing is spliced."""

from __future__ import annotations

import pytest

from llamaindex_tryage.testing import FunctionLLM
from tests.llamaindex.conftest import says
from tests.llamaindex.entries import every_entry, every_stream, text_of, told
from tryage import AllModelsFailed
from tryage.testing import Upstream

LONG = "one two three four"


def talks(name: str, **settings) -> FunctionLLM:
    return FunctionLLM(lambda text: LONG, model_name=name, **settings)


@every_entry
@pytest.mark.parametrize("error", [TimeoutError(), ConnectionError(), Upstream(429), Upstream(503)])
async def test_the_next_llm_answers_for_one_that_fails(entry, error, make):
    llm = make(says("a", error=error), says("b"))
    responses = await entry(llm, "Hi")
    assert text_of(responses) == "b: Hi"
    assert told(responses)["model"] == "b"
    assert told(responses)["decided"] == "a"
    assert told(responses)["attempts"] == [
        {"model": "a", "error": type(error).__name__},
        {"model": "b", "error": None},
    ]


@every_entry
async def test_an_error_of_the_call_itself_comes_out_as_it_is(entry, make):
    error, other = ValueError("no such tool"), says("b")
    with pytest.raises(ValueError, match="no such tool") as raised:
        await entry(make(says("a", error=error), other), "Hi")
    assert raised.value is error
    assert other.calls == []


@every_entry
async def test_a_prompt_too_long_for_one_goes_to_the_next_and_rests_nobody(entry, make):
    first = says("a", error=Upstream(400, code="context_length_exceeded"))
    llm = make(first, says("b"))
    for _ in range(3):
        assert text_of(await entry(llm, "Hi")) == "b: Hi"
    assert len(first.calls) == 3


@every_entry
async def test_all_down_is_one_error_with_every_cause(entry, make):
    causes = [TimeoutError(), Upstream(500), ConnectionError()]
    llm = make(*(says(name, error=cause) for name, cause in zip("abc", causes, strict=True)))
    with pytest.raises(AllModelsFailed, match="a: TimeoutError; b: Upstream; c: C") as raised:
        await entry(llm, "Hi")
    assert list(raised.value.exceptions) == causes


@every_entry
async def test_a_broken_llm_is_called_once_in_twenty_calls(entry, make):
    broken = says("a", error=Upstream(500))
    llm = make(broken, says("b"))
    for _ in range(20):
        assert text_of(await entry(llm, "Hi")) == "b: Hi"
    assert len(broken.calls) == 1


async def test_two_routers_do_not_share_what_they_know_of_health(make):
    broken = says("a", error=Upstream(500))
    first, second = make(broken, says("b")), make(broken, says("b"))
    first.complete("Hi")
    second.complete("Hi")
    assert len(broken.calls) == 2


@every_stream
async def test_a_stream_that_breaks_after_its_first_content_is_not_spliced(entry, make):
    other = says("b")
    broken = talks("a", error=Upstream(500), fail_after_chunks=2)
    llm = make(broken, other)
    with pytest.raises(Upstream):
        await entry(llm, "Hi")
    assert other.calls == []
    assert text_of(await entry(llm, "Hi")) == "b: Hi"  # and rests from then on
    assert len(broken.calls) == 1


async def test_what_came_before_a_break_was_handed_through(make):
    llm = make(talks("a", error=Upstream(500), fail_after_chunks=2), says("b"))
    stream = llm.stream_complete("Hi")
    assert [next(stream).delta, next(stream).delta] == ["one ", "two "]
    with pytest.raises(Upstream):
        next(stream)


@every_stream
async def test_chunks_without_content_commit_to_nothing(entry, make):
    class Hesitant(FunctionLLM):
        """Sends an empty chunk, as providers do to say that a message begins, and breaks off."""

        def _words(self, text):
            yield "", ""
            raise Upstream(502)

    llm = make(Hesitant(str, model_name="a"), says("b"))
    responses = await entry(llm, "Hi")
    assert "".join(chunk.delta for chunk in responses) == "b: Hi"
