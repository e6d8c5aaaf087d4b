"""A strong and a weak model: how few calls to the strong one recover how much of its lead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tryage.errors import UnknownModel, nearest

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Pair:
    """Two models, by name.

    Attributes:
        strong: The better one.
        weak: The one that is to be called where it is as good.
    """

    strong: str
    weak: str


def choose_pair(
    models: tuple[str, ...],
    means: Array,
    costs: Array | None,
    strong: str | None = None,
    weak: str | None = None,
) -> Pair:
    """Return the pair to be judged on.

    Args:
        models: Two or more names.
        means: Their mean scores on the training part, (n_models,).
        costs: Their mean costs, where known; NaN for a model without.
        strong: The strong model; the one of the best mean if absent.
        weak: The weak model; the cheapest other one if absent, or the worst if costs are unknown
            or no other is cheaper than the strong one.

    Raises:
        UnknownModel: A name is none of the models.
    """
    for name in (strong, weak):
        if name is not None and name not in models:
            raise UnknownModel(
                f"the pair names {name!r}, which is none of the models.{nearest(name, models)} "
                f"They are: {', '.join(models)}."
            )
    if strong is not None and strong == weak:
        raise UnknownModel(f"the pair names {strong!r} twice; give two different models.")
    if strong is None:
        allowed = np.array([model != weak for model in models])
        strong = models[int(np.nanargmax(np.where(allowed, means, -np.inf)))]
    if weak is None:
        others = np.array([model != strong for model in models])
        price = np.full(len(models), np.nan) if costs is None else costs
        cheaper = others & (price < price[models.index(strong)])
        by = np.where(cheaper, price, np.inf) if cheaper.any() else np.where(others, means, np.inf)
        weak = models[int(np.nanargmin(by))]
    return Pair(strong, weak)


class Recovery:
    """The performance gap recovered, on the prompts as they are and on resamples of them.

    Prompts go to the strong model in the order of preference, equal ones together, as in
    `measures.recovery_curve` (Ong et al., *RouteLLM*, 2024, eq. 5).

    Args:
        preference: (n_prompts,), larger for the strong model.
        weak: The weak model's scores, (n_prompts,).
        strong: The strong model's scores, (n_prompts,).
    """

    def __init__(self, preference: Array, weak: Array, strong: Array) -> None:
        self._order = np.argsort(-preference, kind="stable")
        ranked = preference[self._order]
        self._starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
        self._gains = (strong.astype(np.float64) - weak.astype(np.float64))[self._order]

    def measures(self, counts: Array) -> Array:
        """Return APGR, CPT(50) and CPT(80) for each row of counts, (n_rows, 3).

        NaN where the strong model is no better than the weak one.

        Args:
            counts: How often each prompt counts, (n_rows, n_prompts).
        """
        drawn = counts[:, self._order]
        calls = np.cumsum(np.add.reduceat(drawn, self._starts, axis=1), axis=1)
        gains = np.cumsum(np.add.reduceat(drawn * self._gains, self._starts, axis=1), axis=1)
        gap = np.where(gains[:, -1:] > 0, gains[:, -1:], np.nan)
        zero = np.zeros((len(counts), 1))
        x = np.concatenate([zero, calls / np.maximum(calls[:, -1:], 1)], axis=1)
        y = np.concatenate([zero, gains / gap], axis=1)
        area = np.trapezoid(y, x, axis=1)
        return np.column_stack([area, _crossing(x, y, 0.5), _crossing(x, y, 0.8)])


def _crossing(x: Array, y: Array, height: float) -> Array:
    """Return where each row first reaches a height, on straight lines between its points."""
    after = np.maximum((y >= height - 1e-12).argmax(axis=1), 1)
    rows = np.arange(len(x))
    low, high = y[rows, after - 1], y[rows, after]
    with np.errstate(invalid="ignore"):
        part = np.clip((height - low) / (high - low), 0, 1)
    crossing: Array = x[rows, after - 1] + part * (x[rows, after] - x[rows, after - 1])
    return crossing
