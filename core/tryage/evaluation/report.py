"""What an evaluation says: measures with intervals, for a predictor and for the baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tryage.evaluation.pair import Pair

Interval = tuple[float, float]


@dataclass(frozen=True)
class Measures:
    """How well a router does that follows one predictor; `None` where it cannot be known.

    Attributes:
        quality: Mean score of the models it chooses when cost does not count.
        selection_accuracy: Share of prompts on which that is a best model; ties are right.
        regret: Mean score that the best model of each prompt is ahead of it.
        oracle_gap_closed: Share of the way from the best single model to the oracle; negative
            where the best single model does better.
        headroom_captured: The same on the prompts alone that some models get right and some wrong.
        apgr: Average performance gap recovered between a weak and a strong model, .5 at random.
        cpt50: Share of calls to the strong model that recovers 50 % of the gap.
        cpt80: The same for 80 %.
        aiq: Mean height of the cost-quality curve between the cheapest and the dearest model.
        cost_at_parity: Cost relative to the best single model's, with the flag `worth_usd` chosen
            on the training part as the least that loses no quality; 1 where none does.
        parity_gain: Mean score ahead of the best single model at that worth; near 0 if the choice
            holds on the test part.
        calibration_error: Expected calibration error of the predicted quality, ten bins.
        seconds_per_1k: Time to predict a thousand prompts.
        intervals: The 95 % bootstrap interval, over prompts, of each of these.
    """

    quality: float | None = None
    selection_accuracy: float | None = None
    regret: float | None = None
    oracle_gap_closed: float | None = None
    headroom_captured: float | None = None
    apgr: float | None = None
    cpt50: float | None = None
    cpt80: float | None = None
    aiq: float | None = None
    cost_at_parity: float | None = None
    parity_gain: float | None = None
    calibration_error: float | None = None
    seconds_per_1k: float | None = None
    intervals: Mapping[str, Interval | None] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the measures as plain JSON values, with `intervals` for every one."""
        plain = asdict(self)
        given = plain.pop("intervals")
        intervals = {name: _listed(given.get(name)) for name in plain}
        return {**plain, "intervals": intervals}


@dataclass(frozen=True)
class Curve:
    """The cost and the quality of a router as an answer is worth less and less.

    Attributes:
        cost_usd: Mean USD a call at each worth, from where cost does not count to where nothing
            else does.
        quality: Mean score at each.
    """

    cost_usd: tuple[float, ...]
    quality: tuple[float, ...]


@dataclass(frozen=True)
class Prompts:
    """How many test prompts all models get right (a score of .5 or more), some, or none."""

    all_right: int
    some_right: int
    none_right: int


@dataclass(frozen=True)
class Evaluation:
    """A predictor beside the baselines, on prompts that none of them learned from.

    Attributes:
        name: What the predictor is registered as.
        predictor: Its measures.
        baselines: Theirs, by name: random, cheapest, best_single, prompt_length, per_domain_best
            (which is told the domain), knn, oracle (which is told the scores).
        models: What there was to choose from.
        unknown: Models that the predictor does not know, and so never chooses.
        pair: The strong and the weak model of APGR and CPT; chosen on the training part.
        prompts: The test prompts by difficulty.
        n_train: Prompts to learn from.
        curves: Of the predictor, under its name, and of the baselines; empty if costs are unknown.
        notes: Why a measure is `None`, by the measure.
    """

    name: str
    predictor: Measures
    baselines: Mapping[str, Measures]
    models: tuple[str, ...]
    unknown: tuple[str, ...]
    pair: Pair
    prompts: Prompts
    n_train: int
    curves: Mapping[str, Curve]
    notes: Mapping[str, str]

    @property
    def n_test(self) -> int:
        """Prompts that were judged on."""
        return sum(asdict(self.prompts).values())

    def as_json(self) -> dict[str, Any]:
        """Return all of it as plain JSON values."""
        return {
            "name": self.name,
            "predictor": self.predictor.as_json(),
            "baselines": {name: m.as_json() for name, m in self.baselines.items()},
            "models": list(self.models),
            "unknown": list(self.unknown),
            "pair": asdict(self.pair),
            "prompts": asdict(self.prompts),
            "n_train": self.n_train,
            "n_test": self.n_test,
            "curves": {name: _lists(curve) for name, curve in self.curves.items()},
            "notes": dict(self.notes),
        }


def _listed(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _lists(curve: Curve) -> dict[str, list[float]]:
    return {"cost_usd": list(curve.cost_usd), "quality": list(curve.quality)}
