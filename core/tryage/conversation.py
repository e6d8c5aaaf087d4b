"""From the messages of a conversation to a request: what every skin and the gateway share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tryage.cards import Capability
from tryage.flag_text import take_from_prompt
from tryage.flags import Flags
from tryage.request import Request, Tokens, count_tokens

Role = Literal["system", "user", "assistant", "tool"]

_OBSERVATION = "Observation:"
"""How a message begins that brings a tool's result in the user's name, as agents do that follow
ReAct (Yao et al., 2023, arXiv 2210.03629): the user did not say it."""

TOKENS_PER_ATTACHMENT = 800
"""What an image, a sound or a file counts for, since its tokens are not known beforehand."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message, in the words that all frameworks share.

    Attributes:
        role: Who speaks.
        text: The text of the message, all of its blocks together.
        attachments: The capability that each block beside text needs, such as `vision`.
        calls_tools: Whether an assistant's message asks for tools to be run.
        model: The model of the library that wrote an assistant's message, where known.
        call_tokens: About how many tokens its tool calls are.
    """

    role: Role
    text: str
    attachments: tuple[Capability, ...] = ()
    calls_tools: bool = False
    model: str | None = None
    call_tokens: int = 0

    @property
    def said_by_user(self) -> bool:
        """Whether the user said it: agents bring the results of tools in the user's name too."""
        return self.role == "user" and not self.text.startswith(_OBSERVATION)


def request_of(
    turns: Sequence[Turn],
    *,
    needs: frozenset[Capability] = frozenset(),
    flags: Flags | None = None,
    prompt_flags: Flags | None = None,
    max_output_tokens: int | None = None,
    tool_tokens: int = 0,
) -> Request:
    """Return the request of a conversation.

    What is routed on is what the user said last; the size is that of the whole conversation. The
    model that spoke last is read from the turns, so that nothing has to be remembered elsewhere.

    Args:
        turns: The messages, oldest first.
        needs: What the call needs beside what the messages show, such as `tools`.
        flags: The caller's wishes for this call.
        prompt_flags: Wishes taken from the prompt.
        max_output_tokens: The cut that the caller sets, if any.
        tool_tokens: How many tokens the tools are that the model is told of.

    Raises:
        EmptyPrompt: No message holds text or an attachment.

    Example:
        >>> request_of([Turn("system", "Be brief."), Turn("user", "What is a monad?")]).text
        'What is a monad?'
    """
    attachments = [needed for turn in turns for needed in turn.attachments]
    spoken = [turn for turn in turns if turn.role == "assistant"]
    size = sum((count_tokens(turn.text) if turn.text else 0) + turn.call_tokens for turn in turns)
    return Request(
        text=_last_words(turns),
        tokens=Tokens(
            size + tool_tokens + TOKENS_PER_ATTACHMENT * len(attachments),
            output_limit=max_output_tokens,
        ),
        needs=needs | frozenset(attachments),
        flags=flags,
        prompt_flags=prompt_flags,
        previous=spoken[-1].model if spoken else None,
        tool_loop=_tool_loop_is_open(turns),
    )


def flags_in_prompt(turns: Sequence[Turn]) -> Flags | None:
    """Return the flags that the last message of the user asks for in `[Flag: ...]` marks, if any.

    Raises:
        UnknownFlag: A mark holds no known flag.
    """
    return next((take_from_prompt(t.text)[1] for t in reversed(turns) if t.said_by_user), None)


def _last_words(turns: Sequence[Turn]) -> str:
    """Return the last user message with text, or else all text there is."""
    for turn in reversed(turns):
        if turn.said_by_user and turn.text.strip():
            return turn.text
    return "\n".join(turn.text for turn in turns if turn.text.strip())


def _tool_loop_is_open(turns: Sequence[Turn]) -> bool:
    """Return whether the last assistant message asked for tools and no user has spoken since."""
    for turn in reversed(turns):
        if turn.role == "assistant":
            return turn.calls_tools
        if turn.role == "user":
            return False
    return False
