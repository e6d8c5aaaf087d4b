"""Accuracy given up for size: the router under flags, from quality alone to the smallest expert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tryage.data import PerformanceTable
from tryage.flag_text import take_from_prompt
from tryage.flags import Flags
from tryage.paper.choosing import Array, one_each
from tryage.paper.results import Bench, Interval, expected, interval
from tryage.predictors.baselines import OraclePredictor
from tryage.router import Router

Qualities = Sequence[NDArray[np.float32]]
"""What each seed of a router predicts, (n_prompts, n_experts)."""

FLAGS = ("Smallest model", "size=0.05", "size=0.01", "Recent model")
"""Marks that are put before every prompt, to see what they change."""

TOLERATED = 0.01
"""Relative loss of masked accuracy that a smaller expert may cost."""

_STAGES = {"low": 0.1, "middle": 0.5, "high": 0.9}


@dataclass(frozen=True)
class Point:
    """The routed system under one weight λ on size.

    Attributes:
        weight: λ.
        mean_parameters: Mean weights of the expert chosen.
        masked_accuracy: Share of masks filled rightly.
        mean_loss: In nats.
        allocation: Share of the prompts that goes to each expert.
    """

    weight: float
    mean_parameters: float
    masked_accuracy: float
    mean_loss: float
    allocation: tuple[float, ...]


@dataclass(frozen=True)
class Saving:
    """How small the experts can be for at most a hundredth less accuracy, on the test prompts.

    λ is chosen on the validation prompts, so that the accuracy here may fall by more.

    Attributes:
        weight: λ.
        mean_parameters: Mean weights of the expert chosen.
        of_best_single: That relative to the best single expert's.
        accuracy_change: Relative change of masked accuracy against λ = 0.
        change_from_best_single: Likewise against the best single expert.
        intervals: The 95 % bootstrap interval of the last three.
    """

    weight: float
    mean_parameters: float
    of_best_single: float
    accuracy_change: float
    change_from_best_single: float
    intervals: Mapping[str, Interval]


def flagged(bench: Bench, qualities: Qualities, flags: Flags) -> Array:
    """Return the shares of a router under flags, each seed's choice made by `Router`."""
    picks = []
    for quality in qualities:
        router = Router(bench.cards, _remembered(bench.table, quality))
        decisions = router.route_batch(bench.table.prompts, flags)
        chosen = [bench.cards.position(decision.model) for decision in decisions]
        picks.append(one_each(np.array(chosen, dtype=np.intp), len(bench.cards)))
    shares: Array = np.mean(picks, axis=0)
    return shares


def _remembered(table: PerformanceTable, quality: NDArray[np.float32]) -> OraclePredictor:
    """Return a predictor that looks predictions up: an encoder need not read for every flag."""
    return OraclePredictor().fit(
        PerformanceTable.from_scores(table.prompts, table.models, np.clip(quality, 0, 1))
    )


def sweep(bench: Bench, qualities: Qualities, lambdas: Sequence[float]) -> list[Point]:
    """Return the front, one point for each λ on size."""
    return [_point(bench, flagged(bench, qualities, Flags(size=w)), w) for w in lambdas]


def _point(bench: Bench, shares: Array, weight: float) -> Point:
    return Point(
        weight=weight,
        mean_parameters=float((shares @ bench.parameters).mean()),
        masked_accuracy=float(expected(shares, bench.accuracy).mean()),
        mean_loss=float(expected(shares, bench.losses).mean()),
        allocation=tuple(shares.mean(axis=0).tolist()),
    )


def stages(front: Sequence[Point]) -> dict[str, Point]:
    """Return the points of low, middle and high λ.

    There the mean size has come nearest to 10, 50 and 90 % of the way from its most to its least.
    """
    sizes = np.array([point.mean_parameters for point in front])
    span = sizes.max() - sizes.min()
    return {
        name: front[int(np.abs(sizes - (sizes.max() - share * span)).argmin())]
        for name, share in _STAGES.items()
    }


def saving(front: Sequence[Point], bench: Bench, qualities: Qualities) -> Saving:
    """Return how small the experts can be for 1 % less accuracy.

    Args:
        front: The sweep on the validation prompts, which chooses λ.
        bench: The test prompts.
        qualities: Predictions for these.
    """
    least = front[0].masked_accuracy * (1 - TOLERATED)
    weight = min(
        (point for point in front if point.masked_accuracy >= least),
        key=lambda point: point.mean_parameters,
    ).weight
    small = flagged(bench, qualities, Flags(size=weight))
    now = expected(small, bench.accuracy)
    at_zero = expected(flagged(bench, qualities, Flags()), bench.accuracy)
    single = bench.accuracy[:, bench.single]
    sizes = (small @ bench.parameters) / bench.parameters[bench.single]
    # A ratio of means, its numerator resampled; the denominator moves little beside it.
    change = (now - at_zero) / at_zero.mean()
    from_single = (now - single) / single.mean()
    columns = {
        "of_best_single": sizes,
        "accuracy_change": change,
        "change_from_best_single": from_single,
    }
    return Saving(
        weight=weight,
        mean_parameters=float((small @ bench.parameters).mean()),
        **{name: float(values.mean()) for name, values in columns.items()},
        intervals={name: interval(values) for name, values in columns.items()},
    )


def under_marks(bench: Bench, qualities: Qualities) -> dict[str, Point]:
    """Return what marks such as `[Flag: Smallest model]` before every prompt change, by mark."""
    found = {}
    for words in FLAGS:
        mark = f"[Flag: {words}]"
        flags = take_from_prompt(f"{mark} {bench.table.prompts[0]}")[1]
        assert flags is not None
        found[mark] = _point(bench, flagged(bench, qualities, flags), flags.size or 0.0)
    return found
