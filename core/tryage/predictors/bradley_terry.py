"""Similarity-weighted Bradley–Terry ranking: a league table for every prompt."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from tryage.data.table import PerformanceTable
from tryage.predictors.baselines import mean_scores
from tryage.predictors.default import bundled_encoder
from tryage.predictors.pairwise import Array, PairwisePredictor, sigmoid

_FAINT = 1e-6
_STEPS = 100


@dataclass(eq=False)
class BradleyTerryPredictor(PairwisePredictor):
    """Rates models by the comparisons on training prompts, those on similar prompts counting more.

    The similarity-weighted ranking of Ong et al., *RouteLLM: Learning to Route LLMs with
    Preference Data* (2024, arXiv 2406.18665), for any number of models. For a prompt q, the
    comparisons on training prompt i have the weight

        ω_i = base^(1 + S_i),    S_i = cos(q, q_i) / max_k cos(q, q_k),    base = 10,

    and the ratings ξ are those that minimise the weighted logistic loss of all comparisons,

        ξ = argmin Σ_i ω_i Σ_{a, b} ℓ(y_iab, σ(ξ_a − ξ_b)),

    with y 1 for a win, ½ for a tie, 0 for a loss. Two models have the closed form P(a beats b) =
    Σ ω_i y_iab / Σ ω_i. The original speaks of ratings R = 400 / ln 10 · ξ (Elo's scale), embeds by
    a paid service, and, since its comparisons are few and its models 64, rates ten tiers of models
    in place of models; a table compares its models on every prompt, and each is rated itself.

    Attributes:
        base: How much more a similar prompt counts, at least 1. The original's 10 nearly always
            ranks one model first where there are many of them; 10,000 tells prompts apart.
        neighbours: Only so many most similar prompts count, at least 1; all, as in the original, if
            `None`. A thousand bounds the time per prompt on large tables.
    """

    name: ClassVar[str] = "bradley_terry"
    base: float = 10.0
    neighbours: int | None = None

    def fit(self, table: PerformanceTable) -> Self:
        """Keep the vectors and the scores of the table, and return self.

        Raises:
            UsageError: No prompt has the scores of two models.
        """
        table = self._begin(table)
        self.means_ = mean_scores(table)
        self.vectors_ = bundled_encoder().encode(table.prompts)
        self.scores_ = table.scores
        vars(self).pop("_comparisons", None)
        return self

    def _rate(self, vector: NDArray[np.float32]) -> tuple[Array, float]:
        cosines = self.vectors_ @ vector
        near: NDArray[np.intp] | slice = slice(None)
        if self.neighbours is not None and self.neighbours < len(cosines):
            near = np.argpartition(-cosines, self.neighbours - 1)[: self.neighbours]
        weights = similarity_weights(cosines[near], self.base)
        wins = self._comparisons.weighted(weights, near)
        known = self._comparisons.known[near]
        level = float((weights @ known).mean() / weights.sum(dtype=np.float64))
        return fit_ratings(wins, _FAINT * float(weights.sum(dtype=np.float64))), level

    @functools.cached_property
    def _comparisons(self) -> Comparisons:
        return Comparisons.of(self.scores_, self.means_)


@dataclass(frozen=True, eq=False)
class Comparisons:
    """All comparisons of a table, laid out for weighting.

    Attributes:
        signs: float32 (n_prompts, n_pairs), 1 where the first of a pair wins, -1 where the second
            does, 0 for a tie or no comparison; pairs in the order of `np.triu_indices`.
        measured: float32 (n_prompts, n_models), 1 where there is a score; `None` if everywhere.
        known: float32 (n_prompts, n_models), the scores, a model's mean where it has none.
    """

    signs: NDArray[np.float32]
    measured: NDArray[np.float32] | None
    known: NDArray[np.float32]

    @classmethod
    def of(cls, scores: NDArray[np.float32], means: NDArray[np.float32]) -> Comparisons:
        """Return the comparisons of scores (n_prompts, n_models), NaN where not measured."""
        first, second = np.triu_indices(scores.shape[1], 1)
        signs = np.nan_to_num(np.sign(scores[:, first] - scores[:, second]))
        missing = np.isnan(scores)
        measured = (~missing).astype(np.float32) if missing.any() else None
        return cls(signs, measured, np.where(missing, means, scores))

    def weighted(self, weights: NDArray[np.float32], near: NDArray[np.intp] | slice) -> Array:
        """Return how much each model (row) wins over each other (column), (n_models, n_models).

        Args:
            weights: (n_near,), what a win counts; a tie counts half for each.
            near: Which prompts.
        """
        n = self.known.shape[1]
        lead = np.zeros((n, n))
        lead[np.triu_indices(n, 1)] = weights @ self.signs[near]
        games = weights.sum(dtype=np.float64)
        if self.measured is not None:
            measured = self.measured[near]
            games = (measured * weights[:, None]).T @ measured
        wins: Array = np.maximum(games + lead - lead.T, 0) / 2  # rounding goes below 0
        np.fill_diagonal(wins, 0)
        return wins


def similarity_weights(cosines: NDArray[np.float32], base: float) -> NDArray[np.float32]:
    """Return the weight of each comparison, base^(1 + cosine / greatest cosine), (n_prompts,)."""
    greatest = cosines.max()
    # A prompt unlike all others, or without a known word, is like each of them equally.
    shares = cosines / greatest if greatest > 0 else np.zeros_like(cosines)
    weights: NDArray[np.float32] = np.float32(base) ** (1 + shares)
    return weights


def fit_ratings(wins: Array, faint: float) -> Array:
    """Return the ratings under which these wins are likeliest, of sum 0, (n_models,).

    Newton's method on the likelihood of Bradley and Terry (1952).

    Args:
        wins: (n_models, n_models), how much the row's model won over the column's.
        faint: A tie of this weight between every two models, more than 0, which keeps the rating of
            one that always wins finite, and that of one that was never compared at hand.

    Example:
        >>> ratings = fit_ratings(np.array([[0.0, 3.0], [1.0, 0.0]]), 1e-9)
        >>> round(float(sigmoid(ratings[0] - ratings[1])), 6)
        0.75
    """
    n = len(wins)
    wins = wins + faint * (1 - np.eye(n))
    games = wins + wins.T
    ratings = np.zeros(n)
    for _ in range(_STEPS):
        chances = sigmoid(ratings[:, None] - ratings)
        slopes = games * chances * (1 - chances)
        # A rating's sum is free: the constant fixes it at 0, and makes the curvature invertible.
        curvature = np.diag(slopes.sum(axis=1)) - slopes + slopes.mean()
        step = np.linalg.solve(curvature, (wins - games * chances).sum(axis=1))
        farthest = float(np.abs(step).max())
        ratings += step / max(farthest, 1.0)  # a whole step can overshoot where wins are few
        if farthest < 1e-9:
            break
    return ratings
