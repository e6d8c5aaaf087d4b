"""What the light predictors share: a prompt's features, and the means they shrink towards."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tryage.data.table import PerformanceTable
from tryage.encoders.form import form, form_one
from tryage.errors import InvalidTable
from tryage.predictors.base import Predictor
from tryage.predictors.default import bundled_encoder
from tryage.predictors.sentence import sentence_encoder

Array = NDArray[np.float32]
Ints = NDArray[np.intp]

# Unit vectors are blown up and forms shrunk, so that the vector has the greater say.
_VECTOR_SCALE, _FORM_SCALE, _FORM_LIMIT = 4.0, 0.25, 3.0


@dataclass(eq=False)
class FeaturePredictor(Predictor):
    """Base of the predictors that read a prompt's features: its vector, then its form.

    The bundled static encoder gives the vector. Each form feature is standardised and cut off at
    three standard deviations: a strange prompt is not an extreme one. A subclass says in `_learn`
    what is learned from features and scores, and in `_quality` what it gives for one prompt.

    Attributes:
        encoder: A sentence encoder whose vector is read as well, by its name on the Hugging Face
            hub or its folder. It sees more than the bundled one, at about 20 ms a prompt on a CPU,
            and needs `pip install 'tryage[train]'`.
    """

    encoder: str | None = field(default=None, kw_only=True)

    def fit(self, table: PerformanceTable) -> Self:
        """Learn from a table and return self; cells without a score teach nothing.

        Raises:
            InvalidTable: The table holds no score at all.
        """
        measured = np.flatnonzero(~np.isnan(table.scores).all(axis=1))
        if not len(measured):
            raise InvalidTable("the table holds no score; a predictor learns from at least one.")
        table = table.rows(measured)
        self.models_ = table.models
        forms = form(table.prompts)
        self.form_mean_, self.form_sd_ = forms.mean(axis=0), np.maximum(forms.std(axis=0), 0.05)
        self._learn(self._features(table.prompts), table)
        return self

    def predict(self, prompts: Sequence[str]) -> Array:
        """Return the predicted quality, float32 (n_prompts, n_models) in [0, 1].

        Raises:
            NotFitted: Neither `fit` nor `load` came before.
        """
        quality = np.empty((len(prompts), len(self.models)), dtype=np.float32)
        # One prompt at a time: a product of matrices would round a row differently in a batch.
        for row, features in zip(quality, self._features(prompts), strict=True):
            row[:] = self._quality(features)
        return to_unit_range(quality)

    @abstractmethod
    def _learn(self, features: Array, table: PerformanceTable) -> None:
        """Learn from features (n_prompts, n_features) of a table, each of its rows measured."""

    @abstractmethod
    def _quality(self, features: Array) -> Array:
        """Return the quality of each model, (n_models,), from one prompt's features."""

    def _features(self, prompts: Sequence[str]) -> Array:
        """Return the prompts' features, float32 (n_prompts, n_features)."""
        width = bundled_encoder().dimensions + len(self.form_mean_)
        rows = np.empty((len(prompts), width), dtype=np.float32)
        for row, prompt in zip(rows, prompts, strict=True):
            row[:] = self._own_features(prompt)
        if self.encoder is None:
            return rows
        vectors = sentence_encoder(self.encoder).encode(prompts) * np.float32(_VECTOR_SCALE)
        return np.concatenate([rows, vectors], axis=1)

    def _own_features(self, prompt: str) -> Array:
        shape = (np.array(form_one(prompt), dtype=np.float32) - self.form_mean_) / self.form_sd_
        shape = np.clip(shape, -_FORM_LIMIT, _FORM_LIMIT) * np.float32(_FORM_SCALE)
        vector = bundled_encoder().encode_one(prompt) * np.float32(_VECTOR_SCALE)
        return np.concatenate((vector, shape))


def to_unit_range(quality: Array) -> Array:
    """Return quality (n_prompts, n_models) in [0, 1] with the best model of each prompt in place.

    A row that reaches above 1 is lowered as a whole: cut off at 1, its best models would be equal.
    """
    best = quality.max(axis=1, keepdims=True, initial=1)
    lowered: Array = np.clip(quality - (best - 1), 0, 1)
    return lowered


def shrunk_means(scores: Array, towards: Array, strength: float) -> Array:
    """Return each model's mean score, shrunk, float32 (n_models,).

    Args:
        scores: (n_prompts, n_models), NaN where not measured.
        towards: (n_models,), the mean of a model without scores.
        strength: Prompts' worth of `towards` in the mean, more than 0.
    """
    counts = (~np.isnan(scores)).sum(axis=0)
    sums = np.nansum(scores, axis=0, dtype=np.float64)
    means: Array = ((sums + strength * towards) / (counts + strength)).astype(np.float32)
    return means
