"""A vector for the prompt, a vector for the model, and how well they match."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from tryage.data.table import PerformanceTable
from tryage.predictors.demand import sigmoid
from tryage.predictors.fitting import NetworkPredictor, log_odds_of_means, score_loss, strengths

if TYPE_CHECKING:
    import torch

Array = NDArray[np.float32]


@dataclass(eq=False)
class BilinearPredictor(NetworkPredictor):
    """Predicts sigmoid(W x · v_m + c_m): a linear projection of the prompt, a vector per model.

    After EmbedLLM (Zhuang et al., 2024, arXiv 2410.02223), which adds noise to the prompt's
    embedding in training where dropout silences a part of the features here. `hidden` above 0
    makes the prompt's tower a network.

    Attributes:
        rank: Length of the two vectors, at least 1.

    Example:
        >>> from tryage import PerformanceTable
        >>> table = PerformanceTable.from_scores(["a", "b"], ["small", "large"], [[1, 0], [1, 0]])
        >>> BilinearPredictor().fit(table).predict(["c"])[0].argmax()
        np.int64(0)
    """

    name: ClassVar[str] = "bilinear"
    hidden: int = 0
    dropout: float = 0.2
    rank: int = 16

    def _learn(self, features: Array, table: PerformanceTable) -> None:
        score_loss_of = score_loss(table.scores)

        def loss(
            values: torch.Tensor, rows: torch.Tensor, vectors: torch.Tensor, offsets: torch.Tensor
        ) -> torch.Tensor:
            return score_loss_of(values @ vectors + offsets, rows)

        start = strengths(table.scores, self.rank).T
        means = log_odds_of_means(table.scores)
        learned = self._descend(
            features, table.prompts, self.rank, loss, vectors=start, offsets=means
        )
        self.vectors_, self.offsets_ = learned["vectors"], learned["offsets"]

    def _quality(self, features: Array) -> Array:
        return sigmoid(self._outputs(features) @ self.vectors_ + self.offsets_)
