"""All that the experiment found, put together: measures, tables, figures' data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tryage.data import PerformanceTable
from tryage.library import Library
from tryage.paper import choosing
from tryage.paper.choosing import Array
from tryage.paper.results import (
    Bench,
    Interval,
    Lead,
    Measures,
    allocation,
    by_domain,
    by_length,
    expected,
    interval,
    lead,
    measure,
    purity,
)
from tryage.paper.sweep import Point, Qualities, Saving, saving, stages, sweep, under_marks
from tryage.predictors.perceptive import PerceptivePredictor

if TYPE_CHECKING:
    from tryage.paper.joint import Comparison

Row = dict[str, Any]

RIVALS = ("best_single", "per_domain_best", "per_domain_usual", "knn", "descriptions")
"""What the router's lead is measured over."""


@dataclass(frozen=True)
class Seed:
    """One router, trained from one seed.

    Attributes:
        router: Which kind: the loss that it learned by.
        seed: The seed.
        selection_accuracy: Share of prompts that go to a best expert.
        mean_loss: In nats.
        below_best_single: Whether that is less than the best single expert's.
    """

    router: str
    seed: int
    selection_accuracy: float
    mean_loss: float
    below_best_single: bool


@dataclass(frozen=True, eq=False)
class Embedding:
    """The test prompts as the encoder sees them, before and after it learned to route.

    Attributes:
        before: Vectors of the encoder that training began with, (n_prompts, width).
        after: Vectors of the router.
        purity_before: Mean share of a prompt's ten nearest neighbours that are of its domain.
        purity_after: The same of the router.
        gain: By how much it is more.
        gain_interval: Its 95 % bootstrap interval over prompts.
    """

    before: NDArray[np.float32]
    after: NDArray[np.float32]
    purity_before: float
    purity_after: float
    gain: float
    gain_interval: Interval

    @classmethod
    def of(
        cls, before: NDArray[np.float32], after: NDArray[np.float32], domains: Sequence[str]
    ) -> Embedding:
        """Return both embeddings with their purities."""
        pure = [purity(vectors, domains) for vectors in (before, after)]
        gains = pure[1] - pure[0]
        return cls(
            before=before,
            after=after,
            purity_before=float(pure[0].mean()),
            purity_after=float(pure[1].mean()),
            gain=float(gains.mean()),
            gain_interval=interval(gains),
        )


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the experiment found on the test prompts.

    Attributes:
        bench: The test prompts.
        headline: The kind of router that did best on the validation prompts; the one that the
            front, the allocations and the embedding are of.
        ways: The measures of every way of choosing, by name.
        leads: By how much the headline is ahead of its rivals.
        seeds: Every router by itself.
        domains: Masked accuracy and loss by domain and expert.
        lengths: Selection accuracy by the prompts' length.
        routed: Where the headline sends each domain.
        best: Where each domain's best experts are.
        front: The λ sweep on the test prompts.
        saving: How small the experts can be for 1 % less accuracy.
        marks: The headline under marks in the prompt.
        embedding: What the encoder learned of domains.
        joint: Joint training beside training apart, where that was run.
    """

    bench: Bench
    headline: str
    ways: Mapping[str, Measures]
    leads: Mapping[str, Lead]
    seeds: Sequence[Seed]
    domains: Mapping[str, Mapping[str, Mapping[str, float]]]
    lengths: Sequence[Row]
    routed: Mapping[str, Sequence[float]]
    best: Mapping[str, Sequence[float]]
    front: Sequence[Point]
    saving: Saving
    marks: Mapping[str, Point]
    embedding: Embedding
    joint: Comparison | None = None

    @property
    def stages(self) -> dict[str, Point]:
        """The front's points of low, middle and high λ."""
        return stages(self.front)

    def results(self) -> Row:
        """Return the results that count, as plain JSON values, with their intervals."""
        routed, ways = self.ways[self.headline], self.ways
        apart: Row = {}
        if self.joint is not None:
            apart = {"joint_loss_saved": self.joint.saved}
        return {
            "router": self.headline,
            **{name: value for name, value in asdict(routed).items() if name != "intervals"},
            "best_single_loss": ways["best_single"].mean_loss,
            "per_domain_best_loss": ways["per_domain_best"].mean_loss,
            "per_domain_best_selection_accuracy": ways["per_domain_best"].selection_accuracy,
            "per_domain_best_gap_closed": ways["per_domain_best"].oracle_gap_closed,
            "per_domain_usual_selection_accuracy": ways["per_domain_usual"].selection_accuracy,
            "oracle_loss": ways["oracle"].mean_loss,
            "below_best_single_on_every_seed": all(
                seed.below_best_single for seed in self.seeds if seed.router == self.headline
            ),
            "parameters_at_1_percent": self.saving.of_best_single,
            "purity_gain": self.embedding.gain,
            **apart,
            "intervals": {
                **{name: list(ends) for name, ends in routed.intervals.items()},
                "best_single_loss": list(ways["best_single"].intervals["mean_loss"]),
                "per_domain_best_loss": list(ways["per_domain_best"].intervals["mean_loss"]),
                "oracle_loss": list(ways["oracle"].intervals["mean_loss"]),
                "parameters_at_1_percent": list(self.saving.intervals["of_best_single"]),
                "purity_gain": list(self.embedding.gain_interval),
                **(
                    {"joint_loss_saved": list(self.joint.saved_interval)}
                    if self.joint is not None
                    else {}
                ),
            },
        }

    def tables(self) -> dict[str, list[Row]]:
        """Return every table as rows of plain values, by name."""
        names = self.bench.cards.names
        found: dict[str, list[Row]] = {
            "ways": [{"way": name, **_flat(m)} for name, m in self.ways.items()],
            "leads": [{"over": name, **_flat(ahead)} for name, ahead in self.leads.items()],
            "seeds": [asdict(seed) for seed in self.seeds],
            "lengths": list(self.lengths),
            "domains": [
                {"domain": domain, "expert": name, **cells}
                for domain, row in self.domains.items()
                for name, cells in row.items()
            ],
            "allocation": [
                {"domain": domain, "expert": name, "routed": routed, "best": best}
                for domain in self.routed
                for name, routed, best in zip(
                    names, self.routed[domain], self.best[domain], strict=True
                )
            ],
            "front": [_of_point(point, names) for point in self.front],
            "marks": [{"mark": mark, **_of_point(p, names)} for mark, p in self.marks.items()],
        }
        if self.joint is not None:
            found["joint"] = [
                {
                    "training": name,
                    "seed": seed,
                    **{key: value for key, value in asdict(arm).items() if np.isscalar(value)},
                }
                for name, arms in self.joint.arms.items()
                for seed, arm in enumerate(arms)
            ]
        return found


def _flat(measured: Measures | Lead) -> Row:
    plain = asdict(measured)
    ends = plain.pop("intervals")
    return {
        key: value
        for name in plain
        for key, value in (
            (name, plain[name]),
            (f"{name}_low", ends[name][0]),
            (f"{name}_high", ends[name][1]),
        )
    }


def _of_point(point: Point, names: Sequence[str]) -> Row:
    plain = asdict(point)
    shares = plain.pop("allocation")
    return {**plain, **{f"to_{name}": share for name, share in zip(names, shares, strict=True)}}


def conclude(
    learned: PerformanceTable,
    validation: PerformanceTable,
    test: PerformanceTable,
    cards: Library,
    descriptions: Mapping[str, str],
    routers: Mapping[str, Sequence[PerceptivePredictor]],
    lambdas: Sequence[float],
    joint: Comparison | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Outcome:
    """Return what the experiment found; all that is chosen is chosen on the validation prompts.

    Args:
        learned: The prompts that the routers learned from, with `loss`, `accuracy` and `tokens`.
        validation: The prompts that choices are made on.
        test: The prompts that the results are measured on.
        cards: One card per expert, with its parameters.
        descriptions: What is told of each expert, by name.
        routers: Fitted, by kind, one for each seed.
        lambdas: Weights on size to sweep, from 0 up.
        joint: What joint training found.
        progress: Called with what is being done.
    """
    learned, validation, test = (t.only(cards.names) for t in (learned, validation, test))
    judged, bench = (Bench.of(table, cards, learned) for table in (validation, test))
    progress("baselines")
    ways = choosing.baselines(learned, test, bench.cards, descriptions)
    tried: dict[str, Qualities] = {}
    made: dict[str, Qualities] = {}
    for kind, seeds in routers.items():
        progress(f"predictions of {kind}")
        bound = [router.for_library(bench.cards) for router in seeds]
        tried[kind] = [router.predict(validation.prompts) for router in bound]
        made[kind] = [router.predict(test.prompts) for router in bound]
        ways[kind] = choosing.routed(made[kind])
    ways["oracle"] = ways.pop("oracle")  # last, as what none can pass
    headline = min(routers, key=lambda kind: _mean_loss(judged, choosing.routed(tried[kind])))
    shown = {name: ways[name] for name in (headline, "per_domain_best", "oracle")}
    progress("the λ sweep")
    router = routers[headline][0]
    return Outcome(
        bench=bench,
        headline=headline,
        ways=measure(bench, ways),
        leads={name: lead(bench, ways[headline], ways[name]) for name in RIVALS},
        seeds=[
            _seed(bench, kind, router.seed, quality)
            for kind in routers
            for router, quality in zip(routers[kind], made[kind], strict=True)
        ],
        domains=by_domain(bench, {"routed": ways[headline], "oracle": ways["oracle"]}),
        lengths=by_length(bench, shown),
        routed=allocation(test.domains, ways[headline]),
        best=allocation(test.domains, ways["oracle"]),
        front=sweep(bench, made[headline], lambdas),
        saving=saving(sweep(judged, tried[headline], lambdas), bench, made[headline]),
        marks=under_marks(bench, made[headline]),
        embedding=Embedding.of(
            router.embed_untrained(test.prompts), router.embed(test.prompts), test.domains
        ),
        joint=joint,
    )


def _mean_loss(bench: Bench, shares: Array) -> float:
    return float(expected(shares, bench.losses).mean())


def _seed(bench: Bench, kind: str, seed: int, quality: NDArray[np.float32]) -> Seed:
    shares = choosing.routed([quality])
    loss = _mean_loss(bench, shares)
    right = choosing.is_best(bench.losses).astype(np.float64)
    return Seed(
        router=kind,
        seed=seed,
        selection_accuracy=float(expected(shares, right).mean()),
        mean_loss=loss,
        below_best_single=loss < float(bench.losses[:, bench.single].mean()),
    )
