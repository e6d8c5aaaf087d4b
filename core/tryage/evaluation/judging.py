"""From predictions to measures, each with its bootstrap interval over prompts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tryage.data.table import PerformanceTable
from tryage.evaluation.contenders import Predictions
from tryage.evaluation.costs import Costs, aiq, column_means, sweep, worths_of
from tryage.evaluation.measures import (
    bootstrap_interval,
    calibration_gaps,
    hits,
    regrets,
    resamples,
    routed_scores,
)
from tryage.evaluation.pair import Pair, Recovery
from tryage.evaluation.report import Curve, Interval, Measures, Prompts

Array = NDArray[np.float64]

RIGHT = 0.5
_Statistics = Callable[[Array], dict[str, Array]]
_PAIR = ("apgr", "cpt50", "cpt80")


@dataclass(frozen=True, eq=False)
class Bench:
    """A table with what the measures of every contender have in common.

    Attributes:
        table: The prompts to judge on.
        single: Predictions of the best single model, from the training part.
        costs: Of each call; `None` if unknown.
    """

    table: PerformanceTable
    single: Predictions
    costs: Costs | None

    @cached_property
    def single_scores(self) -> Array:
        """The best single model's scores, (n_prompts,)."""
        return routed_scores(self.single.quality, self.table.scores)

    @cached_property
    def single_usd(self) -> Array:
        """What its calls cost, (n_prompts,)."""
        assert self.costs is not None
        _, usd = sweep(self.single.quality, self.costs, self.table.scores, np.array([np.inf]))
        paid: Array = usd[:, 0]
        return paid

    @cached_property
    def best_scores(self) -> Array:
        """The best score of each prompt, (n_prompts,)."""
        best: Array = np.nanmax(self.table.scores, axis=1).astype(np.float64)
        return best

    @cached_property
    def middle(self) -> NDArray[np.bool_]:
        """Prompts that some models get right and some wrong, (n_prompts,)."""
        right = (self.table.scores >= RIGHT).sum(axis=1)
        wrong = (self.table.scores < RIGHT).sum(axis=1)
        some: NDArray[np.bool_] = (right > 0) & (wrong > 0)
        return some

    def prompts(self) -> Prompts:
        """Return how many prompts all models get right, some, or none."""
        none = int((~(self.table.scores >= RIGHT).any(axis=1)).sum())
        some = int(self.middle.sum())
        return Prompts(len(self.table) - none - some, some, none)

    @cached_property
    def cost_range(self) -> tuple[float, float]:
        """Mean USD a call of the cheapest model and of the dearest; (0, 0) if unknown."""
        if self.costs is None:
            return 0.0, 0.0
        usd = np.where(np.isnan(self.table.scores), np.nan, self.costs.actual)
        means = column_means(usd)
        return float(np.nanmin(means)), float(np.nanmax(means))

    @cached_property
    def worths(self) -> Array:
        """What an answer may be worth in USD, from infinity down, (n_worths,)."""
        assert self.costs is not None
        return worths_of(self.costs, self.table.scores)

    def sweep(self, quality: Array) -> tuple[Array, Array]:
        """Return the score and the cost of each prompt's model, (n_prompts, n_worths) each."""
        assert self.costs is not None
        return sweep(quality, self.costs, self.table.scores, self.worths)

    def parity_worth(self, quality: Array) -> float:
        """Return the least worth of an answer before a router first loses to the best single model.

        What it gains at a lesser worth is luck. NaN where it is behind already when cost does not
        count, or costs more even so: then the best single model is called.
        """
        routed, usd = self.sweep(quality)
        behind = routed.mean(axis=0) < self.single_scores.mean() - 1e-12
        level = int(behind.argmax()) if behind.any() else len(behind)
        no_dearer = level > 0 and usd[:, level - 1].mean() <= self.single_usd.mean()
        return float(self.worths[level - 1]) if no_dearer else np.nan


@dataclass(frozen=True, eq=False)
class Judge:
    """Measures contenders on one bench; all of them on the same resamples.

    Attributes:
        bench: What to judge on.
        pair: The strong and the weak model.
        repeats: Resamples.
        seed: Of the resamples.
    """

    bench: Bench
    pair: Pair
    repeats: int = 1000
    seed: int = 0

    def measure(self, made: Predictions, parity: float | None = None) -> Measures:
        """Return a contender's measures.

        Args:
            made: Its predictions on the bench.
            parity: The worth of an answer that loses no quality; NaN where none does, and the best
                single model is called; `None` if it was not sought.
        """
        n_prompts = len(self.bench.table)
        of_means, columns = self._of_means(made, parity)
        of_pair = self._of_pair(made.quality)

        def statistics(counts: Array) -> dict[str, Array]:
            return {**of_means(counts @ columns / n_prompts), **of_pair(counts)}

        point = statistics(np.ones((1, n_prompts)))
        parts = [statistics(counts) for counts in resamples(n_prompts, self.repeats, self.seed)]
        measured = {name: _finite(float(value[0])) for name, value in point.items()}
        intervals = {
            name: None if value is None else _interval(np.concatenate([p[name] for p in parts]))
            for name, value in measured.items()
        }
        seconds = 1000 * made.seconds
        return Measures(
            **measured,
            seconds_per_1k=float(seconds.mean()),
            intervals={**intervals, "seconds_per_1k": bootstrap_interval(seconds, seed=self.seed)},
        )

    def curve(self, made: Predictions) -> Curve:
        """Return a contender's cost and quality at each worth of an answer."""
        routed, usd = self.bench.sweep(made.quality)
        return Curve(tuple(usd.mean(axis=0).tolist()), tuple(routed.mean(axis=0).tolist()))

    def _of_means(self, made: Predictions, parity: float | None) -> tuple[_Statistics, Array]:
        """Return columns per prompt, and the measures that follow from the columns' means."""
        bench, scores = self.bench, self.bench.table.scores
        routed, middle = routed_scores(made.quality, scores), self.bench.middle
        columns = {
            "quality": routed,
            "selection_accuracy": hits(made.quality, scores),
            "regret": regrets(made.quality, scores),
            "calibration_error": calibration_gaps(made.quality, scores),
            "lead": routed - bench.single_scores,
            "headroom": bench.best_scores - bench.single_scores,
            "middle_lead": middle * (routed - bench.single_scores),
            "middle_headroom": middle * (bench.best_scores - bench.single_scores),
        }
        if bench.costs is not None and parity is not None:
            columns |= self._at_parity(made.quality, parity)
        place = {name: at for at, name in enumerate(columns)}
        swept = bench.sweep(made.quality) if bench.costs is not None else ()
        low, high = bench.cost_range

        def measures(means: Array) -> dict[str, Array]:
            of = {name: means[:, at] for name, at in place.items()}
            found = {name: of[name] for name in ("quality", "selection_accuracy", "regret")}
            found["calibration_error"] = np.abs(of["calibration_error"])
            found["oracle_gap_closed"] = _ratio(of["lead"], of["headroom"])
            found["headroom_captured"] = _ratio(of["middle_lead"], of["middle_headroom"])
            if "parity_cost" in of:
                found["cost_at_parity"] = _ratio(of["parity_cost"], of["single_cost"])
                found["parity_gain"] = of["parity_gain"]
            if swept and high > low:
                heights, usd = np.split(means[:, len(place) :], 2, axis=1)
                pairs = zip(usd, heights, strict=True)
                found["aiq"] = np.array([aiq(x, y, low, high) for x, y in pairs])
            return found

        return measures, np.column_stack([*columns.values(), *swept])

    def _at_parity(self, quality: Array, worth: float) -> dict[str, Array]:
        bench = self.bench
        assert bench.costs is not None
        routed, paid = bench.single_scores, bench.single_usd
        if not np.isnan(worth):
            swept = sweep(quality, bench.costs, bench.table.scores, np.array([worth]))
            routed, paid = (values[:, 0] for values in swept)
        return {
            "parity_cost": paid,
            "single_cost": bench.single_usd,
            "parity_gain": routed - bench.single_scores,
        }

    def _of_pair(self, quality: Array) -> _Statistics:
        """Return how APGR and CPT follow from how often each prompt counts."""
        models, scores = self.bench.table.models, self.bench.table.scores
        strong, weak = models.index(self.pair.strong), models.index(self.pair.weak)
        rows = np.flatnonzero(~np.isnan(scores[:, [strong, weak]]).any(axis=1))
        preferred = quality[rows][:, [strong, weak]]
        if not len(rows) or not np.isfinite(preferred).all():
            return lambda counts: {}
        recovery = Recovery(
            preferred[:, 0] - preferred[:, 1], scores[rows, weak], scores[rows, strong]
        )
        return lambda counts: dict(zip(_PAIR, recovery.measures(counts[:, rows]).T, strict=True))


def _ratio(part: Array, whole: Array) -> Array:
    possible = whole > 1e-12
    ratio: Array = np.where(possible, part / np.where(possible, whole, 1), np.nan)
    return ratio


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _interval(values: Array) -> Interval | None:
    """Return where 95 % of the resamples lie, but for those in which there is no such measure."""
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)
