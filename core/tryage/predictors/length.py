"""How long the answer to a prompt will be, so that its cost is about this call.

After Somerstep et al., *CARROT: A Cost Aware Rate Optimal Router* (2025), who predict cost apart
from quality. The length in tokens is a prompt's part times a model's part: a ridge regression of
log length on the bundled encoder's vector and the prompt's form, times the model's verbosity.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tryage.data.table import PerformanceTable
from tryage.encoders.form import form
from tryage.errors import CorruptArtifact, InvalidTable, NotFitted
from tryage.library import Library, names_of
from tryage.predictors.default import bundled_encoder
from tryage.request import CHARACTERS_PER_TOKEN, count_tokens

Array = NDArray[np.float64]

# Unit vectors are blown up, so that one ridge suits vectors and standardised forms.
_VECTOR_SCALE = 4.0
_FORM_LIMIT = 3.0
_FORMAT = "tryage-length-1"


@dataclass(eq=False)
class LengthPredictor:
    """Expected tokens of the ordinary model's answer, learned from answers that were measured.

    Learn it from your own traffic: prompts of a kind that the table lacks are answered with about
    the mean length of the table.

    Attributes:
        penalty: Weight of the ridge.
        verbosity_: After `fit`: by model, its length relative to the table's median model.

    Example:
        >>> table = PerformanceTable.from_scores(["Hi", "Prove it."], ["m"], [[1], [1]])
        >>> table = replace(table, measures={"output_tokens": np.array([[10.0], [400.0]])})
        >>> lengths = LengthPredictor(penalty=0.1).fit(table)
        >>> short, long = lengths.predict(["Hi", "Prove it."])
        >>> bool(short < 50 < long)
        True
    """

    penalty: float = 30.0

    def fit(self, table: PerformanceTable) -> Self:
        """Learn from a table that tells how long answers were, and return self.

        The tokens are read from `output_tokens`, or else estimated from `response_chars` or
        `response`; cells without an answer are left out.

        Raises:
            InvalidTable: The table tells no length.
        """
        tokens = answer_tokens(table)
        used = tokens > 0
        rows = np.flatnonzero(used.any(axis=1))
        if not len(rows):
            raise InvalidTable(
                "the table tells no answer's length: give output_tokens, response_chars or "
                "response for some prompts."
            )
        tokens, used = tokens[rows], used[rows]
        prompt_part = _prompt_part(np.log(np.where(used, tokens, 1.0)), used)
        x = _raw([table.prompts[row] for row in rows])
        self._fit_ridge(x, prompt_part, used.sum(axis=1))
        # Ratios of sums: what is paid for is the sum of tokens, not the mean of their logarithms.
        columns = np.flatnonzero(used.any(axis=0))
        expected = (np.exp(self._log_lengths(x))[:, None] * used).sum(axis=0)[columns]
        parts = np.where(used, tokens, 0).sum(axis=0)[columns] / expected
        ordinary = float(np.median(parts))
        self.level_ += float(np.log(ordinary))
        self.verbosity_ = {
            table.models[column]: float(part) / ordinary
            for column, part in zip(columns, parts, strict=True)
        }
        return self

    def predict(self, prompts: Sequence[str]) -> Array:
        """Return the expected tokens of the ordinary model's answers, float64 (n_prompts,).

        Raises:
            NotFitted: Neither `fit` nor `load` came before.
        """
        if not hasattr(self, "level_"):
            raise NotFitted("LengthPredictor has not learned yet: call fit(table) or load(file).")
        if not prompts:
            return np.zeros(0)
        return np.exp(self._log_lengths(_raw(prompts)))

    def with_verbosity(self, library: Library) -> Library:
        """Return the library with the measured verbosity on the cards of models in the table."""
        known = {name.lower(): value for name, value in self.verbosity_.items()}
        return Library(
            next((replace(c, verbosity=known[n]) for n in names_of(c) if n in known), c)
            for c in library
        )

    def save(self, path: str | Path) -> Path:
        """Write what was learned into a JSON file of a few kilobytes and return its path."""
        if not hasattr(self, "level_"):
            raise NotFitted("LengthPredictor has not learned yet: call fit(table) or load(file).")
        learned = {
            key: value.tolist() if isinstance(value, np.ndarray) else value
            for key, value in vars(self).items()
            if key.endswith("_")
        }
        text = json.dumps({"format": _FORMAT, "parameters": asdict(self), "learned": learned})
        Path(path).write_text(text + "\n", encoding="utf-8")
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return the predictor that `save` wrote.

        Raises:
            CorruptArtifact: The file is missing, damaged or of another format.
        """
        try:
            saved = json.loads(Path(path).read_text(encoding="utf-8"))
            if saved["format"] != _FORMAT:
                raise ValueError(f"its format is {saved['format']!r}, not {_FORMAT!r}")
            learned = saved["learned"]
            predictor = cls(**saved["parameters"])
            predictor.level_ = float(learned["level_"])
            predictor.verbosity_ = dict(learned["verbosity_"])
            for key in ("low_", "high_", "weights_"):
                setattr(predictor, key, np.array(learned[key], dtype=np.float64))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorruptArtifact(
                f"{path}: not a saved length predictor ({type(error).__name__}: {error}). "
                "Copy or train it again."
            ) from error
        return predictor

    def _fit_ridge(self, x: Array, y: Array, counts: NDArray[np.intp]) -> None:
        """Learn level and weights; a prompt counts for the answers that it had, up to a few."""
        width = len(form([""])[0])
        mean, sd = x[:, -width:].mean(axis=0), np.maximum(x[:, -width:].std(axis=0), 0.05)
        self.low_, self.high_ = mean - _FORM_LIMIT * sd, mean + _FORM_LIMIT * sd
        weight = np.minimum(counts, 4) / np.minimum(counts, 4).mean()
        scale = np.concatenate([np.full(x.shape[1] - width, _VECTOR_SCALE), 1 / sd])
        centre, level = np.average(x, axis=0, weights=weight), np.average(y, weights=weight)
        z = (x - centre) * scale
        gram = (z * weight[:, None]).T @ z + self.penalty * np.eye(z.shape[1])
        self.weights_ = scale * np.linalg.solve(gram, z.T @ (weight * (y - level)))
        self.level_ = float(level - centre @ self.weights_)

    def _log_lengths(self, x: Array) -> Array:
        x = x.copy()
        width = len(self.low_)
        x[:, -width:] = np.clip(x[:, -width:], self.low_, self.high_)
        logs: Array = x @ self.weights_ + self.level_
        return logs


def answer_tokens(table: PerformanceTable) -> Array:
    """Return the tokens of each answer, float64 (n_prompts, n_models); NaN where not known."""
    if "output_tokens" in table.measures:
        return table.measures["output_tokens"]
    if "response_chars" in table.extras:
        return np.asarray(table.extras["response_chars"], dtype=np.float64) / CHARACTERS_PER_TOKEN
    if "response" in table.extras:
        count = np.vectorize(lambda r: count_tokens(r) if isinstance(r, str) else np.nan, [float])
        counted: Array = count(table.extras["response"])
        return counted
    return np.full(table.scores.shape, np.nan)


def _raw(prompts: Sequence[str]) -> Array:
    """Return the features of prompts, (n_prompts, n_vector + n_form)."""
    return np.hstack([bundled_encoder().encode(prompts), form(prompts)]).astype(np.float64)


def _prompt_part(logs: Array, used: NDArray[np.bool_]) -> Array:
    """Return each prompt's mean log length, (n_prompts,), less what its models add to any.

    Alternating means: the least-squares fit of one number per prompt and one per model.
    """
    model, counts = np.zeros(logs.shape[1]), np.maximum(used.sum(axis=0), 1)
    for _ in range(20):
        prompt = (used * (logs - model)).sum(axis=1) / used.sum(axis=1)
        model = (used * (logs - prompt[:, None])).sum(axis=0) / counts
        model -= model.mean()
    part: Array = prompt
    return part
