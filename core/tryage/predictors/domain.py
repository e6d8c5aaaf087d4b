"""Guess the domain, look up what each model scores there, and correct what that leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tryage.data.split import folds_by_prompt
from tryage.data.table import PerformanceTable
from tryage.errors import UsageError
from tryage.predictors.baselines import mean_scores
from tryage.predictors.features import FeaturePredictor, shrunk_means
from tryage.predictors.guess import guess_unseen, learn_guess, softmax
from tryage.predictors.ridge import learn_lines

Array = NDArray[np.float32]

_FOLDS = 5


@dataclass(eq=False)
class DomainPredictor(FeaturePredictor):
    """Predicts the mean score in the prompt's domain, and a straight line to what that leaves.

    Routing by topic, as in *vLLM Semantic Router* (2025), but with the classifier's doubts: each
    domain counts as much as it is likely, and its means are shrunk towards the models' overall
    means (James and Stein, 1961). What sets models apart within a domain is then learned by ridge
    regression, on guesses that had not seen the prompt. The default predictor learns so, too, in
    log-odds.

    Attributes:
        shrinkage: Prompts' worth of the overall mean in a domain's mean, more than 0.
        seed: The same seed and table give the same predictor.

    Example:
        >>> from tryage import PerformanceTable
        >>> table = PerformanceTable.from_scores(
        ...     ["1 + 1", "2 + 3", "a poem", "a tale"], ["small", "large"],
        ...     [[0, 1], [0, 1], [1, 0], [1, 0]], ["maths", "maths", "prose", "prose"])
        >>> DomainPredictor(shrinkage=1).fit(table).predict(["4 + 4"])[0].argmax()
        np.int64(1)
    """

    name: ClassVar[str] = "domain"
    shrinkage: float = 5.0
    seed: int = 0

    def _learn(self, features: Array, table: PerformanceTable) -> None:
        names = sorted(set(table.domains))
        if names == [""]:
            raise UsageError(
                "the table names no domain; give a domain column, or use the predictor 'clusters'."
            )
        labels, overall = np.array(table.domains), mean_scores(table)
        self.means_ = np.stack(
            [shrunk_means(table.scores[labels == n], overall, self.shrinkage) for n in names]
        )
        domains = np.searchsorted(names, labels)
        self.guess_, self.guess_bias_ = learn_guess(features, domains, len(names), self.seed)
        fold = folds_by_prompt(table.prompts, _FOLDS, self.seed)
        unseen = guess_unseen(features, domains, len(names), fold, self.seed)
        rest = table.scores - unseen @ self.means_
        # How hard the prompt is would drown what sets the models apart, which alone decides.
        rest -= np.nanmean(rest, axis=1, keepdims=True)
        self.slopes_, self.bias_, _ = learn_lines(features, rest)

    def _quality(self, features: Array) -> Array:
        shares = softmax((features @ self.guess_ + self.guess_bias_)[None])[0]
        quality: Array = shares @ self.means_ + features @ self.slopes_ + self.bias_
        return quality
