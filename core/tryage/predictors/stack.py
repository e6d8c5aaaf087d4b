"""Several predictors, weighed by what each foretells of prompts that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from tryage import predictors
from tryage.data.split import folds_by_prompt
from tryage.data.table import PerformanceTable
from tryage.errors import InvalidTable, UsageError
from tryage.predictors.base import Predictor
from tryage.predictors.baselines import mean_scores
from tryage.predictors.features import FeaturePredictor, to_unit_range
from tryage.predictors.staging import staged

Array = NDArray[np.float32]


@dataclass(eq=False)
class StackPredictor(Predictor):
    """Predicts the models' means, and a weighted sum of how its members depart from them.

    Stacked generalisation (Wolpert, 1992) with weights that are never negative (Breiman, *Stacked
    regressions*, 1996), fitted by least squares to predictions out of fold, where a prompt was in
    no member's training. What is fitted are the differences between models on one prompt, since
    these alone decide; how hard the prompt is would drown them. Members that err in different
    ways are what helps; one that adds nothing gets the weight 0.

    Nobody is asked to trust that: where routing by these weights is not better than the best single
    model on what was left out, by one standard error (the rule of Breiman et al., *Classification
    and Regression Trees*, 1984), all weights are 0, and the best single model is what remains.

    Attributes:
        members: Names of registered predictors, at least one. In a table that names no domain,
            `domain` gives way to `clusters`.
        equal: Whether all members count the same, and nothing is weighed.
        folds: Parts of the table that are left out in turn to find the weights, 2 or more.
        left_out: What the parts are made of. With `prompts`, the weights suit prompts of the
            table's own kind; with `domains`, prompts of domains that the table does not have, for
            which most of what a table teaches is worth little.
        encoder: A sentence encoder that every member reads with that can; see
            `tryage.predictors.features.FeaturePredictor`.
        seed: The same seed and table give the same predictor.

    Example:
        >>> from tryage import PerformanceTable
        >>> table = PerformanceTable.from_scores(["a", "b"], ["small", "large"], [[1, 0], [1, 0]])
        >>> StackPredictor(members=("ridge", "knn")).fit(table).predict(["c"])[0].argmax()
        np.int64(0)
    """

    name: ClassVar[str] = "stack"
    members: Sequence[str] = ("domain", "mlp", "knn")
    equal: bool = False
    folds: int = 3
    left_out: Literal["prompts", "domains"] = "prompts"
    encoder: str | None = None
    seed: int = 0

    def fit(self, table: PerformanceTable) -> Self:
        """Fit the weights and every member, and return self.

        Raises:
            InvalidTable: The table holds no score at all.
            UnknownPredictor: A member is not registered.
            UsageError: There are no members, or fewer than two folds.
        """
        if not self.members or self.folds < 2 or self.left_out not in ("prompts", "domains"):
            raise UsageError(
                f"members={tuple(self.members)}, folds={self.folds}, left_out={self.left_out!r}: "
                "give at least one member, two folds, and leave out 'prompts' or 'domains'."
            )
        table = table.rows(np.flatnonzero(~np.isnan(table.scores).all(axis=1)))
        if not len(table):
            raise InvalidTable("the table holds no score; a predictor learns from at least one.")
        domains = any(table.domains)
        names = ["clusters" if m == "domain" and not domains else m for m in self.members]
        self.members_ = tuple(dict.fromkeys(names))
        self.models_ = table.models
        self.means_ = mean_scores(table)
        self.weights_ = self._weigh(table)
        self._fitted = [self._make(m).fit(table) for m in self.members_]
        return self

    def _make(self, member: str) -> Predictor:
        kind = predictors.get(member)
        fields: dict[str, Any] = {}
        if self.encoder is not None and issubclass(kind, FeaturePredictor):
            fields["encoder"] = self.encoder
        return kind(**fields)

    def _fold(self, table: PerformanceTable) -> NDArray[np.intp]:
        """Return which prompts are left out together, (n_prompts,)."""
        if self.left_out == "prompts":
            return folds_by_prompt(table.prompts, self.folds, self.seed)
        return folds_by_prompt(table.domains, self.folds, self.seed)

    def _weigh(self, table: PerformanceTable) -> Array:
        """Return each member's weight, float32 (n_members,)."""
        n = len(self.members_)
        fold = self._fold(table)
        if self.equal or fold.max() == 0:  # one prompt cannot be left out
            return np.full(n, 1 / n, dtype=np.float32)
        means = np.zeros(table.scores.shape, dtype=np.float32)
        departures = np.zeros((n, *table.scores.shape), dtype=np.float32)
        for number in np.unique(fold):
            out = fold == number
            rest, left_out = (table.rows(np.flatnonzero(rows)) for rows in (~out, out))
            means[out] = mean_scores(rest)
            for row, member in zip(departures, self.members_, strict=True):
                row[out] = self._make(member).fit(rest).predict(left_out.prompts) - means[out]
        seen = ~np.isnan(table.scores)
        columns = np.stack([_differences(row, seen) for row in departures])
        weights = _least_squares(columns, _differences(table.scores - means, seen))
        routed = means + np.tensordot(weights, departures, axes=1)
        groups = table.domains if self.left_out == "domains" else table.prompts
        return weights if _pays(routed, means, table.scores, groups) else np.zeros_like(weights)

    def predict(self, prompts: Sequence[str]) -> Array:
        """Return means and weighted departures, float32 (n_prompts, n_models) in [0, 1]."""
        self._check_fitted()
        quality = np.tile(self.means_, (len(prompts), 1))
        for weight, member in zip(self.weights_, self._fitted, strict=True):
            quality += weight * (member.predict(prompts) - self.means_)
        return to_unit_range(quality)

    def save(self, directory: str | Path) -> Path:
        """Write the weights, and each member in a folder of its own, and return the directory.

        If that fails half-way, what was there before stays whole.
        """
        self._check_fitted()
        with staged(Path(directory)) as fresh:
            for name, member in zip(self.members_, self._fitted, strict=True):
                member.save(fresh / name)
            super().save(fresh)
        return Path(directory)

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """Return the predictor that `save` wrote into the directory.

        Raises:
            CorruptArtifact: A file is missing, truncated, damaged or of another predictor.
        """
        predictor = super().load(directory)
        predictor._fitted = [predictors.load(Path(directory) / name) for name in predictor.members_]
        return predictor


def _pays(routed: Array, means: Array, scores: Array, groups: Sequence[str]) -> bool:
    """Return whether one prediction routes better than another, by one standard error.

    Args:
        routed: The one, (n_prompts, n_models).
        means: The other, likewise.
        scores: What the models scored, likewise; NaN where not measured.
        groups: What is drawn at once, and so varies as one: a name for each prompt.
    """
    seen = ~np.isnan(scores)
    rows = np.arange(len(scores))
    chosen, usual = (np.where(seen, p, -np.inf).argmax(axis=1) for p in (routed, means))
    gains = (scores[rows, chosen] - scores[rows, usual]).astype(np.float64)
    group = np.unique(groups, return_inverse=True)[1]
    by_group = np.bincount(group, gains - gains.mean())
    n = len(by_group)
    error = (np.square(by_group).sum() * n / max(1, n - 1)) ** 0.5 / len(gains)
    return bool(gains.mean() > error)


def _differences(values: Array, seen: NDArray[np.bool_]) -> Array:
    """Return the seen cells (n_cells,) of a matrix, less their prompts' means."""
    n = seen.sum(axis=1, keepdims=True)
    differences: Array = values - np.where(seen, values, 0).sum(axis=1, keepdims=True) / n
    return differences[seen]


def _least_squares(columns: Array, target: Array, rounds: int = 1000) -> Array:
    """Return weights of 0 or more, (n,), by which columns (n, n_cells) come nearest to a target.

    By coordinate descent, which for so few weights converges at once.
    """
    a, b = columns.astype(np.float64), target.astype(np.float64)
    products, towards = a @ a.T, a @ b
    weights = np.zeros(len(a))
    for _ in range(rounds):
        for i in range(len(a)):
            if products[i, i] > 0:
                step = (towards[i] - products[i] @ weights) / products[i, i]
                weights[i] = max(weights[i] + step, 0)
    return weights.astype(np.float32)
