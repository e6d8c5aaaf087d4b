"""Splits of a table that keep one text on one side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tryage.data.table import PerformanceTable
from tryage.data.text import normalise
from tryage.errors import CannotSplit


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
        CannotSplit: `test` is outside (0, 1), or one side would be empty.
    """
    groups = _numbered([normalise(prompt) for prompt in table.prompts])
    distinct = int(groups.max(initial=-1)) + 1
    held_out = round(test * distinct)
    if not 0 < test < 1 or not 0 < held_out < distinct:
        raise CannotSplit(
            f"test={test} of {distinct} distinct prompts leaves a side empty; "
            "give a share in (0, 1) and more prompts."
        )
    chosen = np.random.default_rng(seed).permutation(distinct)[:held_out]
    return _cut(table, np.isin(groups, chosen))


def split_by_domain(table: PerformanceTable, test: float = 0.3, seed: int = 0) -> Split:
    """Return a split by whole domains: none stands on both sides.

    A prompt of the other domains that reads like one of the test side is left out of the training
    side. Prompts without a domain are a domain of their own.

    Args:
        table: What to cut.
        test: Share of the domains that go to the test side, in (0, 1); at least one goes and one
            stays.
        seed: The same seed gives the same split.

    Raises:
        CannotSplit: `test` is outside (0, 1), there are fewer than two domains, or the domains
            that stay hold no prompt of their own.
    """
    domains = _numbered(table.domains)
    distinct = int(domains.max(initial=-1)) + 1
    if not 0 < test < 1 or distinct < 2:
        raise CannotSplit(
            f"test={test} of {distinct} domain(s) cannot be cut; give a share in (0, 1) and a "
            "table with two or more in its column `domain`, or split by prompt."
        )
    held_out = min(max(round(test * distinct), 1), distinct - 1)
    chosen = np.random.default_rng(seed).permutation(distinct)[:held_out]
    mask = np.isin(domains, chosen)
    texts = [normalise(prompt) for prompt in table.prompts]
    tested = {texts[row] for row in np.flatnonzero(mask)}
    return _cut(table, mask, np.array([text not in tested for text in texts]))


def split_by_model(
    table: PerformanceTable,
    held_out: Sequence[str] | float = 0.2,
    test: float = 0.3,
    seed: int = 0,
) -> Split:
    """Return a random split of prompts whose training side lacks some models.

    The test side has every model, in the table's order: those that were held out are to be judged
    among those that were learned.

    Args:
        table: What to cut.
        held_out: Names of models, or the share of them that is drawn, in (0, 1); at least one is.
        test: Share of the distinct texts that go to the test side, in (0, 1).
        seed: The same seed gives the same split.

    Raises:
        UnknownModel: The table has no model of that name.
        CannotSplit: Fewer than two models stay, or the prompts cannot be cut.
    """
    if isinstance(held_out, float | int):
        count = max(round(held_out * len(table.models)), 1) if 0 < held_out < 1 else 0
        drawn = np.random.default_rng(seed).permutation(len(table.models))[:count]
        held_out = [table.models[column] for column in sorted(drawn.tolist())]
    held = table.only(held_out).models
    kept = [model for model in table.models if model not in held]
    if not held or len(kept) < 2:
        raise CannotSplit(
            f"holding out {len(held)} of {len(table.models)} models leaves {len(kept)} to learn "
            "from; hold out one or more, and leave two or more."
        )
    split = split_by_prompt(table, test, seed)
    return Split(split.train.only(kept), split.test)


def _numbered(names: Sequence[str]) -> NDArray[np.intp]:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.intp)


def _cut(
    table: PerformanceTable, mask: NDArray[np.bool_], allowed: NDArray[np.bool_] | None = None
) -> Split:
    train = ~mask if allowed is None else ~mask & allowed
    if not train.any():
        raise CannotSplit(
            "every prompt to learn from also stands on the test side; give other domains."
        )
    return Split(table.rows(np.flatnonzero(train)), table.rows(np.flatnonzero(mask)))


def folds_by_prompt(prompts: Sequence[str], n: int, seed: int) -> NDArray[np.intp]:
    """Return a number in [0, n) for each prompt, (n_prompts,); prompts that read alike share it.

    With fewer than n distinct prompts, the higher numbers stand empty.
    """
    numbers: dict[str, int] = {}
    groups = np.array([numbers.setdefault(normalise(p), len(numbers)) for p in prompts])
    folds: NDArray[np.intp] = (np.random.default_rng(seed).permutation(len(numbers)) % n)[groups]
    return folds
