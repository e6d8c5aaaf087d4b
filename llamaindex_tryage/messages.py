"""From LlamaIndex's messages to the turns that the core reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

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
from llama_index.core.llms import ChatMessage, ChatResponse, MessageRole
from llama_index.core.prompts import BasePromptTemplate, ChatPromptTemplate

from tryage import Flags, Turn, flag_text, take_from_prompt

Template = TypeVar("Template", bound=BasePromptTemplate)

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


KEY: Final = "tryage"
"""Where in `additional_kwargs` the router writes: in a response's the decision, in a message's who
wrote it. A message has no other place that LlamaIndex's memories and contexts keep."""


def signed(message: ChatMessage, model: str) -> ChatMessage:
    """Return a copy of the message with the name of the model that wrote it.

    Example:
        >>> message = signed(ChatMessage(role="assistant", content="Four."), "small")
        >>> message.additional_kwargs, author_of(message)
        ({'tryage': {'model': 'small'}}, 'small')
    """
    noted = {**message.additional_kwargs, KEY: {"model": model}}
    return message.model_copy(update={"additional_kwargs": noted})


def author_of(message: ChatMessage | ChatResponse) -> str | None:
    """Return the name of the model that wrote a message or response, if a router noted it."""
    noted = message.additional_kwargs.get(KEY)
    model = noted.get("model") if isinstance(noted, Mapping) else None
    return model if isinstance(model, str) else None


def unsigned(messages: Iterable[ChatMessage]) -> list[ChatMessage]:
    """Return the messages as a model may see them: without the names of their authors.

    Some LLMs send all of a message's `additional_kwargs` to their provider, or write them into the
    prompt.

    Example:
        >>> unsigned([signed(ChatMessage("Four."), "small")]) == [ChatMessage("Four.")]
        True
    """
    return [_unsigned(m) if KEY in m.additional_kwargs else m for m in messages]


def unsigned_template(prompt: Template) -> Template:
    """Return the template as a model may see it: chat engines put the conversation into it."""
    return _changed_template(prompt, unsigned)


def unmarked_template(prompt: Template) -> Template:
    """Return the template with the `[Flag: ...]` marks taken out of the conversation in it."""
    return _changed_template(prompt, without_marks)


def turns_of(messages: Iterable[ChatMessage]) -> list[Turn]:
    """Return the turns that messages stand for, in their order.

    Example:
        >>> turns_of([ChatMessage(role="user", content="What is a monad?")])[0].text
        'What is a monad?'
    """
    return [_turn(message) for message in messages]


def without_marks(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Return the messages with the `[Flag: ...]` marks taken out of what users said, unread.

    Example:
        >>> without_marks([ChatMessage(role="user", content="[Flag: cheap] Why?")])[0].content
        'Why?'
    """
    return [_unmarked(m) if _turn(m).said_by_user else m for m in messages]


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
    role, blocks = _ROLES.get(message.role, "user"), message.blocks
    model = author_of(message) if role == "assistant" else None
    old_calls = bool(message.additional_kwargs.get("tool_calls"))
    if len(blocks) == 1 and type(blocks[0]) is TextBlock and not old_calls:
        return Turn(role, blocks[0].text, model=model)
    texts = [text for block in blocks if (text := _text(block))]
    return Turn(
        role=role,
        text="\n".join(texts),
        attachments=tuple(needed for block in blocks for needed in _needs(block)),
        calls_tools=old_calls or any(isinstance(block, ToolCallBlock) for block in blocks),
        model=model,
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
        if isinstance(block, TextBlock)
        and (clean := flag_text.without_marks(block.text)) != block.text
        else block
        for block in message.blocks
    ]
    unchanged = all(new is old for new, old in zip(blocks, message.blocks, strict=True))
    return message if unchanged else message.model_copy(update={"blocks": blocks})


def _changed_template(
    prompt: Template, changed: Callable[[list[ChatMessage]], list[ChatMessage]]
) -> Template:
    if not isinstance(prompt, ChatPromptTemplate):
        return prompt
    return prompt.model_copy(update={"message_templates": changed(prompt.message_templates)})


def _unsigned(message: ChatMessage) -> ChatMessage:
    rest = {k: v for k, v in message.additional_kwargs.items() if k != KEY}
    return message.model_copy(update={"additional_kwargs": rest})
