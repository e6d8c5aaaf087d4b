"""Nearest neighbours: what did each model score on the prompts most like this one?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from tryage.data.table import PerformanceTable
from tryage.predictors.base import Predictor
from tryage.predictors.baselines import mean_scores
from tryage.predictors.default import bundled_encoder


@dataclass(eq=False)
class KNNPredictor(Predictor):
    """Predicts the weighted mean score of the k nearest training prompts.

    The weight of a neighbour is exp(sharpness · (cosine − 1)); the bundled static encoder gives
    the vectors. A well-tuned kNN is the baseline that learned routers must beat (arXiv
    2505.12601).

    Attributes:
        k: Neighbours that count, at least 1.
        sharpness: How fast the weight falls with distance, 0 or more.
    """

    name: ClassVar[str] = "knn"
    k: int = 50
    sharpness: float = 10.0

    def fit(self, table: PerformanceTable) -> Self:
        """Keep the vectors and the scores of the table, and return self."""
        self.models_ = table.models
        self.vectors_ = bundled_encoder().encode(table.prompts)
        self.scores_ = np.where(np.isnan(table.scores), mean_scores(table), table.scores)
        return self

    def predict(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Return the neighbours' mean scores, float32 (n_prompts, n_models)."""
        self._check_fitted()
        if not prompts:
            return np.zeros((0, len(self.models)), dtype=np.float32)
        vectors = bundled_encoder().encode(prompts)
        return np.stack([self._predict_one(vector) for vector in vectors])

    def _predict_one(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        # One row at a time: a product of matrices would round a row differently in a batch.
        cosines = self.vectors_ @ vector
        k = min(self.k, len(cosines))
        nearest = np.argpartition(-cosines, k - 1)[:k]
        weights = np.exp(self.sharpness * (cosines[nearest] - 1))
        mean = weights @ self.scores_[nearest] / weights.sum()
        quality: NDArray[np.float32] = np.clip(mean, 0, 1).astype(np.float32)
        return quality
