"""A small network from a prompt's features to every model's quality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tryage.data.table import PerformanceTable
from tryage.predictors.demand import sigmoid
from tryage.predictors.fitting import NetworkPredictor, log_odds_of_means, score_loss

Array = NDArray[np.float32]


@dataclass(eq=False)
class MLPPredictor(NetworkPredictor):
    """Predicts all models' quality from one hidden layer, learned by soft cross-entropy.

    The MLP router of Hu et al., *RouterBench* (2024, arXiv 2403.12031), with one network for all
    models instead of one each, so that they share what they need to know of the prompt.

    Example:
        >>> from tryage import PerformanceTable
        >>> table = PerformanceTable.from_scores(["a", "b"], ["small", "large"], [[1, 0], [1, 0]])
        >>> MLPPredictor().fit(table).predict(["c"])[0].argmax()
        np.int64(0)
    """

    name: ClassVar[str] = "mlp"

    def _learn(self, features: Array, table: PerformanceTable) -> None:
        loss, means = score_loss(table.scores), log_odds_of_means(table.scores)
        self._descend(features, table.prompts, len(table.models), loss, out_bias=means)

    def _quality(self, features: Array) -> Array:
        return sigmoid(self._outputs(features))
