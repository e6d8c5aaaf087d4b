"""What predictors share that learn from comparisons: which of two models does better on a prompt.

A comparison is a win for the model with the higher score; equal scores are a tie, half a win for
each. A prompt gives every model a rating, in log-odds, and P(a beats b) = σ(rating_a − rating_b).

Ratings say how models differ, the contract asks for quality, and the bridge is the fact that for
right-or-wrong scores

    E[score_a − score_b] = 2 · P(a beats b) − 1,    a tie counting half.

Graded scores differ by less than 1, so that a win is worth a `stake`: the mean difference of
unequal scores in the training table (1 for right-or-wrong ones). Averaged over the models b of the
pool, a itself among them, this is by how much a's quality is above the pool's mean on that prompt.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tryage.data.table import PerformanceTable
from tryage.errors import UnknownModel, UsageError, nearest
from tryage.predictors.base import Predictor
from tryage.predictors.default import bundled_encoder

Array = NDArray[np.float64]


@dataclass(eq=False)
class PairwisePredictor(Predictor):
    """A predictor that rates models against each other, prompt by prompt.

    Attributes:
        stake_: What a win is worth in score, in (0, 1]; set by `fit`.
    """

    @abstractmethod
    def _rate(self, vector: NDArray[np.float32]) -> tuple[Array, float]:
        """Return the ratings (n_models,) for a prompt's vector, and the pool's mean score there."""

    def ratings(self, prompts: Sequence[str]) -> Array:
        """Return each model's rating in log-odds, float64 (n_prompts, n_models).

        Raises:
            NotFitted: Neither `fit` nor `load` came before.
        """
        rows = [self._rate(vector)[0] for vector in self._encode(prompts)]
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(self.models))

    def win_probability(self, prompts: Sequence[str], strong: str, weak: str) -> Array:
        """Return P(strong beats weak), a tie counting half, float64 (n_prompts,).

        Args:
            prompts: n_prompts texts.
            strong: One of `models`.
            weak: Another.

        Raises:
            UnknownModel: A name is not among `models`.
            NotFitted: Neither `fit` nor `load` came before.
        """
        a, b = position(self, strong), position(self, weak)
        ratings = self.ratings(prompts)
        return sigmoid(ratings[:, a] - ratings[:, b])

    def predict(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Return the predicted quality, float32 (n_prompts, n_models) in [0, 1].

        Raises:
            NotFitted: Neither `fit` nor `load` came before.
        """
        quality = np.empty((len(prompts), len(self.models)), dtype=np.float32)
        for row, vector in zip(quality, self._encode(prompts), strict=True):
            ratings, level = self._rate(vector)
            wins = sigmoid(ratings[:, None] - ratings).mean(axis=1)
            row[:] = around(level, self.stake_ * (2 * wins - 1))
        return quality

    def _encode(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        self._check_fitted()
        return bundled_encoder().encode(prompts)

    def _begin(self, table: PerformanceTable) -> PerformanceTable:
        """Learn what all pairwise predictors learn, and return the rows that compare models."""
        self.stake_: float = stake(table)
        self.models_ = table.models
        return table.rows(np.flatnonzero((~np.isnan(table.scores)).sum(axis=1) > 1))


def stake(table: PerformanceTable) -> float:
    """Return the mean difference of unequal scores, in (0, 1]; 1 if all are equal.

    Raises:
        UsageError: No prompt has the scores of two models.

    Example:
        >>> stake(PerformanceTable.from_scores(["a", "b"], ["m", "n"], [[0.5, 1], [1, 1]]))
        0.5
    """
    compared, unequal, total = 0, 0, 0.0
    for column in range(1, len(table.models)):
        gaps = np.abs(table.scores[:, :column] - table.scores[:, column:][:, :1])
        compared += int(np.count_nonzero(~np.isnan(gaps)))
        unequal += int(np.count_nonzero(gaps > 0))
        total += float(np.nansum(gaps, dtype=np.float64))
    if not compared:
        raise UsageError(
            f"nothing to compare: of {len(table)} prompts and {len(table.models)} models, no "
            "prompt has the scores of two; give a table in which models meet on prompts."
        )
    return total / unequal if unequal else 1.0


def around(level: float, offsets: Array) -> Array:
    """Return quality in [0, 1] that differs between models as the offsets do.

    A row that would leave [0, 1] is moved back whole: the differences are what decides. Only if
    they span more than 1 are they shrunk.

    Args:
        level: Where offset 0 would lie.
        offsets: (n_models,)

    Example:
        >>> around(0.9, np.array([0.25, -0.25]))
        array([1. , 0.5])
    """
    offsets = offsets / max(float(offsets.max() - offsets.min()), 1.0)
    level = min(max(level, -float(offsets.min())), 1 - float(offsets.max()))
    return np.clip(level + offsets, 0, 1)


def sigmoid(log_odds: Array) -> Array:
    """Return 1 / (1 + exp(-x)), which cannot overflow in this form."""
    chances: Array = 0.5 * (1 + np.tanh(0.5 * log_odds))
    return chances


def position(predictor: Predictor, model: str) -> int:
    """Return the column of a model.

    Raises:
        UnknownModel: It is not among the predictor's models.
    """
    if model not in predictor.models:
        raise UnknownModel(
            f"{type(predictor).__name__} has no model {model!r}."
            f"{nearest(model, predictor.models)} It has: {', '.join(predictor.models[:12])}."
        )
    return predictor.models.index(model)
