"""A call carried out by one model after another, until one answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, closing
from typing import Any, TypeVar

from tryage import CircuitBreaker, Decision
from tryage.strategies import (
    AsyncOpenedStream,
    Call,
    OpenedStream,
    Outcome,
    aopen_stream,
    arun,
    failover,
    open_stream,
    report,
    run,
)

T = TypeVar("T")
Label = Callable[[T, dict[str, Any]], T]
"""Returns a chunk that carries the report on how the call was routed."""


def call_through(
    decision: Decision, breaker: CircuitBreaker, start: Callable[[str], T]
) -> Outcome[T]:
    """Return the first answer, from the decided model or those ranked after it.

    Args:
        decision: Gives the order.
        breaker: What is known of the models' health.
        start: Calls a model by name.

    Raises:
        AllModelsFailed: No model answered.
        Exception: What a model raised where every other would have, too.
    """
    return run(failover(decision.order, breaker), lambda call: start(call.model))


async def acall_through(
    decision: Decision, breaker: CircuitBreaker, start: Callable[[str], Awaitable[T]]
) -> Outcome[T]:
    """Return the first answer, awaited; otherwise like `call_through`."""
    return await arun(failover(decision.order, breaker), lambda call: start(call.model))


def stream_through(
    decision: Decision,
    breaker: CircuitBreaker,
    start: Callable[[str], Iterator[T]],
    has_content: Callable[[T], bool],
    label: Label[T] | None = None,
) -> Iterator[T]:
    """Yield the chunks of the first stream that shows content; never of two.

    Args:
        decision: Gives the order.
        breaker: What is known of the models' health.
        start: Starts a model's stream by name.
        has_content: Whether a chunk shows anything, from which on no other model is tried.
        label: Puts the report on a chunk; asked for the first one alone, so that chunks merge.

    Raises:
        AllModelsFailed: No stream came to its first content.
        Exception: What a stream raised after that.
    """

    def attempt(call: Call) -> OpenedStream[T]:
        return open_stream(start(call.model), has_content)

    outcome = run(failover(decision.order, breaker), attempt)
    with closing(outcome.value.chunks(outcome.model, breaker)) as chunks:
        for chunk in chunks:
            yield chunk if label is None else label(chunk, report(decision, outcome))
            label = None


async def astream_through(
    decision: Decision,
    breaker: CircuitBreaker,
    start: Callable[[str], AsyncIterator[T]],
    has_content: Callable[[T], bool],
    label: Label[T] | None = None,
) -> AsyncIterator[T]:
    """Yield the chunks of the first stream that shows content; like `stream_through`."""

    async def attempt(call: Call) -> AsyncOpenedStream[T]:
        return await aopen_stream(start(call.model), has_content)

    outcome = await arun(failover(decision.order, breaker), attempt)
    async with aclosing(outcome.value.chunks(outcome.model, breaker)) as chunks:
        async for chunk in chunks:
            yield chunk if label is None else label(chunk, report(decision, outcome))
            label = None
