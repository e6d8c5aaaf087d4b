"""What was retrieved for a question, handed from a postprocessor to the call that answers it.

LlamaIndex gives an LLM the text of the nodes and nothing else, so the rest goes by a context
variable. What stands there holds for the calls whose prompt quotes those nodes, once each, and for
those that refine or sum up their answers. Any other answer forgets it: that is another query's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

from tryage import Flags

GoesOn = Literal["refines", "sums up"]
"""How a call goes on from earlier answers."""


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What was retrieved for one question.

    Attributes:
        nodes: How many nodes.
        tokens: About how many tokens they are together.
        top_score: The best node's score; `None` where no node has one.
        weak: Whether that is below what the postprocessor asks for.
        flags: Wishes for the answer, where it is weak.
    """

    nodes: int
    tokens: int
    top_score: float | None
    weak: bool
    flags: Flags | None = None

    def as_json(self) -> dict[str, Any]:
        """Return what was retrieved as plain JSON values."""
        return {
            "nodes": self.nodes,
            "tokens": self.tokens,
            "top_score": self.top_score,
            "weak": self.weak,
        }


class _Pending:
    """A retrieval whose answer is awaited. Shared by the calls of one query, which may be tasks."""

    def __init__(self, retrieval: Retrieval, texts: Sequence[str]) -> None:
        self.retrieval = retrieval
        self._left = Counter(text.strip() for text in texts if text.strip())
        self._texts = tuple(self._left)
        self._question: str | None = None

    def is_for(self, prompt: str, question: str | None, goes_on: GoesOn | None) -> bool:
        """Return whether a call answers from these nodes."""
        quoted = [text for text in self._texts if text in prompt]
        unread = [text for text in quoted if self._left[text] > 0]
        if unread:
            self._left.subtract(unread)
            self._question = question
            return True
        if question is None or question != self._question:
            return False
        # What quotes only nodes that were read already stems from another query that found them,
        # unless an answer that is refined quotes them.
        return goes_on == "refines" or (goes_on == "sums up" and not quoted)


_pending: ContextVar[_Pending | None] = ContextVar("tryage_retrieval", default=None)


def note(retrieval: Retrieval, texts: Sequence[str]) -> None:
    """Keep a retrieval for the calls that will answer from it.

    Args:
        retrieval: What was retrieved.
        texts: The nodes' texts, by which those calls are known.
    """
    _pending.set(_Pending(retrieval, texts))


def awaited() -> bool:
    """Return whether any retrieval waits for its answer."""
    return _pending.get() is not None


def retrieved_for(prompt: str, question: str | None, goes_on: GoesOn | None) -> Retrieval | None:
    """Return what was retrieved for a call that synthesizes an answer, if that is known.

    Args:
        prompt: The whole prompt.
        question: What the user asks.
        goes_on: How the call goes on from earlier answers to the question, if it does.
    """
    pending = _pending.get()
    if pending is None:
        return None
    if pending.is_for(prompt, question, goes_on):
        return pending.retrieval
    _pending.set(None)
    return None
