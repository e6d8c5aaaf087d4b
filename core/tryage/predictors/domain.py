"""Guess the domain, then look up what each model scores there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tryage.data.table import PerformanceTable
from tryage.errors import UsageError
from tryage.predictors.baselines import mean_scores
from tryage.predictors.features import shrunk_means
from tryage.predictors.fitting import NetworkPredictor

Array = NDArray[np.float32]


@dataclass(eq=False)
class DomainPredictor(NetworkPredictor):
    """Predicts the mean score in the prompt's domain, averaged over a classifier's guesses.

    What routing by topic does, as in *vLLM Semantic Router* (2025), but with the classifier's
    doubts: each domain counts as much as it is likely, and its means are shrunk towards the
    models' overall means (James and Stein, 1961).

    Attributes:
        shrinkage: Prompts' worth of the overall mean in a domain's mean, more than 0.

    Example:
        >>> from tryage import PerformanceTable
        >>> table = PerformanceTable.from_scores(
        ...     ["1 + 1", "2 + 3", "a poem", "a tale"], ["small", "large"],
        ...     [[0, 1], [0, 1], [1, 0], [1, 0]], ["maths", "maths", "prose", "prose"])
        >>> DomainPredictor(shrinkage=1).fit(table).predict(["4 + 4"])[0].argmax()
        np.int64(1)
    """

    name: ClassVar[str] = "domain"
    shrinkage: float = 10.0

    def _learn(self, features: Array, table: PerformanceTable) -> None:
        names = sorted(set(table.domains))
        if names == [""]:
            raise UsageError(
                "the table names no domain; give a domain column, or use the predictor 'clusters'."
            )
        import torch

        numbers = torch.tensor([names.index(domain) for domain in table.domains])
        self._descend(
            features,
            table.prompts,
            len(names),
            lambda guesses, rows: torch.nn.functional.cross_entropy(guesses, numbers[rows]),
        )
        labels, overall = np.array(table.domains), mean_scores(table)
        self.means_ = np.stack(
            [shrunk_means(table.scores[labels == n], overall, self.shrinkage) for n in names]
        )

    def _quality(self, features: Array) -> Array:
        guesses = self._outputs(features)
        shares = np.exp(guesses - guesses.max())
        quality: Array = shares @ self.means_ / shares.sum()
        return quality
