"""The seam between what to call and how to call it.

A strategy is a generator that does no I/O: it yields the calls to make next, receives what each
brought back, and returns the outcome. The drivers below make the calls; any framework can write
its own in a few lines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """A wish to call one model with the caller's input."""

    model: str


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """A call came back; for a stream, its first content has arrived."""

    value: T


@dataclass(frozen=True, slots=True)
class Failure:
    """A call raised; for a stream, before its first content."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call that was made: the model, and the class of its error where it failed."""

    model: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What carrying out a decision came to."""

    model: str
    value: T
    attempts: tuple[Attempt, ...]


Result = Answer[T] | Failure
Strategy = Generator[Sequence[Call], Sequence[Result[T]], Outcome[T]]


def run(strategy: Strategy[T], call: Callable[[Call], T]) -> Outcome[T]:
    """Return the outcome of a strategy, with calls made by `call`.

    Calls that are yielded together run side by side, in threads.

    Args:
        strategy: What to call next.
        call: Makes one call and returns its value, or raises.

    Raises:
        Exception: What the strategy raises, having seen the failures.
    """

    def attempt(wanted: Call) -> Result[T]:
        try:
            return Answer(call(wanted))
        except Exception as error:  # the strategy judges it
            return Failure(error)

    def attempt_all(calls: Sequence[Call]) -> Sequence[Result[T]]:
        if len(calls) == 1:
            return [attempt(calls[0])]
        with ThreadPoolExecutor(max_workers=max(len(calls), 1)) as pool:
            return list(pool.map(attempt, calls))

    try:
        calls = next(strategy)
        while True:
            calls = strategy.send(attempt_all(calls))
    except StopIteration as stop:
        outcome: Outcome[T] = stop.value
        return outcome


async def arun(strategy: Strategy[T], call: Callable[[Call], Awaitable[T]]) -> Outcome[T]:
    """Return the outcome of a strategy, with calls awaited; otherwise like `run`."""

    async def attempt(wanted: Call) -> Result[T]:
        try:
            return Answer(await call(wanted))
        except Exception as error:  # the strategy judges it
            return Failure(error)

    async def attempt_all(calls: Sequence[Call]) -> Sequence[Result[T]]:
        if len(calls) == 1:  # without a task: context variables set inside stay visible
            return [await attempt(calls[0])]
        return await asyncio.gather(*(attempt(call) for call in calls))

    try:
        calls = next(strategy)
        while True:
            calls = strategy.send(await attempt_all(calls))
    except StopIteration as stop:
        outcome: Outcome[T] = stop.value
        return outcome
