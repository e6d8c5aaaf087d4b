"""What comes back from an LLM: passed on as it is, with the decision beside it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, closing
from typing import Any, TypeVar

from llama_index.core.base.llms.types import TextBlock
from llama_index.core.llms import ChatResponse, CompletionResponse

from llamaindex_tryage.messages import routed
from tryage import CircuitBreaker
from tryage.strategies import AsyncOpenedStream, OpenedStream, Outcome

T = TypeVar("T")

KEY = "tryage"
"""Where in a response's `additional_kwargs` the decision stands."""


def answered_by(response: ChatResponse) -> str | None:
    """Return the name of the model that gave a response, if it came from a router."""
    told = response.additional_kwargs.get(KEY)
    return told.get("model") if isinstance(told, dict) else None


def stamped_chat(response: ChatResponse, told: dict[str, Any]) -> ChatResponse:
    """Return the response with the decision on it; the LLM's own, and `raw`, stay untouched."""
    return response.model_copy(
        update={
            "message": routed(response.message, told["model"]),
            "additional_kwargs": {**response.additional_kwargs, KEY: told},
        }
    )


def stamped_completion(response: CompletionResponse, told: dict[str, Any]) -> CompletionResponse:
    """Return the response with the decision on it; the LLM's own, and `raw`, stay untouched."""
    return response.model_copy(
        update={"additional_kwargs": {**response.additional_kwargs, KEY: told}}
    )


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
