"""What calls cost, and how quality follows from what one is ready to pay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tryage.cards import ModelCard
from tryage.data.table import PerformanceTable
from tryage.evaluation.measures import chosen
from tryage.library import Library
from tryage.request import EXPECTED_OUTPUT_TOKENS, count_tokens

Array = NDArray[np.float64]

# What an answer is worth, in calls of the dearest model: from so much that cost does not count to
# so little that only the cheapest model is chosen.
_WORTHS: Array = np.concatenate([[np.inf], np.geomspace(1e3, 1e-3, 61), [1e-9]])


@dataclass(frozen=True)
class Costs:
    """USD of each call, (n_prompts, n_models); NaN for a model of which no cost is known.

    Attributes:
        expected: As known before the call.
        actual: As measured, where it was; as expected otherwise.
    """

    expected: Array
    actual: Array


def cards_of(models: Sequence[str], library: Library | None) -> Library:
    """Return the models' cards: the given library's, the bundled ones, or bare ones."""
    if library is None:
        return Library.of(models)
    known = [replace(library.find(m), name=m, aliases=()) for m in models if m in library]
    return Library.of(models, known)


def call_costs(table: PerformanceTable, learned: PerformanceTable, cards: Library) -> Costs:
    """Return what the calls of a table cost.

    A model's expected cost is its mean `cost_usd` in the training part; without that column, the
    card's prices times the prompt's tokens and its mean `output_tokens` there, or the length that
    its card lets expect.

    Args:
        table: The calls.
        learned: The training part.
        cards: One card per model of the table, in its order.
    """
    nothing = np.full(table.scores.shape, np.nan)
    measured = table.measures.get("cost_usd", nothing)
    tokens_in = np.array([float(count_tokens(prompt)) for prompt in table.prompts])
    expected, actual = nothing.copy(), nothing.copy()
    for column, card in enumerate(cards):
        usual = _mean(learned, "cost_usd", card.name)
        length = _mean(learned, "output_tokens", card.name)
        if np.isnan(length):
            length = EXPECTED_OUTPUT_TOKENS * (card.verbosity or 1.0)
        if np.isnan(usual):
            given = _column(table, "input_tokens", column, tokens_in)
            produced = _column(table, "output_tokens", column, np.full(len(table), length))
            expected[:, column] = _priced(card, tokens_in, length)
            actual[:, column] = _priced(card, given, produced)
        else:
            expected[:, column] = actual[:, column] = usual
    return Costs(expected, np.where(np.isnan(measured), actual, measured))


def worths_of(costs: Costs, scores: NDArray[np.float32]) -> Array:
    """Return values of the flag `worth_usd` that lead from the best models to the cheapest.

    They are multiples of what a call of the dearest model costs on average, so that the same steps
    are taken whatever the prices.
    """
    dearest = float(np.nanmax(column_means(_offered(costs, scores))))
    return _WORTHS * (dearest or 1.0)  # all may be free


def sweep(
    quality: Array, costs: Costs, scores: NDArray[np.float32], worths: Array
) -> tuple[Array, Array]:
    """Return the score and the cost of each prompt's chosen model, (n_prompts, n_worths) each.

    Chosen is the model of the greatest `quality - expected cost / worth`, as in `choose`.

    Args:
        quality: Predictions, (n_prompts, n_models).
        costs: Of the same calls.
        scores: What was measured.
        worths: Of the flag `worth_usd`; infinite where cost does not count.
    """
    usd = _offered(costs, scores)
    dearest = np.nan_to_num(np.fmax.reduce(usd, axis=1, keepdims=True))
    usd = np.where(np.isnan(usd), dearest, usd)
    rows = np.arange(len(scores))
    picks = [chosen(quality - usd / worth, scores) for worth in worths.tolist()]
    routed = np.column_stack([scores[rows, pick] for pick in picks]).astype(np.float64)
    return routed, np.column_stack([costs.actual[rows, pick] for pick in picks])


def _offered(costs: Costs, scores: NDArray[np.float32]) -> Array:
    """Return the expected costs, NaN also for models that are not on offer."""
    return np.where(np.isnan(scores), np.nan, costs.expected)


def aiq(costs: Array, quality: Array, low: float, high: float) -> float:
    """Return the average improvement in quality: the mean height of the cost-quality curve.

    The curve is the non-decreasing convex hull of the points, since one can always mix two of them
    or spend less; its area over a range of costs is divided by the range. After Hu et al.,
    *RouterBench* (2024).

    Args:
        costs: Mean USD a call of each point, (n_points,).
        quality: Mean score of each, (n_points,).
        low: Where the range begins: what the cheapest model costs.
        high: Where it ends: what the dearest costs; more than `low`.

    Example:
        >>> aiq(np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.2, 1.0]), 1.0, 3.0)
        0.5
    """
    x, y = hull(costs, quality)
    inside = (x > low) & (x < high)
    at = np.concatenate([[low], x[inside], [high]])
    return float(np.trapezoid(np.interp(at, x, y), at) / (high - low))


def hull(costs: Array, quality: Array) -> tuple[Array, Array]:
    """Return the corners of the non-decreasing convex hull of points, from the cheapest on."""
    corners: list[tuple[float, float]] = []
    for x, y in sorted(zip(costs.tolist(), quality.tolist(), strict=True)):
        if corners and y <= corners[-1][1]:
            continue  # dearer, and no better
        while corners and _is_under(corners[-1], corners[-2:-1], (x, y)):
            corners.pop()
        corners.append((x, y))
    xs, ys = zip(*corners, strict=True)
    return np.array(xs), np.array(ys)


Point = tuple[float, float]


def _is_under(corner: Point, before: list[Point], new: Point) -> bool:
    """Return whether a new point, further up, puts the last corner under the hull."""
    if new[0] <= corner[0]:
        return True
    return any(
        (corner[1] - y) * (new[0] - corner[0]) <= (new[1] - corner[1]) * (corner[0] - x)
        for x, y in before
    )


def column_means(values: Array) -> Array:
    """Return the mean of what is known in each column, NaN where nothing is."""
    counts = (~np.isnan(values)).sum(axis=0)
    sums = np.nansum(values, axis=0)
    means: Array = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return means


def _mean(table: PerformanceTable, measure: str, model: str) -> float:
    if measure not in table.measures or model not in table.models:
        return float("nan")
    column = table.models.index(model)
    return float(column_means(table.measures[measure][:, [column]])[0])


def _column(table: PerformanceTable, measure: str, column: int, otherwise: Array) -> Array:
    if measure not in table.measures:
        return otherwise
    values = table.measures[measure][:, column]
    return np.where(np.isnan(values), otherwise, values)


def _priced(card: ModelCard, tokens_in: Array, tokens_out: Array | float) -> Array | float:
    if card.input_usd_per_mtok is None or card.output_usd_per_mtok is None:
        return float("nan")
    return (tokens_in * card.input_usd_per_mtok + tokens_out * card.output_usd_per_mtok) / 1e6
