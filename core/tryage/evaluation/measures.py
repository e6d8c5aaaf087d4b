"""Measures of routing on tables of known scores, with their uncertainty.

Scores are (n_prompts, n_models) in [0, 1] with NaN where a model was not measured; a model that was
not measured on a prompt is not on offer there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Scores = NDArray[np.float32] | Array


def chosen(quality: Scores, scores: Scores) -> NDArray[np.intp]:
    """Return the model chosen for each prompt, (n_prompts,): the first of the best predicted.

    Args:
        quality: Predictions, (n_prompts, n_models).
        scores: What was measured.
    """
    best: NDArray[np.intp] = np.where(np.isnan(scores), -np.inf, quality).argmax(axis=1)
    return best


def routed_scores(quality: Scores, scores: Scores) -> Array:
    """Return the score of each prompt's chosen model, float64 (n_prompts,)."""
    taken = np.take_along_axis(np.asarray(scores), chosen(quality, scores)[:, None], axis=1)
    return taken[:, 0].astype(np.float64)


def regrets(quality: Scores, scores: Scores) -> Array:
    """Return by how much the best model of each prompt beats the chosen one, (n_prompts,)."""
    best: Array = np.nanmax(scores, axis=1) - routed_scores(quality, scores)
    return best


def hits(quality: Scores, scores: Scores) -> Array:
    """Return 1 where the chosen model is a best one of its prompt, else 0, (n_prompts,).

    Its mean is the selection accuracy.
    """
    return (regrets(quality, scores) <= 1e-9).astype(np.float64)


def recovery_curve(preference: Array, weak: Array, strong: Array) -> tuple[Array, Array]:
    """Return the performance gap recovered at each share of calls to the strong model.

    Prompts go to the strong model in the order of preference; prompts of equal preference go
    together, as if drawn at random among them. After Ong et al., *RouteLLM* (2024), eq. 5.

    Args:
        preference: (n_prompts,), larger for the strong model.
        weak: The weak model's scores, (n_prompts,).
        strong: The strong model's scores, (n_prompts,).

    Returns:
        Shares in [0, 1] and recoveries, (n_prompts + 1,): 0 at no call, 1 at all.

    Example:
        >>> recovery_curve(np.array([0.9, 0.1]), np.array([0.0, 1.0]), np.array([1.0, 1.0]))[1]
        array([0., 1., 1.])
    """
    order = np.argsort(-preference, kind="stable")
    gains = np.asarray(strong, np.float64) - np.asarray(weak, np.float64)
    _, group, counts = np.unique(-preference, return_inverse=True, return_counts=True)
    gains = (np.bincount(group, gains) / counts)[group]
    total = np.concatenate([[0.0], np.cumsum(gains[order])])
    return np.linspace(0, 1, len(total)), total / total[-1]


def apgr(preference: Array, weak: Array, strong: Array) -> float:
    """Return the average performance gap recovered: .5 at random; more than 1 is possible."""
    shares, recovered = recovery_curve(preference, weak, strong)
    return float(np.trapezoid(recovered, shares))


def cpt(preference: Array, weak: Array, strong: Array, recovery: float) -> float:
    """Return the least share of calls to the strong model that recovers so much of the gap."""
    shares, recovered = recovery_curve(preference, weak, strong)
    return float(shares[np.argmax(recovered >= recovery - 1e-12)])


def bootstrap_interval(
    values: Array,
    statistic: Callable[[Array], float] | None = None,
    repeats: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a statistic over prompts (Efron, 1979).

    Args:
        values: (n_prompts,) or (n_prompts, k), resampled by row.
        statistic: From resampled values to a number; the mean if absent.
        repeats: Resamples.
        level: Share of resamples inside the interval.
        seed: The same seed gives the same interval.
    """
    n = len(values)
    if statistic is None:
        # A resample's mean needs only how often each prompt was drawn.
        drawn = resamples(n, repeats, seed)
        outcomes = np.concatenate([counts @ np.asarray(values, np.float64) / n for counts in drawn])
    else:
        rng = np.random.default_rng(seed)
        outcomes = np.array([statistic(values[rng.integers(0, n, n)]) for _ in range(repeats)])
    low, high = np.quantile(outcomes, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resamples(n: int, repeats: int, seed: int = 0) -> Iterator[Array]:
    """Yield how often each of n prompts is drawn in bootstrap resamples, (some, n) at a time.

    Together they are `repeats` rows, the same for the same seed; in parts, so that a large table
    needs no matrix of `repeats` times its length.
    """
    rng = np.random.default_rng(seed)
    some = max(1, min(repeats, 4_000_000 // max(n, 1)))
    for start in range(0, repeats, some):
        rows = range(min(some, repeats - start))
        drawn = [np.bincount(rng.integers(0, n, n), minlength=n) for _ in rows]
        yield np.array(drawn, dtype=np.float64)


def calibration_gaps(quality: Scores, scores: Scores, bins: int = 10) -> Array:
    """Return what the expected calibration error is made of, (n_prompts,).

    Every measured cell falls into a bin by its predicted quality. A bin's error is by how much its
    mean prediction misses its mean score; the expected calibration error is their mean, weighted by
    cells (Naeini, Cooper and Hauskrecht, 2015). It is the mean of what is returned here: each
    prompt's misses, signed as their bin's.

    Args:
        quality: Predictions, (n_prompts, n_models), -inf where a model is not known.
        scores: What was measured.
        bins: Equally wide bins over [0, 1].
    """
    measured = ~np.isnan(scores) & np.isfinite(quality)
    misses = np.where(measured, np.where(measured, quality, 0) - np.nan_to_num(scores), 0)
    bin_of = np.clip((np.where(measured, quality, 0) * bins).astype(np.intp), 0, bins - 1)
    signs = np.sign(np.bincount(bin_of.ravel(), misses.ravel(), minlength=bins))
    gaps: Array = (signs[bin_of] * misses).sum(axis=1) * len(scores) / max(measured.sum(), 1)
    return gaps
