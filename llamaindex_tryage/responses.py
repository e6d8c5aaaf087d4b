"""What comes back from an LLM: passed on as it is, with the decision beside it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, closing
from typing import Any, TypeVar

from llama_index.core.base.llms.types import TextBlock
from llama_index.core.llms import ChatResponse, CompletionResponse

from llamaindex_tryage.calls import RoutedCall
from llamaindex_tryage.messages import KEY, signed
from llamaindex_tryage.usage import usage_of
from tryage import CircuitBreaker
from tryage.strategies import AsyncOpenedStream, OpenedStream, Outcome

T = TypeVar("T")
R = TypeVar("R", ChatResponse, CompletionResponse)


def stamped_chat(response: ChatResponse, told: dict[str, Any]) -> ChatResponse:
    """Return the response with the decision on it; the LLM's own, and `raw`, stay untouched."""
    return response.model_copy(
        update={
            "message": signed(response.message, told["model"]),
            "additional_kwargs": {**response.additional_kwargs, KEY: told},
        }
    )


def stamped_completion(response: CompletionResponse, told: dict[str, Any]) -> CompletionResponse:
    """Return the response with the decision on it; the LLM's own, and `raw`, stay untouched."""
    return response.model_copy(
        update={"additional_kwargs": {**response.additional_kwargs, KEY: told}}
    )


def reported_chat(call: RoutedCall, outcome: Outcome[ChatResponse]) -> ChatResponse:
    """Return a response that tells how it was routed and what it cost."""
    return stamped_chat(outcome.value, call.report(outcome, usage_of(outcome.value)))


def reported_completion(
    call: RoutedCall, outcome: Outcome[CompletionResponse]
) -> CompletionResponse:
    """Return a response that tells how it was routed and what it cost."""
    return stamped_completion(outcome.value, call.report(outcome, usage_of(outcome.value)))


def reporting(
    stamped: Callable[[R, dict[str, Any]], R], call: RoutedCall, outcome: Outcome[Any]
) -> Callable[[R], R]:
    """Return what makes each chunk of a stream tell how it was routed.

    What it cost is told from the chunk on that reports the tokens: the last, or nearly.
    """
    told = call.report(outcome, None)

    def finish(chunk: R) -> R:
        nonlocal told
        usage = usage_of(chunk)
        if usage is not None:
            told = call.report(outcome, usage)
        return stamped(chunk, told)

    return finish


def chat_has_content(chunk: ChatResponse) -> bool:
    """Return whether a chunk shows anything: text, a thought, a tool call."""
    if chunk.delta or chunk.message.additional_kwargs.get("tool_calls"):
        return True
    return any(not isinstance(b, TextBlock) or bool(b.text) for b in chunk.message.blocks)


def completion_has_content(chunk: CompletionResponse) -> bool:
    """Return whether a chunk shows any text."""
    return bool(chunk.delta or chunk.text)


def relay(
    outcome: Outcome[OpenedStream[T]], breaker: CircuitBreaker, finish: Callable[[T], T]
) -> Generator[T, None, None]:
    """Yield an opened stream's chunks, each finished; closes it when closed itself."""
    chunks = outcome.value.chunks(outcome.model, breaker)
    with closing(chunks) as source:
        for chunk in source:
            yield finish(chunk)


async def arelay(
    outcome: Outcome[AsyncOpenedStream[T]], breaker: CircuitBreaker, finish: Callable[[T], T]
) -> AsyncGenerator[T, None]:
    """Yield an opened stream's chunks, each finished; closes it when closed itself."""
    chunks = outcome.value.chunks(outcome.model, breaker)
    async with aclosing(chunks) as source:
        async for chunk in source:
            yield finish(chunk)


def as_is(chunk: T) -> T:
    """Return the chunk: for streams of plain text or objects, which have no room for more."""
    return chunk
