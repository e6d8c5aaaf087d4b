"""What came out: every way of choosing, measured on the test prompts with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tryage.data import PerformanceTable
from tryage.evaluation.measures import bootstrap_interval, resamples
from tryage.library import Library
from tryage.paper.choosing import Array, best_single, column, is_best

Interval = tuple[float, float]

SMALLEST = 1e-12
"""What stands for zero where something is divided by it."""


@dataclass(frozen=True, eq=False)
class Bench:
    """What every expert makes of every prompt, and what the experts are.

    Attributes:
        table: The prompts, with their domains.
        cards: One card per expert, in the table's order.
        losses: Mean cross-entropy at a prompt's masks in nats, (n_prompts, n_experts).
        accuracy: Share of a prompt's masks that are filled rightly, likewise.
        tokens: Length of each prompt, (n_prompts,).
        single: Number of the best single expert, which another table told.
    """

    table: PerformanceTable
    cards: Library
    losses: Array
    accuracy: Array
    tokens: Array
    single: int

    @classmethod
    def of(cls, table: PerformanceTable, cards: Library, learned: PerformanceTable) -> Bench:
        """Return the bench of a table with the columns `loss`, `accuracy` and `tokens`.

        Args:
            table: What to judge on.
            cards: One card per expert, in any order.
            learned: What tells the best single expert.
        """
        return cls(
            table=table,
            cards=cards.select(table.models),
            losses=column(table, "loss"),
            accuracy=column(table, "accuracy"),
            tokens=column(table, "tokens")[:, 0],
            single=best_single(learned),
        )

    @property
    def parameters(self) -> Array:
        """Weights of each expert, (n_experts,)."""
        return np.array([card.parameters for card in self.cards], dtype=np.float64)


@dataclass(frozen=True)
class Measures:
    """How well one way of choosing does.

    Attributes:
        selection_accuracy: Share of prompts that go to a best expert; ties are right.
        regret: Mean loss above the best expert's, in nats.
        mean_loss: Mean loss of the expert chosen, in nats.
        masked_accuracy: Share of masks that the expert chosen fills rightly.
        mean_parameters: Mean weights of the expert chosen.
        oracle_gap_closed: Share of the way from the best single expert's loss to the oracle's.
        intervals: The 95 % bootstrap interval, over prompts, of each of these.
    """

    selection_accuracy: float
    regret: float
    mean_loss: float
    masked_accuracy: float
    mean_parameters: float
    oracle_gap_closed: float
    intervals: Mapping[str, Interval]


_MEASURED = ("selection_accuracy", "regret", "mean_loss", "masked_accuracy", "mean_parameters")


def measure(bench: Bench, ways: Mapping[str, Array], repeats: int = 1000) -> dict[str, Measures]:
    """Return the measures of every way, all of them on the same resamples.

    Args:
        bench: What to judge on.
        ways: Shares (n_prompts, n_experts) by name.
        repeats: Resamples.
    """
    n_prompts = len(bench.table)
    reached = np.column_stack([bench.losses[:, bench.single], bench.losses.min(axis=1)])
    columns = np.hstack([reached, *(_columns(bench, shares) for shares in ways.values())])

    def outcomes(counts: Array) -> Array:
        """Return the measures (n_resamples, n_ways, n_measures)."""
        means = counts @ columns / n_prompts
        of = means[:, 2:].reshape(len(counts), len(ways), len(_MEASURED))
        single, oracle = means[:, None, 0], means[:, None, 1]
        headroom = np.maximum(single - oracle, SMALLEST)
        gap = (single - of[:, :, _MEASURED.index("mean_loss")]) / headroom
        return np.concatenate([of, gap[:, :, None]], axis=2)

    point = outcomes(np.ones((1, n_prompts)))[0]
    drawn = np.concatenate([outcomes(counts) for counts in resamples(n_prompts, repeats)])
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    names = (*_MEASURED, "oracle_gap_closed")
    return {
        way: Measures(
            **dict(zip(names, point[row].tolist(), strict=True)),
            intervals={
                name: (float(low[row, at]), float(high[row, at])) for at, name in enumerate(names)
            },
        )
        for row, way in enumerate(ways)
    }


def _columns(bench: Bench, shares: Array) -> Array:
    """Return what the measures are means of, (n_prompts, n_measures)."""
    loss = expected(shares, bench.losses)
    return np.column_stack(
        [
            expected(shares, is_best(bench.losses).astype(np.float64)),
            loss - bench.losses.min(axis=1),
            loss,
            expected(shares, bench.accuracy),
            shares @ bench.parameters,
        ]
    )


def expected(shares: Array, values: Array) -> Array:
    """Return the mean of each prompt's values over its shares, (n_prompts,)."""
    mean: Array = (shares * values).sum(axis=1)
    return mean


@dataclass(frozen=True)
class Lead:
    """By how much one way is ahead of another on the same prompts; more than 0 is better.

    Attributes:
        loss: Mean loss saved, in nats.
        selection_accuracy: Share of prompts that go to a best expert, more.
        intervals: The 95 % bootstrap interval of each.
    """

    loss: float
    selection_accuracy: float
    intervals: Mapping[str, Interval]


def lead(bench: Bench, one: Array, other: Array, repeats: int = 1000) -> Lead:
    """Return by how much one way is ahead of the other."""
    ahead = _columns(bench, one) - _columns(bench, other)
    right, saved = ahead[:, 0], -ahead[:, 2]
    return Lead(
        loss=float(saved.mean()),
        selection_accuracy=float(right.mean()),
        intervals={
            "loss": interval(saved, repeats),
            "selection_accuracy": interval(right, repeats),
        },
    )


def interval(values: Array, repeats: int = 1000) -> Interval:
    """Return the 95 % bootstrap interval of a mean over prompts."""
    return bootstrap_interval(values, repeats=repeats)


def by_domain(bench: Bench, ways: Mapping[str, Array]) -> dict[str, dict[str, dict[str, float]]]:
    """Return masked accuracy and loss of every expert and of some ways, by domain, then by name."""
    n_experts = len(bench.cards)
    alone = {
        name: np.tile(np.eye(n_experts)[at], (len(bench.table), 1))
        for at, name in enumerate(bench.cards.names)
    }
    labels = np.array(bench.table.domains)
    return {
        domain: {
            name: {
                "masked_accuracy": _mean(shares, bench.accuracy, labels == domain),
                "loss": _mean(shares, bench.losses, labels == domain),
            }
            for name, shares in {**alone, **ways}.items()
        }
        for domain in sorted(set(bench.table.domains))
    }


def _mean(shares: Array, values: Array, rows: NDArray[np.bool_]) -> float:
    return float(expected(shares[rows], values[rows]).mean())


def by_length(
    bench: Bench, ways: Mapping[str, Array], parts: int = 4
) -> list[dict[str, float | int]]:
    """Return the selection accuracy of some ways in equal parts of the prompts, by their length."""
    right = is_best(bench.losses).astype(np.float64)
    order = np.argsort(bench.tokens, kind="stable")
    return [
        {
            "from_tokens": int(bench.tokens[rows].min()),
            "to_tokens": int(bench.tokens[rows].max()),
            "prompts": len(rows),
            **{name: float(expected(s[rows], right[rows]).mean()) for name, s in ways.items()},
        }
        for rows in np.array_split(order, parts)
        if len(rows)
    ]


def allocation(domains: Sequence[str], shares: Array) -> dict[str, list[float]]:
    """Return the share of each domain's prompts that goes to each expert."""
    labels = np.array(domains)
    return {d: shares[labels == d].mean(axis=0).tolist() for d in sorted(set(domains))}


def purity(vectors: NDArray[np.float32], domains: Sequence[str], k: int = 10) -> Array:
    """Return the share of each prompt's k nearest neighbours that are of its domain, (n_prompts,).

    Nearest by cosine; chance is about the share that the domain has of all prompts.

    Args:
        vectors: (n_prompts, width).
        domains: n_prompts names.
        k: Neighbours, fewer where there are no more prompts.
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), SMALLEST)
    nearness = unit @ unit.T
    np.fill_diagonal(nearness, -np.inf)
    k = min(k, len(vectors) - 1)
    nearest = np.argpartition(-nearness, k - 1, axis=1)[:, :k]
    labels = np.array(domains)
    share: Array = (labels[nearest] == labels[:, None]).mean(axis=1)
    return share
