"""What a response tells about how it was routed, and which chunks of a stream are content."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk

from langchain_tryage.usage import usage_of
from tryage import Decision, Usage, cost_usd
from tryage.strategies import Outcome, report

KEY = "tryage"
"""Where `response_metadata` holds it."""

T = TypeVar("T")
M = TypeVar("M", bound=BaseMessage)
G = TypeVar("G", ChatGeneration, ChatGenerationChunk)

_THINKING = ("thinking", "reasoning")


def with_report(message: M, told: dict[str, Any]) -> M:
    """Return a copy of a message that carries the report.

    A copy, since a cache may hold the message itself and give it to other calls. Where a router
    chose another router, the report of that one is inside of this, and knows the cost.
    """
    metadata = metadata_with_report(message.response_metadata, told)
    return message.model_copy(update={"response_metadata": metadata})


def metadata_with_report(metadata: Mapping[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """Return a response's metadata with the report."""
    inner = metadata.get(KEY)
    if inner is not None:
        told = {**told, "inner": inner}
        if told.get("cost_usd") is None and inner.get("cost_usd") is not None:
            told["cost_usd"] = inner["cost_usd"]
    return {**metadata, KEY: told}


def reported(answer: T, decision: Decision, outcome: Outcome[Any]) -> T:
    """Return an answer that tells how it was routed and what it cost.

    Args:
        answer: A message, or the dictionary of `include_raw=True`; what else there is comes back
            as it is.
        decision: What was decided.
        outcome: What carrying it out came to.
    """
    if isinstance(answer, BaseMessage):
        return with_report(answer, report(decision, outcome, usage_of(answer)))
    if isinstance(answer, dict) and isinstance(answer.get("raw"), BaseMessage):
        return {**answer, "raw": reported(answer["raw"], decision, outcome)}  # type: ignore[return-value]
    return answer


def generation_reported(generation: G, decision: Decision, outcome: Outcome[Any]) -> G:
    """Return a copy of a generation whose message tells how it was routed and what it cost."""
    message = reported(generation.message, decision, outcome)
    return generation.model_copy(update={"message": message})


def chunks_reported(decision: Decision, outcome: Outcome[Any]) -> Callable[[M], M]:
    """Return what makes the chunks of one stream tell how it was routed and what it cost.

    Each thing is told by one chunk alone, so that chunks can be added: the report by the first,
    the cost, which nobody knows before, by the last.
    """
    told = report(decision, outcome)
    usage: Usage | None = None

    def label(chunk: M) -> M:
        nonlocal told, usage
        more = usage_of(chunk)
        if more is not None:
            usage = more if usage is None else Usage(*map(sum, zip(usage, more, strict=True)))
        # A message that is no chunk is the whole answer.
        if usage is not None and getattr(chunk, "chunk_position", "last") == "last":
            told = {**told, **_cost(decision, outcome, usage)}
        if told or KEY in chunk.response_metadata:
            chunk, told = with_report(chunk, told), {}
        return chunk

    return label


def _cost(decision: Decision, outcome: Outcome[Any], usage: Usage) -> dict[str, Any]:
    cost = cost_usd(decision.library.find(outcome.model), usage)
    return {} if cost is None else {"cost_usd": cost}


def generation_chunks_reported(
    decision: Decision, outcome: Outcome[Any]
) -> Callable[[ChatGenerationChunk], ChatGenerationChunk]:
    """Return the same for chunks as `_stream` yields them."""
    label = chunks_reported(decision, outcome)
    return lambda chunk: chunk.model_copy(update={"message": label(chunk.message)})


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
