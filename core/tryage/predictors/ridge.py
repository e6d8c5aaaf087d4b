"""A straight line from a prompt's features to each model's score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tryage.data.table import PerformanceTable
from tryage.predictors.baselines import mean_scores
from tryage.predictors.features import FeaturePredictor

Array = NDArray[np.float32]

PENALTIES = 10.0 ** np.arange(-1, 5.5, 0.5)
"""What is tried; the features' variances sum to about 16."""


@dataclass(eq=False)
class RidgePredictor(FeaturePredictor):
    """Predicts each model's score by ridge regression (Hoerl and Kennard, 1970).

    In closed form; one penalty for all models, chosen by generalised cross-validation (Golub,
    Heath and Wahba, 1979). The linear router that CARROT (Somerstep et al., 2025, arXiv
    2502.03261) and others put beside theirs.

    Example:
        >>> from tryage import PerformanceTable
        >>> table = PerformanceTable.from_scores(["a", "b"], ["small", "large"], [[1, 0], [1, 0]])
        >>> RidgePredictor().fit(table).predict(["c"]).tolist()
        [[1.0, 0.0]]
    """

    name: ClassVar[str] = "ridge"

    def _learn(self, features: Array, table: PerformanceTable) -> None:
        self.slopes_, self.bias_, self.penalty_ = learn_lines(features, table.scores)
        unmeasured = np.isnan(table.scores).all(axis=0)
        self.bias_[unmeasured] = mean_scores(table)[unmeasured]

    def _quality(self, features: Array) -> Array:
        quality: Array = features @ self.slopes_ + self.bias_
        return quality


def learn_lines(features: Array, scores: Array) -> tuple[Array, Array, float]:
    """Return slopes (n_features, n_models), biases (n_models,) and penalty of ridge regressions.

    Args:
        features: (n_prompts, n_features).
        scores: (n_prompts, n_models), NaN where not measured; a model without any gets zeros.
    """
    # Models that were measured on the same prompts share one decomposition.
    seen = ~np.isnan(scores)
    masks, model_of = np.unique(seen.T, axis=0, return_inverse=True)
    blocks = []
    for number, mask in enumerate(masks):
        columns = np.flatnonzero(model_of.reshape(-1) == number)
        if mask.any():
            blocks.append((columns, _Block.of(features[mask], scores[np.ix_(mask, columns)])))
    losses = np.sum([block.losses() for _, block in blocks], axis=0)
    penalty = float(PENALTIES[losses.argmin()])
    slopes = np.zeros((features.shape[1], scores.shape[1]), dtype=np.float32)
    bias = np.zeros(scores.shape[1], dtype=np.float32)
    for columns, block in blocks:
        found = block.slopes(penalty)
        slopes[:, columns] = found
        bias[columns] = block.mean_score - block.mean @ found
    return slopes, bias, penalty


@dataclass(frozen=True, eq=False)
class _Block:
    """The regression of some models on the prompts where they were measured, decomposed."""

    n: int
    mean: NDArray[np.float64]
    mean_score: NDArray[np.float64]
    variances: NDArray[np.float64]  # along each principal axis, times n
    axes: NDArray[np.float64]
    covariances: NDArray[np.float64]  # of axes and scores, times n
    squares: float

    @classmethod
    def of(cls, features: Array, scores: Array) -> _Block:
        x, y = features.astype(np.float64), scores.astype(np.float64)
        mean, mean_score = x.mean(axis=0), y.mean(axis=0)
        x -= mean
        y -= mean_score
        variances, axes = np.linalg.eigh(x.T @ x)
        covariances = axes.T @ (x.T @ y)
        squares = float((y**2).sum())
        return cls(len(x), mean, mean_score, np.maximum(variances, 0), axes, covariances, squares)

    def losses(self) -> NDArray[np.float64]:
        """Return the generalised cross-validation error of each penalty, summed over models."""
        shrunk = self.variances[:, None] + PENALTIES
        fit = (self.covariances**2).sum(axis=1)[:, None] * (shrunk + PENALTIES) / shrunk**2
        residual = np.maximum(self.squares - fit.sum(axis=0), 0)
        freedom = self.n - 1 - (self.variances[:, None] / shrunk).sum(axis=0)
        losses: NDArray[np.float64] = residual / np.maximum(freedom / self.n, 1e-9) ** 2
        return losses

    def slopes(self, penalty: float) -> NDArray[np.float64]:
        """Return the slopes, (n_features, n_models)."""
        slopes: NDArray[np.float64] = self.axes @ (
            self.covariances / (self.variances + penalty)[:, None]
        )
        return slopes
