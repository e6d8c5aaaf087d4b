"""Hybrid-LLM: is the small model good enough here?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tryage.data.table import PerformanceTable
from tryage.errors import UsageError
from tryage.predictors.baselines import mean_scores
from tryage.predictors.features import FeaturePredictor
from tryage.predictors.pairwise import around, position, sigmoid

Array = NDArray[np.float64]
Labels = Literal["det", "prob", "trans"]

SAMPLES = "scores"
"""The column of a table with the scores of repeated answers, a list of numbers per cell."""

_MARGINS = np.linspace(0, 0.98, 50)
_STEPS = 300


@dataclass(eq=False)
class HybridPredictor(FeaturePredictor):
    """Predicts, for each model, the chance that it is as good as the strongest one on a prompt.

    Ding et al., *Hybrid LLM: Cost-Efficient and Quality-Aware Query Routing* (2024, arXiv
    2404.14618), with a logistic classifier on the prompt's features in place of a fine-tuned
    encoder. Of a small model S and a large one L, a prompt's label is one of

        r_det    1[q(S) ≥ q(L)], of one answer each;
        r_prob   Pr[q(S) ≥ q(L)], over all pairs of sampled answers;
        r_trans  Pr[q(S) ≥ q(L) − t*],  t* = argmax_t Σ_{i, k} |y_i(t) − y_k(t)|,

    the last so that labels differ although S is hardly ever as good. Answers are sampled where the
    table has a column `scores` with a list in each cell; otherwise the one score stands for all,
    and r_prob is r_det. With more than two models, each is paired with the strongest, the one of
    the best mean score, by a classifier and a t* of its own.

    The original sends a prompt to S if the classifier passes a threshold; `win_probability` serves
    that use. Quality is the strongest model's mean score, and for another model that plus
    E[score − strongest score], a straight line in the classifier's chance, fitted to the table: the
    threshold at which S pays off by itself is where the line crosses 0.

    Attributes:
        labels: `"det"`, `"prob"` or `"trans"`.
        penalty: Ridge penalty of the classifiers, more than 0.
    """

    name: ClassVar[str] = "hybrid"
    labels: Labels = "trans"
    penalty: float = 1e-2

    def win_probability(self, prompts: Sequence[str], strong: str, weak: str) -> Array:
        """Return the chance that the weak model is not as good, float64 (n_prompts,).

        Args:
            prompts: n_prompts texts.
            strong: The strongest model, `strongest_`.
            weak: Another of `models`.

        Raises:
            UsageError: `strong` is not the strongest model, with which all others were compared.
            UnknownModel: A name is not among `models`.
            NotFitted: Neither `fit` nor `load` came before.
        """
        position(self, strong)
        column = position(self, weak)
        if strong != self.strongest_ or weak == strong:
            raise UsageError(
                f"{strong!r} and {weak!r} were not compared: the strongest model of the table is "
                f"{self.strongest_!r}; ask for it as strong, or fit on table.only([weak, strong])."
            )
        enough = [self._enough(x)[column] for x in self._features(prompts)]
        return 1 - np.array(enough, dtype=np.float64)

    def _learn(self, features: NDArray[np.float32], table: PerformanceTable) -> None:
        means = mean_scores(table).astype(np.float64)
        strong = int(means.argmax())
        answers = table.scores[:, :, None]
        if SAMPLES in table.extras:
            answers = sampled(table.extras[SAMPLES], table.scores)
        if self.labels == "det":
            answers = answers[:, :, :1]
        self.margins_ = np.zeros(len(means))
        if self.labels == "trans":
            self.margins_ = np.array(
                [widest_margin(answers[:, [m]], answers[:, strong]) for m in range(len(means))]
            )
        labels = good_enough(answers, answers[:, strong], self.margins_)
        self.strongest_, self.level_ = table.models[strong], float(means[strong])
        lessons = np.where(np.arange(len(means)) == strong, np.nan, labels)
        self.weights_, self.bias_ = logistic(features, lessons, self.penalty)
        gaps = table.scores - table.scores[:, [strong]]
        lines = [
            _line(labels[:, m], gaps[:, m], means[m] - means[strong]) for m in range(len(means))
        ]
        self.lines_ = np.array(lines).T

    def _enough(self, features: NDArray[np.float32]) -> Array:
        """Return the chance of each model to be as good as the strongest, (n_models,)."""
        return sigmoid(features.astype(np.float64) @ self.weights_ + self.bias_)

    def _quality(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        slopes, starts = self.lines_
        offsets = starts + slopes * self._enough(features)
        return around(self.level_, offsets).astype(np.float32)


def sampled(cells: NDArray[np.object_], scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the scores of repeated answers, float32 (n_prompts, n_models, n_answers).

    Args:
        cells: (n_prompts, n_models), a list of scores where answers were repeated.
        scores: Likewise the scores that stand for a cell that is not a list; NaN fills short ones.
    """
    listed = [
        [float(score)] if not isinstance(cell, list) else cell
        for cell, score in zip(cells.flat, scores.flat, strict=True)
    ]
    filled = np.full((len(listed), max(map(len, listed))), np.nan, dtype=np.float32)
    for row, values in zip(filled, listed, strict=True):
        row[: len(values)] = values
    return filled.reshape(*scores.shape, -1)


def good_enough(answers: NDArray[np.float32], strong: NDArray[np.float32], margins: Array) -> Array:
    """Return Pr[q(S) ≥ q(L) − t] over all pairs of answers, float64 (n_prompts, n_models).

    Args:
        answers: (n_prompts, n_models, n_answers), NaN where there is none.
        strong: Likewise those of the strong model, (n_prompts, n_answers).
        margins: (n_models,), each model's t.

    Returns:
        NaN where a model or the strong one has no answer.

    Example:
        >>> answers = np.float32([[[0.0, 1.0], [1.0, 1.0]]])
        >>> good_enough(answers, answers[:, 1], np.zeros(2))
        array([[0.5, 1. ]])
    """
    counts, hits = np.zeros(answers.shape[:2]), np.zeros(answers.shape[:2])
    # The small slack keeps a difference of exactly t in, whatever float32 made of it.
    least = margins[:, None] + 1e-6
    for other in strong.T:
        gaps = other[:, None, None] - answers
        counts += (~np.isnan(gaps)).sum(axis=2)
        hits += (gaps <= least).sum(axis=2)
    return np.where(counts > 0, hits / np.maximum(counts, 1), np.nan)


def widest_margin(answers: NDArray[np.float32], strong: NDArray[np.float32]) -> float:
    """Return t*, the margin under which a model's labels differ most among each other.

    The least of them, on a grid of fiftieths; 0 if no margin makes the labels differ.

    Args:
        answers: (n_prompts, 1, n_answers), the small model's.
        strong: (n_prompts, n_answers).
    """
    spreads = []
    for margin in _MARGINS:
        labels = good_enough(answers, strong, np.array([margin]))[:, 0]
        labels = np.sort(labels[~np.isnan(labels)])
        n = len(labels)
        # Σ_{i, k} |y_i − y_k|, from the labels in order.
        spreads.append(float((2 * np.arange(n) - n + 1) @ labels))
    return float(_MARGINS[int(np.argmax(np.array(spreads) > max(spreads) - 1e-9))])


def logistic(features: NDArray[np.float32], labels: Array, penalty: float) -> tuple[Array, Array]:
    """Return weights (n_features, n_models) and biases (n_models,) of logistic classifiers.

    All are found at once by the fixed-curvature steps of Böhning and Lindsay (1988), which cannot
    overshoot.

    Args:
        features: (n_prompts, n_features).
        labels: (n_prompts, n_models), chances, NaN where there is none: it teaches nothing.
        penalty: On half the squared weights, per prompt; not on the biases.
    """
    x = np.column_stack([features, np.ones(len(features))]).astype(np.float64)
    known = ~np.isnan(labels)
    targets = np.where(known, labels, 0)
    ridge = np.full(x.shape[1], penalty * len(x))
    ridge[-1] = 1e-3 * penalty
    curvature = np.linalg.inv(0.25 * x.T @ x + np.diag(ridge))
    p = np.zeros((x.shape[1], labels.shape[1]))
    for _ in range(_STEPS):
        error = np.where(known, targets - sigmoid(x @ p), 0)
        step = curvature @ (x.T @ error - ridge[:, None] * p)
        p += step
        if np.abs(step).max() < 1e-3:
            break
    return p[:-1], p[-1]


def _line(labels: Array, gaps: NDArray[np.float32], otherwise: float) -> tuple[float, float]:
    """Return slope and start of the straight line from labels to differences of scores."""
    both = ~np.isnan(labels) & ~np.isnan(gaps)
    if not both.any():
        return 0.0, otherwise
    x, y = labels[both], gaps[both].astype(np.float64)
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float((x - x.mean()) @ y) / spread if spread > 0 else 0.0
    return max(slope, 0.0), float(y.mean()) - max(slope, 0.0) * float(x.mean())
