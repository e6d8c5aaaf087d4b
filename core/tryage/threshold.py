"""Two models and a threshold: the strong one where it wins often enough.

The rule of Ong et al., *RouteLLM: Learning to Route LLMs with Preference Data* (2024, arXiv
2406.18665): a prompt goes to the strong model if and only if P(strong beats weak) ≥ α, and α is
calibrated so that a wanted share of prompts does.

In the terms of `choose`, α is a weight on cost. With two models, C_cost is 1 for the dear one and 0
for the cheap one, so that λ buys the strong model where q_strong − q_weak ≥ λ. A quality
difference is 2P − 1 wins, each worth the predictor's `stake_` (1 for right-or-wrong scores), hence

    λ = stake · (2α − 1).

A weight is 0 or more, which means α ≥ ½: `choose` does not pay more for a model that it predicts
to be worse. A threshold does, if its share of calls says so; that is what `ThresholdPredictor` is
for, and for pairs that differ in something other than price.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tryage.data.table import PerformanceTable
from tryage.errors import UsageError
from tryage.predictors.base import Predictor
from tryage.predictors.pairwise import position

Array = NDArray[np.float64]


@runtime_checkable
class ComparesModels(Protocol):
    """What predicts of two models which is better, such as `bradley_terry`."""

    def win_probability(self, prompts: Sequence[str], strong: str, weak: str) -> Array:
        """Return P(strong beats weak), float64 (n_prompts,)."""


def win_rates(predictor: Predictor, prompts: Sequence[str], strong: str, weak: str) -> Array:
    """Return P(strong beats weak), a tie counting half, float64 (n_prompts,) in [0, 1].

    A predictor with a `win_probability` of its own is asked for it; any other's is
    (1 + q_strong − q_weak) / 2, which is the same for right-or-wrong scores.

    Args:
        predictor: Knows both models.
        prompts: n_prompts texts.
        strong: Its name for the strong model.
        weak: Its name for the weak one.

    Raises:
        UnknownModel: The predictor has no such model.
        NotFitted: The predictor has not learned yet.
    """
    if isinstance(predictor, ComparesModels):
        return predictor.win_probability(prompts, strong, weak)
    columns = [position(predictor, strong), position(predictor, weak)]
    quality = predictor.predict(prompts)[:, columns].astype(np.float64)
    return (1 + quality[:, 0] - quality[:, 1]) / 2


def calibrate_threshold(
    predictor: Predictor, prompts: Sequence[str], strong: str, weak: str, strong_share: float
) -> float:
    """Return the threshold at which the wanted share of the prompts goes to the strong model.

    It is the quantile of the win rates at 1 − share, as in RouteLLM. Prompts with equal rates go
    together, so that a predictor which tells few prompts apart can miss the share.

    Args:
        predictor: Knows both models.
        prompts: Prompts like those to come; a few hundred at least.
        strong: Its name for the strong model.
        weak: Its name for the weak one.
        strong_share: The wanted share of calls to the strong model, in [0, 1].

    Raises:
        UsageError: The share is outside [0, 1], or there is no prompt.
        UnknownModel: The predictor has no such model.
        NotFitted: The predictor has not learned yet.

    Example:
        >>> from tryage import Library
        >>> from tryage.testing import FunctionPredictor
        >>> def long_is_hard(prompt, model):
        ...     return 1 - len(prompt) / 10 if model == "small" else 1
        >>> predictor = FunctionPredictor(long_is_hard).for_library(Library.of(["small", "large"]))
        >>> prompts = ["a", "aa", "aaa", "aaaa"]
        >>> round(calibrate_threshold(predictor, prompts, "large", "small", 0.25), 4)
        0.6625
    """
    if not 0 <= strong_share <= 1 or not len(prompts):
        raise UsageError(
            f"cannot calibrate to a share of {strong_share} on {len(prompts)} prompts; "
            "give a share in [0, 1] and prompts like those to come."
        )
    rates = win_rates(predictor, prompts, strong, weak)
    return float(np.quantile(rates, 1 - strong_share))


def cost_weight(threshold: float, stake: float = 1.0) -> float:
    """Return the weight on cost that decides between two models as the threshold does.

    Args:
        threshold: α in [0.5, 1]; under one half, no weight does.
        stake: What a win is worth in score, the predictor's `stake_` where it has one.

    Raises:
        UsageError: The threshold is outside [0.5, 1].

    Example:
        >>> cost_weight(0.6)
        0.2
    """
    if not 0.5 <= threshold <= 1:
        raise UsageError(
            f"no weight on cost decides as the threshold {threshold}: it pays for a model that is "
            "predicted to be worse. Give one in [0.5, 1], or use a ThresholdPredictor."
        )
    return round(stake * (2 * threshold - 1), 12)


@dataclass(eq=False)
class ThresholdPredictor(Predictor):
    """Two columns under which a router without flags sends prompts as a threshold does.

    The quality of the strong model is (1 + P − α) / 2, that of the weak model (1 − P + α) / 2: the
    better one is the strong one if and only if P(strong beats weak) ≥ α. It says which to call, not
    how good the answers will be; flags shift it as they would any other predictor.

    Attributes:
        source: A predictor that knows both models.
        strong: Its name for the strong model.
        weak: Its name for the weak one.
        threshold: α, as `calibrate_threshold` returns it.

    Example:
        >>> from tryage import Library, Router
        >>> from tryage.testing import FunctionPredictor
        >>> library = Library.of(["gpt-4o", "gpt-4o-mini"])
        >>> source = FunctionPredictor(lambda prompt, model: 1 / len(model)).for_library(library)
        >>> predictor = ThresholdPredictor(source, "gpt-4o", "gpt-4o-mini", threshold=0.6)
        >>> Router(library, predictor).route("Hello").model
        'gpt-4o-mini'
    """

    name: ClassVar[str] = "threshold"
    source: Predictor
    strong: str
    weak: str
    threshold: float

    def __post_init__(self) -> None:
        self.models_ = (self.strong, self.weak)

    def fit(self, table: PerformanceTable) -> Self:
        """Fit the source on the table and return self; the threshold stays."""
        self.source.fit(table)
        return self

    def predict(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Return the preference as quality, float32 (n_prompts, 2): strong, then weak."""
        lead = (win_rates(self.source, prompts, self.strong, self.weak) - self.threshold) / 2
        # At the threshold itself the strong model is called, wherever it stands in the library.
        lead = np.where(lead >= 0, np.maximum(lead, 1e-6), np.minimum(lead, -1e-6))
        quality = np.column_stack([0.5 + lead, 0.5 - lead]).astype(np.float32)
        return np.clip(quality, 0, 1)

    def save(self, directory: str | Path) -> Path:
        """Refuse: the source is what was learned, and the threshold is a number.

        Raises:
            UsageError: Always; says what to save.
        """
        raise UsageError(
            f"a threshold is not saved: save its source, and keep threshold={self.threshold!r}; "
            "ThresholdPredictor(tryage.predictors.load(directory), strong, weak, threshold) is it."
        )
