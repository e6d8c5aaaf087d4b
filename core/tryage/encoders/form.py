"""What a prompt looks like, whatever it says: its length, its marks, its layout."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tryage.encoders.static import clip

_CLASSES = {
    "digits": b"0123456789",
    "capitals": bytes(range(65, 91)),
    "brackets": b"()[]",
    "quotes": b"\"'`",
    "stops": b".,:",
    "operators": b"+-*/=%<>|&",
    "not_ascii": bytes(range(128, 256)),
    "latex": b"\\$^",
    "code": b"{};_#@",
    "questions": b"?",
    "gaps": b" \t",
    "lines": b"\n",
}

FORM_FEATURES = (
    "share_digits",
    "share_capitals",
    "share_brackets",
    "share_quotes",
    "share_stops",
    "share_operators",
    "share_not_ascii",
    "log_latex",
    "log_code",
    "log_questions",
    "log_words",
    "log_lines",
    "log_characters",
    "word_length",
    "log_options",
    "log_indented_lines",
    "code_words",
    "ends_with_question",
    "begins_with_question",
    "begins_with_order",
)
"""The columns of `form`, in order: shares of the bytes, and logarithms of counts plus one."""

_SHARES = 7

# Each byte's class, for `bytes.translate`: numpy's start would cost more than counting does.
_CLASS_OF = bytes(
    next((number for number, members in enumerate(_CLASSES.values()) if byte in members), 255)
    for byte in range(256)
)

_OPTION = re.compile(r"\n\(?[A-J][.):]")
_CODE_WORDS = ("def ", "return ", "import ", "class ", "print(", "```", "SELECT ", "#include")
# fmt: off
_QUESTION_WORDS = frozenset((
    "what", "who", "whom", "whose", "when", "where", "which", "why", "how", "is", "are", "was",
    "were", "do", "does", "did", "can", "could",
))
_ORDER_WORDS = frozenset((
    "write", "explain", "list", "give", "make", "create", "translate", "summarize", "rewrite",
    "describe", "suggest", "find", "solve", "prove", "compute", "calculate", "determine",
    "show", "let", "implement", "design", "generate", "complete", "fix",
))
# fmt: on


def form(texts: Sequence[str]) -> NDArray[np.float32]:
    """Return the form of each text, float32 (n_texts, len(FORM_FEATURES)).

    A text gives the same bits alone or among others; long texts are clipped as for the encoder.

    Example:
        >>> row = form(["What is 2 + 2?"])[0]
        >>> dict(zip(FORM_FEATURES, row.tolist()))["ends_with_question"]
        1.0
    """
    rows = np.empty((len(texts), len(FORM_FEATURES)), dtype=np.float32)
    for row, text in zip(rows, texts, strict=True):
        row[:] = form_one(text)
    return rows


def form_one(text: str) -> list[float]:
    """Return the form of one text, in the order of `FORM_FEATURES`."""
    text = clip(text)
    encoded = text.encode("utf-8", "replace")
    size = len(encoded)
    counts = [*map(encoded.translate(_CLASS_OF).count, range(len(_CLASSES)))]
    gaps, lines = counts[-2:]
    first = text[:24].lower().split(maxsplit=1)
    first_word = first[0] if first else ""
    return [
        *[count / (size + 1) for count in counts[:_SHARES]],
        *[math.log1p(count) for count in counts[_SHARES:-2]],
        math.log1p(gaps + lines),
        math.log1p(lines),
        math.log1p(size),
        (size + 1) / (gaps + lines + 1),
        math.log1p(len(_OPTION.findall(text)) if lines else 0),
        math.log1p(text.count("\n  ") + text.count("\n\t") if lines else 0),
        float(any([word in text for word in _CODE_WORDS])),
        float(text[-8:].rstrip().endswith("?")),
        float(first_word in _QUESTION_WORDS),
        float(first_word in _ORDER_WORDS),
    ]
