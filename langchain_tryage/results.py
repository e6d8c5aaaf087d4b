"""Results of several models, put together as if one had given them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, LLMResult

from langchain_tryage.metadata import generation_reported
from tryage import Decision
from tryage.strategies import Outcome


def result_reported(result: LLMResult, decision: Decision, outcome: Outcome[Any]) -> LLMResult:
    """Return a copy of a result whose messages tell how they were routed and what they cost."""

    def told(generation: Any) -> Any:
        if not isinstance(generation, ChatGeneration):
            return generation
        return generation_reported(generation, decision, outcome)

    generations = [[told(generation) for generation in row] for row in result.generations]
    return result.model_copy(update={"generations": generations})


def joined(results: Sequence[LLMResult]) -> LLMResult:
    """Return the results of one conversation each as one; token usage is summed up."""
    if len(results) == 1:
        return results[0]
    usage: Counter[str] = Counter()
    for result in results:
        counts = (result.llm_output or {}).get("token_usage") or {}
        usage.update({key: n for key, n in counts.items() if isinstance(n, int)})
    return LLMResult(
        generations=[row for result in results for row in result.generations],
        llm_output={"token_usage": dict(usage)} if usage else {},
        run=[run for result in results for run in result.run or []] or None,
    )


def as_chunk(generation: ChatGeneration) -> ChatGenerationChunk:
    """Return a whole answer as the only chunk of a stream."""
    message = generation.message
    fields = {
        name: getattr(message, name)
        for name in AIMessageChunk.model_fields
        if name not in ("type", "tool_call_chunks", "chunk_position") and hasattr(message, name)
    }
    return ChatGenerationChunk(
        message=AIMessageChunk(**fields, chunk_position="last"),
        generation_info=generation.generation_info,
    )
