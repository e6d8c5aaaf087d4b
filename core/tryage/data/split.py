"""Splits of a table that keep one text on one side."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tryage.data.table import PerformanceTable
from tryage.errors import UsageError


@dataclass(frozen=True)
class Split:
    """A table cut in two: one part to learn from, one to be judged on."""

    train: PerformanceTable
    test: PerformanceTable


def split_by_prompt(table: PerformanceTable, test: float = 0.3, seed: int = 0) -> Split:
    """Return a random split in which prompts that read alike stand on one side.

    Args:
        table: What to cut.
        test: Share of the distinct texts that go to the test side, in (0, 1).
        seed: The same seed gives the same split.

    Raises:
        UsageError: `test` is outside (0, 1), or one side would be empty.
    """
    groups = _groups(table)
    distinct = int(groups.max()) + 1
    held_out = round(test * distinct)
    if not 0 < test < 1 or not 0 < held_out < distinct:
        raise UsageError(
            f"test={test} of {distinct} distinct prompts leaves a side empty; "
            "give a share in (0, 1) and more prompts."
        )
    chosen = np.random.default_rng(seed).permutation(distinct)[:held_out]
    mask = np.isin(groups, chosen)
    return Split(table.rows(np.flatnonzero(~mask)), table.rows(np.flatnonzero(mask)))


def _groups(table: PerformanceTable) -> NDArray[np.intp]:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(normalise(p), len(numbers)) for p in table.prompts])


def normalise(prompt: str) -> str:
    """Return the prompt as compared for equality: folded case and width, letters and digits only.

    Letters of every script are kept: folding to ASCII would merge all Chinese prompts into one.
    """
    folded = unicodedata.normalize("NFKC", prompt).casefold()
    return re.sub(r"[\W_]+", " ", folded).strip()
