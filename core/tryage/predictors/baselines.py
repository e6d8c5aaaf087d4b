"""The trivial predictors that every other one must beat."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from tryage.data.table import PerformanceTable
from tryage.errors import UsageError
from tryage.library import Library
from tryage.predictors.base import Predictor

FloatArray = NDArray[np.float32]


@dataclass(eq=False)
class RandomPredictor(Predictor):
    """Predicts uniform noise, the same for the same prompt.

    Attributes:
        seed: Another seed gives other noise.
    """

    name: ClassVar[str] = "random"
    seed: int = 0

    def fit(self, table: PerformanceTable) -> Self:
        """Remember the models and return self."""
        self.models_ = table.models
        return self

    def predict(self, prompts: Sequence[str]) -> FloatArray:
        """Return noise in [0, 1), float32 (n_prompts, n_models)."""
        n_models = len(self.models)
        rows = [
            np.random.default_rng((self.seed, zlib.crc32(p.encode("utf-8", "replace"))))
            .random(n_models, dtype=np.float32)
            for p in prompts
        ]  # fmt: skip
        return np.array(rows, dtype=np.float32).reshape(len(rows), n_models)


@dataclass(eq=False)
class BestSinglePredictor(Predictor):
    """Predicts each model's mean score, whatever the prompt."""

    name: ClassVar[str] = "best_single"

    def fit(self, table: PerformanceTable) -> Self:
        """Take the mean score of each model and return self."""
        self.models_ = table.models
        self.means_ = mean_scores(table)
        return self

    def predict(self, prompts: Sequence[str]) -> FloatArray:
        """Return the means once per prompt, float32 (n_prompts, n_models)."""
        self._check_fitted()
        return np.tile(self.means_, (len(prompts), 1))


@dataclass(eq=False)
class CheapestPredictor(Predictor):
    """Predicts the more, the less a model costs: the cheapest 1, the dearest 0."""

    name: ClassVar[str] = "cheapest"

    def fit(self, table: PerformanceTable) -> Self:
        """Rank the models by cost and return self.

        Costs are the table's mean `cost_usd`; without that column, the card prices of the
        bundled library, where a model without a price counts as the dearest.

        Raises:
            UsageError: Neither the table nor the library knows a cost.
        """
        self.models_ = table.models
        if "cost_usd" in table.measures:
            known = ~np.isnan(table.measures["cost_usd"])
            sums = np.nansum(table.measures["cost_usd"], axis=0)
            costs = np.where(known.any(axis=0), sums / np.maximum(known.sum(axis=0), 1), np.nan)
        else:
            costs = np.array([_card_price(name) for name in table.models])
        if np.isnan(costs).all():
            raise UsageError(
                "no cost is known for these models: add a cost_usd column to the table, "
                "or cards with prices to the library."
            )
        order = np.argsort(np.where(np.isnan(costs), np.inf, costs), kind="stable")
        ranks = np.empty(len(order))
        ranks[order] = np.arange(len(order))
        self.values_ = (1 - ranks / max(len(order) - 1, 1)).astype(np.float32)
        return self

    def predict(self, prompts: Sequence[str]) -> FloatArray:
        """Return the cheapness once per prompt, float32 (n_prompts, n_models)."""
        self._check_fitted()
        return np.tile(self.values_, (len(prompts), 1))


@dataclass(eq=False)
class PromptLengthPredictor(Predictor):
    """Predicts each model's score as a straight line in the logarithm of the prompt's length."""

    name: ClassVar[str] = "prompt_length"

    def fit(self, table: PerformanceTable) -> Self:
        """Fit one line per model by least squares and return self."""
        self.models_ = table.models
        lengths = _log_length(table.prompts)
        self.lines_ = np.zeros((2, len(table.models)))  # slopes, intercepts
        for column in range(len(table.models)):
            known = ~np.isnan(table.scores[:, column])
            if not known.any():
                self.lines_[1, column] = 0.5
                continue
            x, y = lengths[known], table.scores[known, column].astype(np.float64)
            spread = float(((x - x.mean()) ** 2).sum())
            slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread if spread else 0.0
            self.lines_[:, column] = slope, y.mean() - slope * x.mean()
        return self

    def predict(self, prompts: Sequence[str]) -> FloatArray:
        """Return the lines' values, float32 (n_prompts, n_models), cut to [0, 1]."""
        self._check_fitted()
        values = _log_length(prompts)[:, None] * self.lines_[0] + self.lines_[1]
        quality: FloatArray = np.clip(values, 0, 1).astype(np.float32)
        return quality


@dataclass(eq=False)
class PerDomainBestPredictor(Predictor):
    """Predicts each model's mean score in the prompt's domain, for prompts of known domain.

    The domain is looked up, not guessed: it is known for the prompts of the table it was fitted
    on, and of those `reveal` adds. Any other prompt gets the overall means.
    """

    name: ClassVar[str] = "per_domain_best"

    def fit(self, table: PerformanceTable) -> Self:
        """Take the mean score per domain and model and return self."""
        self.models_ = table.models
        overall = mean_scores(table)
        names = sorted(set(table.domains))
        labels = np.array(table.domains)
        rows = [_means_or(table.scores[labels == name], overall) for name in names]
        self.means_ = np.vstack([*rows, overall]).astype(np.float32)
        self.row_of_domain_ = {name: row for row, name in enumerate(names)}
        self.domain_of_prompt_ = dict(zip(table.prompts, table.domains, strict=True))
        return self

    def reveal(self, table: PerformanceTable) -> PerDomainBestPredictor:
        """Return a copy that also knows the domains of this table's prompts, not their scores."""
        revealed = replace(self)
        vars(revealed).update(vars(self))
        revealed.domain_of_prompt_ = self.domain_of_prompt_ | dict(
            zip(table.prompts, table.domains, strict=True)
        )
        return revealed

    def predict(self, prompts: Sequence[str]) -> FloatArray:
        """Return the domain's means, float32 (n_prompts, n_models)."""
        self._check_fitted()
        last = len(self.means_) - 1
        domains = (self.domain_of_prompt_.get(prompt) for prompt in prompts)
        rows = [last if d is None else self.row_of_domain_.get(d, last) for d in domains]
        return self.means_[np.array(rows, dtype=np.intp)]


@dataclass(eq=False)
class OraclePredictor(Predictor):
    """Predicts the true scores of the table it was fitted on: the limit that no router passes."""

    name: ClassVar[str] = "oracle"

    def fit(self, table: PerformanceTable) -> Self:
        """Remember the scores by prompt and return self."""
        self.models_ = table.models
        means = mean_scores(table)
        known = np.where(np.isnan(table.scores), means, table.scores)
        self.scores_ = np.vstack([known, means]).astype(np.float32)
        self.row_of_prompt_ = {prompt: row for row, prompt in enumerate(table.prompts)}
        return self

    def predict(self, prompts: Sequence[str]) -> FloatArray:
        """Return the true scores, or the means for a prompt that the table does not hold."""
        self._check_fitted()
        last = len(self.scores_) - 1
        rows: Mapping[str, int] = self.row_of_prompt_
        index = np.array([rows.get(prompt, last) for prompt in prompts], dtype=np.intp)
        return self.scores_[index]


def mean_scores(table: PerformanceTable) -> FloatArray:
    """Return each model's mean score, float32 (n_models,); 0.5 where it has none at all."""
    return _means_or(table.scores, np.full(len(table.models), 0.5, dtype=np.float32))


def _means_or(scores: FloatArray, otherwise: FloatArray) -> FloatArray:
    counts = (~np.isnan(scores)).sum(axis=0)
    sums = np.nansum(scores, axis=0, dtype=np.float64)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), otherwise)
    return means.astype(np.float32)


def _card_price(name: str) -> float:
    library = Library.bundled()
    if name not in library:
        return float("nan")
    card = library.find(name)
    prices = (card.input_usd_per_mtok, card.output_usd_per_mtok)
    return float("nan") if None in prices else float(sum(p for p in prices if p is not None))


def _log_length(prompts: Sequence[str]) -> NDArray[np.float64]:
    return np.log1p(np.array([len(prompt) for prompt in prompts], dtype=np.float64))
