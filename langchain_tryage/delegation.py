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
    run,
)

T = TypeVar("T")
Labels = Callable[[Decision, Outcome[Any]], Callable[[T], T]]
"""Gives, for one stream, what makes its chunks tell how it was routed."""


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
    labels: Labels[T] | None = None,
) -> Iterator[T]:
    """Yield the chunks of the first stream that shows content; never of two.

    Args:
        decision: Gives the order.
        breaker: What is known of the models' health.
        start: Starts a model's stream by name.
        has_content: Whether a chunk shows anything, from which on no other model is tried.
        labels: Makes the chunks tell how the call was routed.

    Raises:
        AllModelsFailed: No stream came to its first content.
        Exception: What a stream raised after that.
    """

    def attempt(call: Call) -> OpenedStream[T]:
        return open_stream(start(call.model), has_content)

    outcome = run(failover(decision.order, breaker), attempt)
    label = None if labels is None else labels(decision, outcome)
    with closing(outcome.value.chunks(outcome.model, breaker)) as chunks:
        for chunk in chunks:
            yield chunk if label is None else label(chunk)


async def astream_through(
    decision: Decision,
    breaker: CircuitBreaker,
    start: Callable[[str], AsyncIterator[T]],
    has_content: Callable[[T], bool],
    labels: Labels[T] | None = None,
) -> AsyncIterator[T]:
    """Yield the chunks of the first stream that shows content; like `stream_through`."""

    async def attempt(call: Call) -> AsyncOpenedStream[T]:
        return await aopen_stream(start(call.model), has_content)

    outcome = await arun(failover(decision.order, breaker), attempt)
    label = None if labels is None else labels(decision, outcome)
    async with aclosing(outcome.value.chunks(outcome.model, breaker)) as chunks:
        async for chunk in chunks:
            yield chunk if label is None else label(chunk)
