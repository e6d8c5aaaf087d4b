"""What an LLM says of itself, read once and with a guard, since its `metadata` may do anything."""

from __future__ import annotations

from dataclasses import dataclass

from llama_index.core.constants import DEFAULT_CONTEXT_WINDOW
from llama_index.core.llms import LLM, LLMMetadata


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one LLM beside its card; `None` where it does not say.

    Attributes:
        context_window: Tokens of prompt and answer together.
        num_output: Longest answer in tokens.
        is_chat_model: Whether it takes messages rather than text.
        calls_tools: Whether it can be given tools.
    """

    context_window: int | None = None
    num_output: int | None = None
    is_chat_model: bool | None = None
    calls_tools: bool | None = None


def facts_of(llm: LLM) -> Facts:
    """Return what an LLM's metadata says; little where reading it fails."""
    can_be_given_tools = hasattr(llm, "chat_with_tools")
    metadata = _metadata(llm)
    if metadata is None:
        return Facts(calls_tools=None if can_be_given_tools else False)
    return Facts(
        context_window=_context_window(llm, metadata),
        num_output=metadata.num_output if metadata.num_output > 0 else None,
        is_chat_model=metadata.is_chat_model,
        calls_tools=metadata.is_function_calling_model and can_be_given_tools,
    )


def name_of(llm: LLM) -> str:
    """Return the model's name: a field where it has one, or else what its metadata says.

    Example:
        >>> from llama_index.core.llms import MockLLM
        >>> name_of(MockLLM())
        'MockLLM'
    """
    for field in ("model", "model_name"):
        name = getattr(llm, field, None)
        if isinstance(name, str) and name:
            return name
    metadata = _metadata(llm)
    said = metadata.model_name if metadata is not None else "unknown"
    return llm.class_name() if said in ("", "unknown") else said


def _metadata(llm: LLM) -> LLMMetadata | None:
    try:
        return llm.metadata
    except Exception:  # a server that is down, a model that the package has not heard of
        return None


def _context_window(llm: LLM, metadata: LLMMetadata) -> int | None:
    """Return the window that was set; the framework's default, unless set, says nothing."""
    window = metadata.context_window
    told = window != DEFAULT_CONTEXT_WINDOW or "context_window" in llm.model_fields_set
    return window if told and window > 0 else None
