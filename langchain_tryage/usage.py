"""What a message tells of the tokens that it took."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage

from tryage import Usage


def usage_of(message: Any) -> Usage | None:
    """Return the tokens that a message reports, none for one out of LangChain's own cache.

    `None` where it reports nothing.
    """
    told = message.usage_metadata if isinstance(message, AIMessage) else None
    if told is None:
        return None
    if is_cached(message):
        return Usage(0, 0)
    cached = (told.get("input_token_details") or {}).get("cache_read") or 0
    return Usage(told["input_tokens"], told["output_tokens"], cached)


def is_cached(message: Any) -> bool:
    """Return whether LangChain's own cache gave a message; it then says that it cost nothing."""
    told = message.usage_metadata if isinstance(message, AIMessage) else None
    return told is not None and dict(told).get("total_cost") == 0
