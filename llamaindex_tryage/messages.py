"""From LlamaIndex's messages to the turns that the core reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from llama_index.core.base.llms.types import (
    AudioBlock,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.llms import ChatMessage, MessageRole
from pydantic import Field

from tryage import Flags, Turn, take_from_prompt

_Role = Literal["system", "user", "assistant", "tool"]
_Attachment = Literal["vision", "audio", "files"]

_ROLES: Final[Mapping[str, _Role]] = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.TOOL: "tool",
    MessageRole.FUNCTION: "tool",
}
# No card speaks of video alone: a model that sees is the nearest.
_ATTACHMENTS: Final[Mapping[type[object], _Attachment]] = {
    ImageBlock: "vision",
    VideoBlock: "vision",
    AudioBlock: "audio",
    DocumentBlock: "files",
}


class RoutedMessage(ChatMessage):
    """A message that remembers which model wrote it.

    The name is no part of the message's content: it is in no dump and equal messages stay equal,
    so that it never goes out to a provider. It lives as long as the object does, in an agent's
    scratchpad or a chat memory that keeps objects, and in copies and pickles of it.

    Attributes:
        answered_by: The model's name among the router's LLMs.
    """

    answered_by: str | None = Field(default=None, exclude=True, repr=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ChatMessage):
            return NotImplemented
        return (self.role, self.blocks, self.additional_kwargs) == (
            other.role,
            other.blocks,
            other.additional_kwargs,
        )


def routed(message: ChatMessage, model: str) -> ChatMessage:
    """Return the message with the name of the model that wrote it.

    Example:
        >>> message = ChatMessage(role="assistant", content="Four.")
        >>> routed(message, "small") == message, routed(message, "small").answered_by
        (True, 'small')
    """
    if type(message) is not ChatMessage and not isinstance(message, RoutedMessage):
        return message  # another package's own kind of message stays what it is
    return RoutedMessage.model_construct(
        role=message.role,
        blocks=message.blocks,
        additional_kwargs=message.additional_kwargs,
        answered_by=model,
    )


def turns_of(messages: Iterable[ChatMessage]) -> list[Turn]:
    """Return the turns that messages stand for, in their order.

    Example:
        >>> turns_of([ChatMessage(role="user", content="What is a monad?")])[0].text
        'What is a monad?'
    """
    return [_turn(message) for message in messages]


def without_marks(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Return the messages with the `[Flag: ...]` marks taken out of what users said.

    Example:
        >>> without_marks([ChatMessage(role="user", content="[Flag: cheap] Why?")])[0].content
        'Why?'
    """
    return [_unmarked(m) if m.role == MessageRole.USER else m for m in messages]


def flags_of_arguments(arguments: dict[str, Any]) -> tuple[dict[str, Any], Flags | None]:
    """Return a template's arguments without the marks in the question, and their flags.

    Only the question is read, never what was retrieved for it: that is text from strangers.
    """
    question = arguments.get("query_str")
    if not isinstance(question, str):
        return arguments, None
    clean, flags = take_from_prompt(question)
    return {**arguments, "query_str": clean}, flags


def _turn(message: ChatMessage) -> Turn:
    blocks = message.blocks
    if len(blocks) == 1 and type(blocks[0]) is TextBlock and not message.additional_kwargs:
        model = message.answered_by if isinstance(message, RoutedMessage) else None
        return Turn(_ROLES.get(message.role, "user"), blocks[0].text, model=model)
    texts = [text for block in blocks if (text := _text(block))]
    calls = any(isinstance(block, ToolCallBlock) for block in blocks)
    return Turn(
        role=_ROLES.get(message.role, "user"),
        text="\n".join(texts),
        attachments=tuple(needed for block in blocks for needed in _needs(block)),
        calls_tools=calls or bool(message.additional_kwargs.get("tool_calls")),
        model=message.answered_by if isinstance(message, RoutedMessage) else None,
    )


def _text(block: object) -> str:
    if isinstance(block, TextBlock):
        return block.text
    if isinstance(block, ThinkingBlock):
        return block.content or ""
    if isinstance(block, ToolCallBlock):
        return f"{block.tool_name} {block.tool_kwargs}"
    return "\n".join(text for part in _parts(block) if (text := _text(part)))


def _needs(block: object) -> tuple[_Attachment, ...]:
    needed = _ATTACHMENTS.get(type(block))
    if needed is not None:
        return (needed,)
    return tuple(needed for part in _parts(block) for needed in _needs(part))


def _parts(block: object) -> Sequence[object]:
    if isinstance(block, CitableBlock):
        return block.content
    return (block.cited_content,) if isinstance(block, CitationBlock) else ()


def _unmarked(message: ChatMessage) -> ChatMessage:
    """Return the message, or a copy of it where there are marks to take out."""
    blocks = [
        block.model_copy(update={"text": clean})
        if isinstance(block, TextBlock) and (clean := take_from_prompt(block.text)[0]) != block.text
        else block
        for block in message.blocks
    ]
    unchanged = all(new is old for new, old in zip(blocks, message.blocks, strict=True))
    return message if unchanged else message.model_copy(update={"blocks": blocks})
