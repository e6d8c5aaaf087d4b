from __future__ import annotations

import asyncio

import pytest

from tryage import CircuitBreaker
from tryage.strategies import aopen_stream, failover, open_stream, run
from tryage.testing import Upstream


class Source:
    """A stream of chunks, some of which raise; remembers how far it was read and if closed."""

    def __init__(self, *chunks):
        self.chunks = chunks
        self.read = 0
        self.closed = False

    def sync(self):
        try:
            for chunk in self.chunks:
                if isinstance(chunk, Exception):
                    raise chunk
                self.read += 1
                yield chunk
        finally:
            self.closed = True

    async def asynchronous(self):
        for chunk in self.sync():
            yield chunk


def opened_then_read(how, source, breaker, limit=None):
    """Open the stream, then read up to `limit` chunks of it."""
    if how == "sync":
        chunks = open_stream(source.sync(), bool).chunks("m", breaker)
        read = []
        for chunk in chunks:
            read.append(chunk)
            if len(read) == limit:
                chunks.close()
                break
        return read

    async def read_all():
        opened = await aopen_stream(source.asynchronous(), bool)
        chunks = opened.chunks("m", breaker)
        read = []
        async for chunk in chunks:
            read.append(chunk)
            if len(read) == limit:
                await chunks.aclose()
                break
        return read

    return asyncio.run(read_all())


@pytest.fixture(params=["sync", "async"])
def how(request):
    return request.param


@pytest.fixture
def breaker():
    return CircuitBreaker(clock=lambda: 0.0)


def test_every_chunk_arrives_once_and_in_order(how, breaker):
    chunks = ["", "", "a", "", "b"]
    assert opened_then_read(how, Source(*chunks), breaker) == chunks


@pytest.mark.parametrize("chunks", [[], ["", ""]], ids=["nothing", "no content"])
def test_a_stream_without_content_is_an_empty_answer(how, breaker, chunks):
    assert opened_then_read(how, Source(*chunks), breaker) == chunks


def test_opening_reads_no_further_than_the_first_content():
    source = Source("", "a", "b", "c")
    open_stream(source.sync(), bool)
    assert source.read == 2


def test_an_error_before_the_first_content_is_raised_while_opening(how, breaker):
    source = Source("", Upstream(500), "a")
    opening = {
        "sync": lambda: open_stream(source.sync(), bool),
        "async": lambda: asyncio.run(aopen_stream(source.asynchronous(), bool)),
    }
    with pytest.raises(Upstream):
        opening[how]()


def test_an_error_after_it_surfaces_and_rests_the_model(how, breaker):
    with pytest.raises(Upstream):
        opened_then_read(how, Source("a", Upstream(500)), breaker)
    assert not breaker.ready("m")


def test_an_error_of_the_call_after_it_rests_nobody(how, breaker):
    with pytest.raises(ValueError, match="mine"):
        opened_then_read(how, Source("a", ValueError("mine")), breaker)
    assert breaker.ready("m")


def test_a_stream_that_is_left_early_is_closed(how, breaker):
    source = Source("a", "b", "c")
    assert opened_then_read(how, source, breaker, limit=1) == ["a"]
    if how == "sync":
        assert source.closed
    assert source.read == 1


def test_failover_covers_a_stream_until_its_first_content(breaker):
    sources = {"a": Source("", Upstream(503)), "b": Source("", "hello")}
    outcome = run(
        failover(["a", "b"], breaker),
        lambda call: open_stream(sources[call.model].sync(), bool),
    )
    assert outcome.model == "b"
    assert list(outcome.value.chunks("b", breaker)) == ["", "hello"]
