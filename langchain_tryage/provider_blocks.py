"""Blocks of answers whose form is some provider's own: whose it is, and what they say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from langchain_tryage.messages import ATTACHMENTS, TEXTS

Block = str | dict[str, Any]

_FAMILIES = {
    "anthropic": "anthropic",  # also where others host it
    "openai": "openai",
    "azure": "openai",
    "bedrock": "bedrock",
    "google": "google",
    "mistral": "mistral",
}
"""By a part of its name, the family of a provider: whose message format it has."""

_SHAPES = {
    "thinking": "anthropic",
    "redacted_thinking": "anthropic",
    "server_tool_use": "anthropic",
    "mcp_tool_use": "anthropic",
    "reasoning": "openai",
    "mcp_list_tools": "openai",
    "reasoning_content": "bedrock",
    "executable_code": "google",
    "code_execution_result": "google",
    "server_tool_call": "",  # LangChain v1; which provider's, only the message could tell
    "server_tool_result": "",
}
"""The family whose block it is, by its type; blocks that all take are not here."""

_THINKING = frozenset({"thinking", "redacted_thinking", "reasoning", "reasoning_content"})

_CALLS = frozenset({"tool_use", "function_call", "input_json_delta", "invalid_tool_call"})
"""Blocks for what `tool_calls` holds, beside all that start with `tool_call`."""

_READABLE = frozenset(
    {
        *("query", "queries", "arguments", "code", "command", "executable_code"),
        *("title", "url", "text", "content", "transcript"),
        *("output", "stdout", "stderr", "logs", "code_execution_result", "error_code"),
    }
)
"""Under these keys a block of a server's tool holds words that another model can read."""

_PLAIN = frozenset({"type", "text"})


def family_of_provider(provider: str, kind: str = "") -> str:
    """Return whose message format a provider has.

    Args:
        provider: The provider as traces or messages name it.
        kind: What the chat model says that it is, which tells of models that others host.
    """
    names = f"{provider} {kind}"
    return next((family for part, family in _FAMILIES.items() if part in names), provider)


def family_of_block(block: Block) -> str | None:
    """Return the family whose form a block has; `None` for blocks that all take."""
    if isinstance(block, str):
        return None
    kind = block.get("type") or ""
    if kind == "non_standard":
        return family_of_block(block.get("value") or "")
    if kind in _SHAPES or kind in _CALLS or kind == "tool_call":
        return _SHAPES.get(kind)
    if kind.endswith("_tool_result"):
        return "anthropic"
    return "openai" if kind.endswith("_call") else None


def is_plain(block: Block) -> bool:
    """Return whether a block is text without anything that a provider put beside it."""
    return isinstance(block, str) or (block.get("type") == "text" and block.keys() <= _PLAIN)


def words_of(block: Block) -> str:
    """Return a block as text; thinking, and calls of the caller's tools, as none."""
    if isinstance(block, str):
        return block
    kind = block.get("type") or "text"
    if kind == "non_standard":
        return words_of(block.get("value") or "")
    if kind in TEXTS or kind == "refusal":
        return block.get("text") or block.get("refusal") or ""
    if kind in _THINKING or kind in _CALLS or kind.startswith("tool_call"):
        return ""
    found = " ".join(_readable(block))
    label = block.get("name") or kind
    return f"\n[{label}] {found}\n" if found or kind in ATTACHMENTS else ""


def _readable(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, str):
        if key in _READABLE and not value.startswith("data:"):
            yield value
    elif isinstance(value, list):
        for item in value:
            yield from _readable(item, key)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _readable(item, key)
