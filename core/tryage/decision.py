"""What was decided, and why: frozen data with every term of the objective."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tryage.cards import ModelCard
from tryage.expectations import Expectations, expected_of
from tryage.flags import Flags
from tryage.library import Library
from tryage.request import Tokens

_FEW = 100


class Exclusion(NamedTuple):
    """One limit: the models that it excludes, as a mask (n_models,), and why."""

    mask: NDArray[np.bool_]
    reason: str


class RankedModel(NamedTuple):
    """One eligible model's place: the objective is 1 − quality plus the sum of the terms."""

    model: str
    quality: float
    cost_usd: float | None
    latency_s: float | None
    objective: float
    terms: dict[str, float]


class ExcludedModel(NamedTuple):
    """One model that a limit excludes."""

    model: str
    reason: str


@dataclass(frozen=True, eq=False)
class Decision:
    """The model chosen for one request, and the whole reasoning behind it.

    It holds no text of the prompt. The ranking is worked out when it is first asked for, so that
    a decision over very many models costs what finding the best one costs.

    Attributes:
        model: The chosen model's name.
        flags: The wishes that were weighed.
        expected: What the call is expected to cost and to take on each model.
        quality: Predicted quality, (n_models,) in the library's order.
        terms: The constraint functions C_j before weighting, (n_models,) each, by flag; that of
            `worth_usd` is the expected cost in USD.
        objective: The objective, (n_models,); infinite for excluded models.
        exclusions: The limits that applied.
        kept: Whether the model was kept since it waits for the results of its tools; it then
            leads the ranking, whatever its objective.
    """

    model: str
    flags: Flags
    expected: Expectations
    quality: NDArray[np.floating[Any]]
    terms: Mapping[str, NDArray[np.float64]]
    objective: NDArray[np.float64]
    exclusions: tuple[Exclusion, ...]
    kept: bool = False

    @property
    def library(self) -> Library:
        """The models that stood to choice."""
        return self.expected.cards

    @property
    def tokens(self) -> Tokens:
        """The size of the call."""
        return self.expected.tokens

    @property
    def card(self) -> ModelCard:
        """The chosen model's card."""
        return self.library.find(self.model)

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The eligible models' names, the chosen one first, as failover tries them."""
        names = self.library.names
        return tuple([names[i] for i in self._order()])

    @cached_property
    def ranking(self) -> tuple[RankedModel, ...]:
        """The eligible models from best to worst, with every term of the objective."""
        costs, latencies = self.expected.cost_usd, self.expected.latency_s
        return tuple(
            RankedModel(
                model=self.library.names[i],
                quality=float(self.quality[i]),
                cost_usd=_known(costs[i]),
                latency_s=_known(latencies[i]),
                objective=float(self.objective[i]),
                terms={
                    name: self.flags.weights[name] * float(values[i])
                    for name, values in self.terms.items()
                },
            )
            for i in self._order()
        )

    @cached_property
    def excluded(self) -> tuple[ExcludedModel, ...]:
        """The models that a limit excludes, in the library's order, with every reason."""
        return explain(self.library, self.exclusions)

    def summary(self, answered_by: str | None = None) -> dict[str, Any]:
        """Return the decision in few plain values, fit for a response's metadata.

        Args:
            answered_by: The model that answered in the end, where failover moved on from the
                chosen one; the figures are then that model's.
        """
        model = answered_by or self.model
        i = self.library.position(model)
        cost, latency = expected_of(self.library[i], self.tokens)
        return {
            "model": model,
            "decided": self.model,
            "quality": round(float(self.quality[i]), 4),
            "expected_cost_usd": cost,
            "expected_latency_s": latency,
            "flags": self.flags.as_json(),
            "alternatives": [name for name in self.order[:4] if name != model][:3],
        }

    def as_json(self) -> dict[str, Any]:
        """Return the whole decision as plain JSON values."""
        return {
            "model": self.model,
            "kept": self.kept,
            "ranking": [ranked._asdict() for ranked in self.ranking],
            "excluded": [excluded._asdict() for excluded in self.excluded],
            "flags": self.flags.as_json(),
        }

    def _order(self) -> list[int]:
        order = self._by_objective()
        if self.kept:
            first = self.library.position(self.model)
            order.remove(first)
            order.insert(0, first)
        return order

    def _by_objective(self) -> list[int]:
        if len(self.objective) <= _FEW:  # numpy's start costs more than the whole sort
            values = self.objective.tolist()
            return sorted((i for i, v in enumerate(values) if v < math.inf), key=values.__getitem__)
        order = np.argsort(self.objective, kind="stable")
        return [int(i) for i in order[: int(np.isfinite(self.objective).sum())]]

    def __repr__(self) -> str:
        return f"Decision(model={self.model!r}, of {len(self.library)} models, flags={self.flags})"


def explain(cards: Library, exclusions: Sequence[Exclusion]) -> tuple[ExcludedModel, ...]:
    """Return the models that the limits exclude, each with all its reasons."""
    if not exclusions:
        return ()
    out = np.flatnonzero(np.logical_or.reduce([e.mask for e in exclusions]))
    return tuple(
        ExcludedModel(cards.names[i], "; ".join(e.reason for e in exclusions if e.mask[i]))
        for i in out
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
