"""From LangChain's messages to the turns of a conversation."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, Literal, cast

from langchain_core.messages import AIMessage, BaseMessage

from tryage import Flags, Turn, count_tokens, take_from_prompt

Role = Literal["system", "user", "assistant", "tool"]
Attachment = Literal["vision", "audio", "files"]

_ROLES: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "ai": "assistant",
    "assistant": "assistant",
    "AIMessageChunk": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
}
"""By a message's type, or by the role of a `ChatMessage`."""

ATTACHMENTS: dict[str, Attachment] = {
    "image": "vision",  # LangChain v1 and Anthropic
    "image_url": "vision",  # OpenAI chat completions
    "input_image": "vision",  # OpenAI responses
    "video": "vision",
    "audio": "audio",
    "input_audio": "audio",
    "file": "files",
    "input_file": "files",
    "document": "files",  # Anthropic
    "text-plain": "files",
}
"""What a content block needs of a model, by the block's type."""

TEXTS = ("text", "input_text", "output_text")
"""The types of blocks that are text and nothing else."""


def turns_of(messages: Sequence[BaseMessage], known: Container[str] = frozenset()) -> list[Turn]:
    """Return the turns of a conversation, with the models that spoke where they are on record.

    Args:
        messages: The conversation, oldest first.
        known: The models whose names are wanted; for routers inside of routers, which have
            names of their own for who spoke.
    """
    return [_turn(message, known) for message in messages]


def without_flags(messages: Sequence[BaseMessage]) -> tuple[list[BaseMessage], Flags | None]:
    """Return the messages without `[Flag: ...]` marks, and the flags of the last user message.

    Raises:
        UnknownFlag: A mark holds no known flag.
    """
    cleaned: list[BaseMessage] = []
    flags: Flags | None = None
    for message in messages:
        if _turn(message, frozenset()).said_by_user:
            content, flags = _content_without_flags(message.content)
            if content != message.content:
                message = message.model_copy(update={"content": content})
        cleaned.append(message)
    return cleaned, flags


def _turn(message: BaseMessage, known: Container[str]) -> Turn:
    role = _role(message)
    content = message.content
    attachments: tuple[Attachment, ...] = ()
    if isinstance(content, str):
        text = content
    else:
        blocks = list(_flattened(content))
        text = "\n".join(block.get("text") or "" for block in blocks if block.get("type") in TEXTS)
        if role != "assistant":
            attachments = tuple(_attachments(blocks))
        if role == "user" and _holds_only_tool_results(content):
            role = "tool"
    if not isinstance(message, AIMessage):
        return Turn(role, text, attachments)
    author = author_of(message.response_metadata, known)
    calls = message.tool_calls
    return Turn(
        role,
        text,
        calls_tools=bool(calls),
        model=author,
        call_tokens=count_tokens(str([call["args"] for call in calls])) if calls else 0,
    )


def _role(message: BaseMessage) -> Role:
    kind = message.type
    return _ROLES.get(getattr(message, "role", kind) if kind == "chat" else kind, "user")


def author_of(metadata: Mapping[str, Any], known: Container[str] = frozenset()) -> str | None:
    """Return the model that wrote a message: as Tryage called it, or else as it calls itself.

    Of several names, that of a known model; or else the first.
    """
    told = metadata.get("tryage")
    names = []
    while isinstance(told, dict):
        names.append(told.get("model"))
        told = told.get("inner")
    names.append(metadata.get("model_name"))
    named = [name for name in names if isinstance(name, str)]
    return next((name for name in named if name in known), named[0] if named else None)


def _flattened(content: Sequence[str | dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the blocks as dictionaries, those inside of tool results among them."""
    for block in content:
        if isinstance(block, str):
            yield {"type": "text", "text": block}
        elif block.get("type") == "tool_result":
            inner = block.get("content") or []
            yield from _flattened([inner] if isinstance(inner, str) else inner)
        else:
            yield block


def _attachments(blocks: Sequence[dict[str, Any]]) -> Iterator[Attachment]:
    for block in blocks:
        kind = block.get("type", "")
        if kind == "media":  # Google: known by its MIME type alone
            mime = str(block.get("mime_type", ""))
            kind = mime.split("/")[0] if mime.startswith(("image/", "audio/", "video/")) else "file"
        if kind in ATTACHMENTS:
            yield ATTACHMENTS[kind]


def _holds_only_tool_results(content: Sequence[str | dict[str, Any]]) -> bool:
    """Return whether a message is Anthropic's form of a tool message."""
    return bool(content) and all(
        isinstance(block, dict) and block.get("type") == "tool_result" for block in content
    )


def _content_without_flags(
    content: str | list[str | dict[str, Any]],
) -> tuple[str | list[str | dict[str, Any]], Flags | None]:
    if isinstance(content, str):
        return take_from_prompt(content)
    cleaned: list[str | dict[str, Any]] = []
    found: Flags | None = None
    for block in content:
        flags = None
        if isinstance(block, str):
            block, flags = take_from_prompt(block)
        elif block.get("type") in TEXTS:
            text, flags = take_from_prompt(cast(str, block["text"]))
            block = {**block, "text": text}
        cleaned.append(block)
        if flags is not None:
            found = flags if found is None else found.merged(flags)
    return cleaned, found
