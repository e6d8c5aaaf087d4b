"""What a transformer's outputs stand for: how they are taught by scores, and read as quality."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from tryage.data.table import PerformanceTable
from tryage.errors import UsageError
from tryage.predictors.baselines import mean_scores
from tryage.predictors.features import shrunk_means
from tryage.predictors.pairwise import around, stake

if TYPE_CHECKING:
    import torch

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_TEMPERATURE = 0.1
"""Of `Listwise`: models that far apart in score differ e-fold in their share."""

_PRIOR = 5.0
"""Prompts' worth of the overall mean in the mean of a grade."""

_GOOD = 3
"""From this grade on, counted from 0, the weak model's answer will do: [[4]] in RouteLLM."""


@dataclass(frozen=True)
class Reading(ABC):
    """One way to read outputs. Its fields are what it learned from the table, as JSON holds it."""

    @classmethod
    @abstractmethod
    def of(cls, table: PerformanceTable) -> Self:
        """Return the reading for a table.

        Raises:
            UsageError: The table has another number of models than this reading is for.
        """

    @abstractmethod
    def start(self) -> Array:
        """Return the outputs before anything is learned, (n_outputs,): they say how things are."""

    @abstractmethod
    def teaches(self, scores: NDArray[np.float32]) -> Mask:
        """Return which rows of scores (n_prompts, n_models) there is something to learn from."""

    @abstractmethod
    def loss(self, outputs: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of outputs (n, n_outputs) given scores (n, n_models) with NaN."""

    @abstractmethod
    def quality(self, outputs: Array) -> Array:
        """Return the quality of each model in [0, 1], (n_models,), from one prompt's outputs."""

    def win(self, outputs: Array, strong: int, weak: int) -> float:
        """Return P(strong beats weak) on one prompt, a tie counting half."""
        quality = self.quality(outputs)
        return float(1 + quality[strong] - quality[weak]) / 2


@dataclass(frozen=True)
class PerModel(Reading):
    """One output per model, the log-odds of its score: cross-entropy, graded scores as they are.

    Attributes:
        means: Mean score of each model.
    """

    means: Sequence[float]

    @classmethod
    def of(cls, table: PerformanceTable) -> Self:
        """Return the reading for a table of any models."""
        return cls(mean_scores(table).tolist())

    def start(self) -> Array:
        """Return the log-odds of the means."""
        means = np.clip(self.means, 0.01, 0.99)
        odds: Array = np.log(means / (1 - means))
        return odds

    def teaches(self, scores: NDArray[np.float32]) -> Mask:
        """Return which prompts have a score."""
        return np.asarray(~np.isnan(scores).all(axis=1))

    def loss(self, outputs: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy over the cells with a score."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        known = ~scores.isnan()
        cells = binary_cross_entropy_with_logits(
            outputs, scores.nan_to_num(), weight=known.float(), reduction="sum"
        )
        return cells / known.sum()

    def quality(self, outputs: Array) -> Array:
        """Return the expected scores."""
        quality: Array = 0.5 * (1 + np.tanh(0.5 * outputs))
        return quality


@dataclass(frozen=True)
class Listwise(PerModel):
    """As `PerModel`, with a term that looks at the decision: which models are the prompt's best?

    Added is the cross-entropy between the shares softmax(score / 0.1) and softmax(quality / 0.1)
    over the models that were measured. Several good models share evenly, as the several positives
    do in RouterDC (arXiv 2409.19886); what all models get right or wrong adds nothing.
    """

    def loss(self, outputs: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy over cells, plus that of the shares over prompts."""
        nowhere = scores.isnan()
        wanted = (scores.nan_to_num() / _TEMPERATURE).masked_fill(nowhere, -1e4).softmax(dim=1)
        given = (outputs.sigmoid() / _TEMPERATURE).masked_fill(nowhere, -1e4).log_softmax(dim=1)
        return super().loss(outputs, scores) - (wanted * given).sum(dim=1).mean()


@dataclass(frozen=True)
class WinTieLoss(Reading):
    """Three classes for two models, as RouteLLM's BERT classifier has: strong wins, tie, weak wins.

    Attributes:
        strong: Column of the strong model: that with the greater mean score.
        shares: Share of each class in the table.
        level: Mean score of both models.
        stake: Mean difference of unequal scores.
    """

    strong: int
    shares: Sequence[float]
    level: float
    stake: float

    @classmethod
    def of(cls, table: PerformanceTable) -> Self:
        """Return the reading for a table of two models."""
        means = _two(table, "pairwise3")
        strong = int(means.argmax())
        gaps = table.scores[:, strong] - table.scores[:, 1 - strong]
        gaps = gaps[~np.isnan(gaps)]
        counts = np.array([(gaps > 0).sum(), (gaps == 0).sum(), (gaps < 0).sum()]) + 1
        shares = (counts / counts.sum()).tolist()
        return cls(strong, shares, float(means.mean()), stake(table))

    def start(self) -> Array:
        """Return the logarithms of the shares."""
        return np.log(self.shares)

    def teaches(self, scores: NDArray[np.float32]) -> Mask:
        """Return which prompts have both scores."""
        return np.asarray(~np.isnan(scores).any(axis=1))

    def loss(self, outputs: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy of the classes."""
        from torch.nn.functional import cross_entropy

        gaps = scores[:, 1 - self.strong] - scores[:, self.strong]
        return cross_entropy(outputs, gaps.sign().long() + 1)

    def quality(self, outputs: Array) -> Array:
        """Return qualities that differ by the expected difference of the scores."""
        wins, _, losses = softmax(outputs)
        offsets = np.full(2, self.stake * (wins - losses) / 2)
        offsets[1 - self.strong] *= -1
        return around(self.level, offsets)

    def win(self, outputs: Array, strong: int, weak: int) -> float:
        """Return the chance that strong wins; a tie counts for the weak one, as in RouteLLM."""
        return float(softmax(outputs)[0 if strong == self.strong else 2])


@dataclass(frozen=True)
class Grades(Reading):
    """Five classes for two models: the grade of the weak one's answer, [[1]] to [[5]].

    RouteLLM's causal classifier writes the grade as one of five tokens added to the vocabulary, and
    reads the softmax over these alone. Five more rows of the output matrix are a linear head with
    five outputs, and are taught as such here: the softmax runs over the grades in training too.

    Attributes:
        strong: Column of the strong model: that with the greater mean score.
        shares: Share of each grade in the table.
        strong_means: Mean score of the strong model where the weak one has each grade.
    """

    strong: int
    shares: Sequence[float]
    strong_means: Sequence[float]

    @classmethod
    def of(cls, table: PerformanceTable) -> Self:
        """Return the reading for a table of two models."""
        means = _two(table, "grades")
        strong = int(means.argmax())
        known = ~np.isnan(table.scores[:, 1 - strong])
        weak, other = table.scores[known, 1 - strong], table.scores[known, strong]
        grades = np.floor(4 * weak + 0.5)
        counts = np.array([(grades == grade).sum() + 1 for grade in range(5)])
        strong_means = [
            float(shrunk_means(other[grades == grade, None], means[strong], _PRIOR)[0])
            for grade in range(5)
        ]
        return cls(strong, (counts / counts.sum()).tolist(), strong_means)

    def start(self) -> Array:
        """Return the logarithms of the shares."""
        return np.log(self.shares)

    def teaches(self, scores: NDArray[np.float32]) -> Mask:
        """Return which prompts have a score of the weak model."""
        known: Mask = ~np.isnan(scores[:, 1 - self.strong])
        return known

    def loss(self, outputs: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy of the grades."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(outputs, (4 * scores[:, 1 - self.strong] + 0.5).long())

    def quality(self, outputs: Array) -> Array:
        """Return the expected score of the weak model, and what the strong one scores beside it."""
        shares = softmax(outputs)
        quality = np.empty(2)
        quality[1 - self.strong] = shares @ np.arange(5) / 4
        quality[self.strong] = shares @ np.array(self.strong_means)
        return quality

    def win(self, outputs: Array, strong: int, weak: int) -> float:
        """Return the chance that the weak one's grade is below [[4]], as in RouteLLM."""
        below = float(softmax(outputs)[:_GOOD].sum())
        return below if strong == self.strong else 1 - below


def softmax(outputs: Array) -> Array:
    """Return outputs as shares that sum to 1."""
    powers = np.exp(outputs - outputs.max())
    shares: Array = powers / powers.sum()
    return shares


def _two(table: PerformanceTable, loss: str) -> NDArray[np.float32]:
    """Return the mean scores of a table's two models."""
    if len(table.models) != 2:
        raise UsageError(
            f"loss={loss!r} compares two models, and the table has {len(table.models)}; choose two "
            "with table.only([strong, weak]), or use loss='bce'."
        )
    return mean_scores(table)
