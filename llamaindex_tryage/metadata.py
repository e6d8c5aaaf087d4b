"""What the router says of itself: the most that any of its LLMs can do."""

from __future__ import annotations

from collections.abc import Iterable

from llama_index.core.constants import DEFAULT_CONTEXT_WINDOW
from llama_index.core.llms import LLMMetadata

from llamaindex_tryage.candidates import Candidates


def metadata_of(candidates: Candidates) -> LLMMetadata:
    """Return the metadata of a router over these LLMs.

    A capability is there where any of them has it: a call that needs it goes to one that does.
    The context window is the widest, so that a prompt is not cut up for the sake of the
    narrowest: a prompt that does not fit a model is not given to it.
    """
    facts = candidates.facts.values()
    windows = [card.context_tokens for card in candidates.library if card.context_tokens]
    return LLMMetadata(
        context_window=max(windows, default=DEFAULT_CONTEXT_WINDOW),
        num_output=max((f.num_output for f in facts if f.num_output), default=-1),
        is_chat_model=any(f.is_chat_model for f in facts),
        is_function_calling_model=bool(candidates.call_tools),
        model_name=label(candidates.llms),
    )


def label(names: Iterable[str]) -> str:
    """Return what the router is called in logs and traces: `tryage[a,b]`."""
    return f"tryage[{','.join(names)}]"
