"""Texts with words taken out: what the experts are asked, and how to make more of it."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tokenizers import Encoding, Tokenizer

from tryage.errors import CorruptArtifact, UsageError

WEIGHTS = Path(__file__).parent / "weights"
MASK = "[MASK]"
MAX_TOKENS = 128

_OPERATORS = frozenset("+-*/=<>%")


@dataclass(frozen=True)
class MaskedPrompt:
    """A text with some of its words taken out, and the words."""

    text: str
    """Holds one ``[MASK]`` for each answer."""
    answers: tuple[str, ...]
    domain: str = ""
    source: str = ""


def load_tokenizer(directory: Path | None = None) -> Tokenizer:
    """Returns the tokenizer that all experts share."""
    path = (WEIGHTS if directory is None else directory) / "tokenizer.json"
    if not path.is_file():
        raise CorruptArtifact(f"no {path.name} in {str(path.parent)!r}")
    return Tokenizer.from_file(str(path))


def load_passages(
    split: Literal["train", "test"], directory: Path | None = None
) -> list[MaskedPrompt]:
    """Returns masked passages that no expert was trained on.

    Args:
        split: ``"train"`` to learn a router from, ``"test"`` to judge it; no document has
            passages in both.
        directory: Holds ``passages.jsonl.gz``.
    """
    if split not in ("train", "test"):
        raise UsageError(f"split is {split!r}; it can be 'train' or 'test'")
    path = (WEIGHTS if directory is None else directory) / "passages.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [
        MaskedPrompt(row["text"], tuple(row["answers"]), row["domain"], row["source"])
        for row in rows
        if row["split"] == split
    ]


def mask(
    text: str,
    rng: random.Random,
    *,
    share: float = 0.14,
    domain: str = "",
    source: str = "",
    tokenizer: Tokenizer | None = None,
) -> MaskedPrompt:
    """Returns `text` with a share of its words taken out.

    Only words that are one token of the experts' vocabulary are taken: of three letters or more,
    numbers, and operators that stand alone. No two words side by side are taken, so that what is
    left still tells something about what is gone.

    Args:
        text: No longer than the expert reads, without masks of its own.
        rng: Chooses the words.
        share: How many of the words, in (0, 1).
        domain: What kind of text it is, if known.
        source: Where it comes from, if known.
        tokenizer: By default, that of the experts that come with the package.

    Raises:
        UsageError: If no word can be taken out.
    """
    encoding = (tokenizer or load_tokenizer()).encode(text, add_special_tokens=False)
    spans = [encoding.offsets[index] for index in maskable(text, encoding)]
    positions = {span: place for place, span in enumerate(encoding.offsets)}
    wanted = max(1, round(share * len(set(encoding.word_ids))))
    chosen: list[tuple[int, int]] = []
    for span in rng.sample(spans, len(spans)):
        if len(chosen) < wanted and all(
            abs(positions[span] - positions[other]) > 1 for other in chosen
        ):
            chosen.append(span)
    if not chosen or MASK in text:
        raise UsageError(f"no word to mask in {shortened(text)!r}; give a text of common words")
    chosen.sort()
    pieces, end = [], 0
    for start, stop in chosen:
        pieces += [text[end:start], MASK]
        end = stop
    answers = tuple(text[start:stop] for start, stop in chosen)
    return MaskedPrompt("".join(pieces) + text[end:], answers, domain, source)


def maskable(text: str, encoding: Encoding) -> list[int]:
    """Returns the places of the tokens that stand for one whole word worth guessing."""
    words = encoding.word_ids
    pieces = Counter(words)
    tokens = zip(words, encoding.tokens, encoding.offsets, strict=True)
    return [
        place
        for place, (word, token, span) in enumerate(tokens)
        # Special tokens belong to no word, a word in pieces has more than one token.
        if word is not None
        and pieces[word] == 1
        and token != "[UNK]"
        and _worth_guessing(text, *span)
    ]


def _worth_guessing(text: str, start: int, end: int) -> bool:
    word = text[start:end]
    if word in _OPERATORS:
        return text[start - 1 : start].isspace() and text[end : end + 1].isspace()
    return word.isdecimal() or (word.isalpha() and len(word) >= 3)


def shortened(text: str) -> str:
    """Returns the text as an error message shows it."""
    return text if len(text) <= 60 else f"{text[:57]}..."
