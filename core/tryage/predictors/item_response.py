"""Models as test takers, prompts as questions: abilities, demands and difficulty."""

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
class ItemResponsePredictor(NetworkPredictor):
    """Predicts sigmoid(a(x) · θ_m − b(x)): demands met by abilities, less the difficulty.

    The multidimensional item response model of IRT-Router (Song et al., 2025, arXiv 2506.01048):
    the demands a(x), never negative, and the difficulty b(x) are read off the prompt's features,
    so that a new prompt has them too; the ability θ_m is one vector a model. The first ability
    begins at the model's overall log-odds, the others at its principal strengths.

    Attributes:
        rank: Demands, at least 1.

    Example:
        >>> from tryage import PerformanceTable
        >>> table = PerformanceTable.from_scores(["a", "b"], ["small", "large"], [[1, 0], [1, 0]])
        >>> ItemResponsePredictor().fit(table).predict(["c"])[0].argmax()
        np.int64(0)
    """

    name: ClassVar[str] = "item_response"
    rank: int = 16

    def _learn(self, features: Array, table: PerformanceTable) -> None:
        from torch.nn import functional

        score_loss_of = score_loss(table.scores)

        def loss(values: torch.Tensor, rows: torch.Tensor, ability: torch.Tensor) -> torch.Tensor:
            demands = functional.softplus(values[:, 1:])
            return score_loss_of(demands @ ability - values[:, :1], rows)

        general = log_odds_of_means(table.scores) / np.float32(np.log(2))  # softplus(0) is log(2)
        start = np.concatenate([general[None], strengths(table.scores, self.rank - 1).T])
        learned = self._descend(features, table.prompts, 1 + self.rank, loss, ability=start)
        self.ability_ = learned["ability"]

    def _quality(self, features: Array) -> Array:
        values = self._outputs(features)
        demands = np.logaddexp(values[1:], np.float32(0))
        return sigmoid(demands @ self.ability_ - values[0])
