"""What the router looks at for one call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tryage.cards import Capability
from tryage.errors import EmptyPrompt
from tryage.flags import Flags

EXPECTED_OUTPUT_TOKENS = 300
"""How long the ordinary model's answer is taken to be where the caller does not say."""

CHARACTERS_PER_TOKEN = 4
"""UTF-8 bytes per token of ordinary text, near enough for every tokenizer in use."""


class Tokens(NamedTuple):
    """How large a call is, as far as known before it is made; `output` where somebody knows."""

    input: int
    output: int | None = None
    output_limit: int | None = None

    @property
    def expected_output(self) -> int:
        """How long the ordinary model's answer is taken to be, in tokens."""
        return EXPECTED_OUTPUT_TOKENS if self.output is None else self.output


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call, as the router sees it.

    Attributes:
        text: What the model is asked; in a conversation, what the user said last.
        tokens: Size of the whole call, history and all, and of the answer expected.
        needs: Capabilities without which the call fails, such as `tools` or `vision`.
        flags: The caller's wishes for this call; stronger than the router's own.
        prompt_flags: Wishes read from the prompt, where the caller switched that on; the strongest.
        previous: The model that spoke last in this conversation, if any.
        tool_loop: Whether that model waits for the results of its tool calls.

    Raises:
        EmptyPrompt: The text is blank and the call needs nothing that could stand in for it.

    Example:
        >>> Request.from_prompt("What is a monad?").tokens.input
        4
    """

    text: str
    tokens: Tokens
    needs: frozenset[Capability] = frozenset()
    flags: Flags | None = None
    prompt_flags: Flags | None = None
    previous: str | None = None
    tool_loop: bool = False

    def __post_init__(self) -> None:
        if not self.needs and (not self.text or self.text.isspace()):
            raise EmptyPrompt(
                f"the prompt {self.text[:20]!r} is empty; give the text that a model shall answer."
            )

    @classmethod
    def from_prompt(
        cls,
        text: str,
        *,
        flags: Flags | None = None,
        needs: frozenset[Capability] = frozenset(),
        output_tokens: int | None = None,
        max_output_tokens: int | None = None,
    ) -> Request:
        """Return the request of a single prompt, its tokens estimated from its length.

        Args:
            text: The prompt.
            flags: Wishes for this call.
            needs: Capabilities without which it fails.
            output_tokens: How long the ordinary model's answer will be, if you know.
            max_output_tokens: The cut that the caller sets, if any.

        Raises:
            EmptyPrompt: The text is blank.
        """
        tokens = Tokens(count_tokens(text), output_tokens, max_output_tokens)
        return cls(text=text, tokens=tokens, needs=needs, flags=flags)


def count_tokens(text: str) -> int:
    """Return about how many tokens a text is, at least 1: a quarter of its UTF-8 bytes."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    return max(1, size // CHARACTERS_PER_TOKEN)
