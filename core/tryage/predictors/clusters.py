"""What did each model score on prompts of this kind, where the kinds are found by clustering?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tryage.data.table import PerformanceTable
from tryage.errors import UsageError
from tryage.predictors.baselines import mean_scores
from tryage.predictors.features import FeaturePredictor, shrunk_means

Array = NDArray[np.float32]

_LEAST_SIZE = 10


@dataclass(eq=False)
class ClustersPredictor(FeaturePredictor):
    """Predicts each model's mean score in the clusters that a prompt lies near.

    As Avengers-Pro (Zhang et al., 2025, arXiv 2508.12631) and UniRoute (Jitkrittum et al., 2025,
    arXiv 2502.08773): a model is its profile of mean scores over clusters of prompts, so that a
    new one needs no training, only scores on some prompts; see `place`. Means are shrunk towards
    the model's overall mean. The nearest clusters share a prompt by
    softmax(sharpness · closeness).

    Attributes:
        clusters: Most clusters; each has 10 prompts on average or more.
        shrinkage: Prompts' worth of the overall mean in a cluster's mean, more than 0.
        sharpness: How fast a cluster's share falls with its squared distance, 0 or more.
        seed: The same seed and table give the same clusters.

    Example:
        >>> from tryage import PerformanceTable
        >>> table = PerformanceTable.from_scores(["a", "b"], ["small", "large"], [[1, 0], [1, 0]])
        >>> ClustersPredictor().fit(table).predict(["c"]).tolist()
        [[1.0, 0.0]]
    """

    name: ClassVar[str] = "clusters"
    clusters: int = 60
    shrinkage: float = 10.0
    sharpness: float = 1.0
    seed: int = 0

    def _learn(self, features: Array, table: PerformanceTable) -> None:
        n = max(1, min(self.clusters, len(features) // _LEAST_SIZE))
        self.centres_ = k_means(features, n, self.seed)
        self.profiles_ = self._profiles(features, table.scores, mean_scores(table))

    def _profiles(self, features: Array, scores: Array, overall: Array) -> Array:
        """Return the shrunk mean scores, (n_clusters, n_models)."""
        cluster = np.array([nearest_centre(self.centres_, x) for x in features])
        rows = [
            shrunk_means(scores[cluster == number], overall, self.shrinkage)
            for number in range(len(self.centres_))
        ]
        return np.stack(rows)

    def _quality(self, features: Array) -> Array:
        closeness = -self.sharpness * _distances(self.centres_, features)
        shares = np.exp(closeness - closeness.max())
        quality: Array = shares @ self.profiles_ / shares.sum()
        return quality

    def place(self, model: str, table: PerformanceTable) -> ClustersPredictor:
        """Return a predictor with one more column, from a new model's scores on some prompts.

        Args:
            model: A column of the table, not yet among `models`.
            table: Holds its scores; other columns do not matter.

        Raises:
            UnknownModel: The table has no such column.
            UsageError: The model is known already, or the table holds no score of it.
        """
        if model in self.models:
            raise UsageError(f"{model!r} is known already; fit again to change what is known.")
        table = table.only([model])
        table = table.rows(np.flatnonzero(~np.isnan(table.scores[:, 0])))
        if not len(table):
            raise UsageError(f"the table holds no score of {model!r}; give some prompts' scores.")
        features = self._features(table.prompts)
        profile = self._profiles(features, table.scores, mean_scores(table))
        grown = replace(self)
        vars(grown).update(vars(self))
        grown.models_ = (*self.models, model)
        grown.profiles_ = np.concatenate([self.profiles_, profile], axis=1)
        return grown


def k_means(points: Array, n: int, seed: int, rounds: int = 30) -> Array:
    """Return n cluster centres, (n, n_features), by Lloyd's algorithm (1957).

    Each centre begins at a point far from those before it, as in k-means++ (Arthur and
    Vassilvitskii, 2007); a centre that loses all its points stays where it is.
    """
    rng = np.random.default_rng(seed)
    centres = points[rng.integers(len(points), size=1)]
    nearest = _distances(points, centres[0]).astype(np.float64)
    while len(centres) < n and nearest.sum() > 0:
        new = points[rng.choice(len(points), p=nearest / nearest.sum())]
        centres = np.concatenate([centres, new[None]])
        nearest = np.minimum(nearest, _distances(points, new))
    for _ in range(rounds):
        # The points' own squares are the same for every centre.
        label = ((centres**2).sum(axis=1) - 2 * points @ centres.T).argmin(axis=1)
        moved = centres.copy()
        for number in np.unique(label):
            moved[number] = points[label == number].mean(axis=0)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def nearest_centre(centres: Array, point: Array) -> int:
    """Return the number of the centre nearest to a point (n_features,)."""
    return int(_distances(centres, point).argmin())


def _distances(points: Array, point: Array) -> Array:
    """Return the squared distances of points (n, n_features) to one, (n,)."""
    distances: Array = ((points - point) ** 2).sum(axis=1)
    return distances
