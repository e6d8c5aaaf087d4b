"""Streams that are committed to with their first content.

Until something worth showing has arrived, another model may still be tried; after it, never: an
answer is not spliced from two models.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from tryage.failures import Verdict, judge, retry_after_s
from tryage.health import CircuitBreaker

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OpenedStream(Generic[T]):
    """A stream whose first content has arrived.

    Attributes:
        held: The chunks up to and with the first content; all of them where there is none.
        source: The chunks that follow.
    """

    held: tuple[T, ...]
    source: Iterator[T]

    def chunks(self, model: str, breaker: CircuitBreaker) -> Generator[T]:
        """Yield every chunk; a break on the way rests the model and is raised, never hidden."""
        try:
            yield from self.held
            yield from self.source
        except Exception as error:
            _blame(error, model, breaker)
            raise
        finally:
            close = getattr(self.source, "close", None)
            if close is not None:
                close()


@dataclass(frozen=True, slots=True)
class AsyncOpenedStream(Generic[T]):
    """The asynchronous twin of `OpenedStream`."""

    held: tuple[T, ...]
    source: AsyncIterator[T]

    async def chunks(self, model: str, breaker: CircuitBreaker) -> AsyncGenerator[T]:
        """Yield every chunk; a break on the way rests the model and is raised, never hidden."""
        try:
            for chunk in self.held:
                yield chunk
            async for chunk in self.source:
                yield chunk
        except Exception as error:
            _blame(error, model, breaker)
            raise
        finally:
            close = getattr(self.source, "aclose", None)
            if close is not None:
                await close()


def open_stream(source: Iterator[T], has_content: Callable[[T], bool]) -> OpenedStream[T]:
    """Return the stream once its first content has arrived.

    Args:
        source: The chunks; asked for no more than up to the first with content.
        has_content: Whether a chunk shows the caller anything.

    Raises:
        Exception: What the stream raised before that: another model can still be tried.
    """
    held: list[T] = []
    for chunk in source:
        held.append(chunk)
        if has_content(chunk):
            break
    return OpenedStream(tuple(held), source)


async def aopen_stream(
    source: AsyncIterator[T], has_content: Callable[[T], bool]
) -> AsyncOpenedStream[T]:
    """Return the stream once its first content has arrived; otherwise like `open_stream`."""
    held: list[T] = []
    async for chunk in source:
        held.append(chunk)
        if has_content(chunk):
            break
    return AsyncOpenedStream(tuple(held), source)


def _blame(error: Exception, model: str, breaker: CircuitBreaker) -> None:
    if judge(error) is Verdict.MODEL:
        breaker.failed(model, retry_after_s(error))
