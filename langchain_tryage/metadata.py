"""What a response tells about how it was routed, and which chunks of a stream are content."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk

KEY = "tryage"
"""Where `response_metadata` holds it."""

M = TypeVar("M")
G = TypeVar("G", ChatGeneration, ChatGenerationChunk)

_THINKING = ("thinking", "reasoning")


def with_report(message: M, told: dict[str, Any]) -> M:
    """Return a copy of a message that carries the report; what is no message, as it is.

    A copy, since a cache may hold the message itself and give it to other calls.
    """
    if isinstance(message, BaseMessage):
        metadata = {**message.response_metadata, KEY: told}
        return message.model_copy(update={"response_metadata": metadata})
    if isinstance(message, dict) and isinstance(message.get("raw"), BaseMessage):
        return {**message, "raw": with_report(message["raw"], told)}  # type: ignore[return-value]
    return message


def generation_with_report(generation: G, told: dict[str, Any]) -> G:
    """Return a copy of a generation whose message carries the report."""
    message = with_report(generation.message, told)
    return generation.model_copy(update={"message": message})


def has_content(chunk: object) -> bool:
    """Return whether a chunk of a stream shows the caller anything: text, a tool call, thinking.

    The first chunk of most providers says only who speaks.
    """
    if not isinstance(chunk, AIMessageChunk):
        return True
    if chunk.tool_call_chunks or chunk.additional_kwargs.get("reasoning_content"):
        return True
    content = chunk.content
    return bool(content) if isinstance(content, str) else _any_content(content)


def generation_has_content(chunk: ChatGenerationChunk) -> bool:
    """Return the same for a chunk as `_stream` yields it."""
    return has_content(chunk.message)


def _any_content(blocks: Sequence[str | dict[str, Any]]) -> bool:
    return any(block if isinstance(block, str) else _block_content(block) for block in blocks)


def _block_content(block: dict[str, Any]) -> bool:
    kind = block.get("type")
    if kind == "text":
        return bool(block.get("text"))
    if kind in _THINKING:
        return any(block.get(key) for key in (*_THINKING, "text", "summary"))
    return True
