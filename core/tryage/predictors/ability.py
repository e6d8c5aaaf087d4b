"""How able a model is, judged by its card.

Ability is one number per model, in log-odds of being right on MMLU-Pro. Every published accuracy is
a noisy reading of it, `logit(accuracy) = level + slope * ability + noise`, with a positive slope;
size, price and release date give the prior. This is a one-factor model as in Spearman, *"General
Intelligence", Objectively Determined and Measured* (1904), which benchmark tables follow closely
(Ruan, Maddison and Hashimoto, *Observational Scaling Laws*, 2024), fitted by expectation and
maximisation over the cards of a library.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tryage.cards import ModelCard

Array = NDArray[np.float64]

YARDSTICK = "mmlu_pro"
"""The benchmark whose log-odds are the unit of ability."""

BARE_SD = 1.0
"""A card that says nothing is placed this many standard deviations below the average card."""

BARE_DOUBT = 2.0
"""And may be this many off: it can stand above all known models, as new models do."""

_ROUNDS = 60


@dataclass(frozen=True)
class CardPrior:
    """The reading of a model's ability off its card.

    Attributes:
        readings: By benchmark: level, slope (above 0) and standard deviation of the noise.
        facts: By the facts that a card states (`"size"`, `"price,date"`, ...): the intercept, one
            slope for each of these facts, and the standard deviation of what they leave open.
        mean: Ability of the average card.
        sd: Spread of ability over cards.
    """

    readings: Mapping[str, Sequence[float]]
    facts: Mapping[str, Sequence[float]]
    mean: float
    sd: float

    def estimate(self, cards: Iterable[ModelCard]) -> Array:
        """Return the abilities read off the cards, float64 (n_cards,), in log-odds of MMLU-Pro.

        Each rises with every accuracy on its card. A card without benchmarks is judged by its
        facts; one without facts either is taken for `BARE_SD` below the average.
        """
        return np.array([self.read(card)[0] for card in cards])

    def read(self, card: ModelCard) -> tuple[float, float]:
        """Return the ability read off a card, and the standard deviation of what is left open."""
        pattern, values = _facts(card)
        known = [(self.readings[n], v) for n, v in card.benchmarks.items() if n in self.readings]
        if pattern in self.facts:
            intercept, *slopes, sd = self.facts[pattern]
            mean = intercept + sum(s * v for s, v in zip(slopes, values, strict=True))
        elif known:
            mean, sd = self.mean, self.sd
        else:
            return self.mean - BARE_SD * self.sd, BARE_DOUBT * self.sd
        weight = 1 / sd**2
        total = weight * mean
        for (level, slope, noise), accuracy in known:
            total += slope / noise**2 * (log_odds(accuracy) - level)
            weight += slope**2 / noise**2
        return total / weight, weight**-0.5

    def to_json(self) -> dict[str, Any]:
        """Return the same as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> CardPrior:
        """Return the prior that `to_json` gave."""
        return cls(**plain)


def fit_prior(
    cards: Sequence[ModelCard], evidence: Mapping[str, Mapping[int, float]] | None = None
) -> tuple[CardPrior, Array]:
    """Return the prior fitted to cards and to measured means, and the ability of each card.

    Args:
        cards: n_cards cards; at least one.
        evidence: By table: the mean score in [0, 1] of cards, by their number. A table is one more
            benchmark here, but left out of the prior; see `placing.read_through`.

    Returns:
        The prior, and float64 (n_cards,): abilities given cards and tables together.
    """
    names = sorted({name for card in cards for name in card.benchmarks} | {YARDSTICK})
    tables = dict(evidence or {})
    y = np.full((len(cards), len(names) + len(tables)), np.nan)
    for row, card in enumerate(cards):
        for name, accuracy in card.benchmarks.items():
            y[row, names.index(name)] = log_odds(accuracy)
    for column, means in enumerate(tables.values(), start=len(names)):
        for row, mean in means.items():
            y[row, column] = log_odds(mean)
    ability, readings, facts = _expect_and_maximise(y, [_facts(card) for card in cards])
    level, slope, _ = readings[names.index(YARDSTICK)]
    prior = CardPrior(
        readings={
            name: (float(lv - sl / slope * level), float(sl / slope), float(noise))
            for name, (lv, sl, noise) in zip(names, readings, strict=False)
        },
        facts={
            pattern: (level + slope * c[0], *(slope * v for v in c[1:]))
            for pattern, c in facts.items()
        },
        mean=float(level + slope * ability.mean()),
        sd=float(slope * max(ability.std(), 0.3)),
    )
    return prior, level + slope * ability


def place(demands: Array, scores: Array, start: Array, spread: Array) -> Array:
    """Return one model's ability vector from its scores on a few prompts, float64 (n_demands,).

    The most probable vector under the cross-entropy of the scores and a normal prior around
    `start`, by Newton's method.

    Args:
        demands: (n_prompts, n_demands), what the prompts demand.
        scores: (n_prompts,) in [0, 1].
        start: (n_demands,), what the card says.
        spread: (n_demands,), how far models lie from what their cards say; 0 keeps a number.
    """
    ability = start.copy()
    free = np.flatnonzero(spread > 1e-6)
    x = np.asarray(demands, dtype=np.float64)
    precision = 1 / spread[free].astype(np.float64) ** 2
    for _ in range(20):
        expected = 1 / (1 + np.exp(-np.clip(x @ ability, -30, 30)))
        slope = x[:, free].T @ (expected - scores) + precision * (ability - start)[free]
        curve = (x[:, free].T * (expected * (1 - expected))) @ x[:, free] + np.diag(precision)
        step = np.linalg.solve(curve, slope)
        # Short steps cannot overshoot where the curve is flat.
        ability[free] -= step / max(1.0, float(np.abs(step).max()))
    return ability


def log_odds(share: float) -> float:
    """Return the log-odds of a share, which is kept off 0 and 1."""
    share = min(max(share, 0.01), 0.99)
    return math.log(share / (1 - share))


def _facts(card: ModelCard) -> tuple[str, list[float]]:
    """Return which facts a card states, and their values: log size, log price, years."""
    size = card.parameters or card.active_parameters
    price = card.output_usd_per_mtok
    stated = {
        "size": None if size is None else math.log10(size) - 10,
        "price": None if price is None else math.log10(max(price, 0.01)),
        "date": None if card.released is None else (card.released.toordinal() - 738_900) / 365.25,
    }
    known = {name: value for name, value in stated.items() if value is not None}
    return ",".join(known), list(known.values())


def _expect_and_maximise(
    y: Array, facts: Sequence[tuple[str, list[float]]]
) -> tuple[Array, list[tuple[float, float, float]], dict[str, tuple[float, ...]]]:
    """Return abilities with mean 0 and spread 1 at the start, the readings, and facts' slopes."""
    seen = ~np.isnan(y)
    y = np.where(seen, y, 0.0)
    n, k = y.shape
    level, slope, noise = np.zeros(k), np.ones(k), np.full(k, 0.7)
    level = (y.sum(0)) / np.maximum(seen.sum(0), 1)
    prior, spread = np.zeros(n), np.ones(n)
    fitted: dict[str, tuple[float, ...]] = {}
    ability = prior
    for _ in range(_ROUNDS):
        weight = seen @ (slope**2 / noise**2) + 1 / spread**2
        ability = ((seen * (y - level)) @ (slope / noise**2) + prior / spread**2) / weight
        variance = 1 / weight
        informed = np.asarray(seen.any(axis=1))
        centre = ability[informed].mean() if informed.any() else 0.0
        level, slope, noise = _read(y, seen, ability - centre, variance)
        ability = ability - centre
        fitted, prior, spread = _regress(facts, ability, variance, informed)
    readings = [(float(a), float(b), float(c)) for a, b, c in zip(level, slope, noise, strict=True)]
    return ability, readings, fitted


def _read(y: Array, seen: NDArray[np.bool_], ability: Array, variance: Array) -> tuple[Array, ...]:
    """Return each benchmark's level, slope and noise, drawn to 1 where few cards state it."""
    count = seen.sum(0)
    total = np.maximum(count, 1)
    mean_y = y.sum(0) / total
    mean_a = (seen * ability[:, None]).sum(0) / total
    off = seen * (ability[:, None] - mean_a)
    # Two cards' worth of a slope of 1 keeps a benchmark with few figures sane.
    slope = ((off * (y - mean_y)).sum(0) + 2) / ((off**2 + seen * variance[:, None]).sum(0) + 2)
    slope = np.clip(slope, 0.15, 3)
    level = (mean_y - slope * mean_a) * count / (count + 0.5)
    left = seen * (y - level - slope * ability[:, None])
    noise2 = ((left**2 + seen * slope**2 * variance[:, None]).sum(0) + 2 * 0.5**2) / (count + 2)
    return level, slope, np.sqrt(np.maximum(noise2, 0.15**2))


def _regress(
    facts: Sequence[tuple[str, list[float]]],
    ability: Array,
    variance: Array,
    informed: NDArray[np.bool_],
) -> tuple[dict[str, tuple[float, ...]], Array, Array]:
    """Return ability as a line in the facts, for each set of facts that cards state."""
    prior, spread = np.zeros(len(facts)), np.ones(len(facts))
    fitted: dict[str, tuple[float, ...]] = {}
    for pattern in sorted({p for p, _ in facts} - {""}):
        wanted = set(pattern.split(","))
        # Cards that state more teach too: the facts beyond these are left out.
        rows, values = [], []
        for row, (stated, numbers) in enumerate(facts):
            have = dict(zip(stated.split(","), numbers, strict=False))
            if wanted <= have.keys():
                rows.append(row)
                values.append([1.0, *(have[name] for name in pattern.split(","))])
        x, chosen = np.array(values), np.array(rows)
        use = informed[chosen]
        a, b, v = x[use], ability[chosen][use], variance[chosen][use]
        penalty = np.diag([0.1, *([1.0] * len(wanted))])
        line = np.linalg.solve(a.T @ a + penalty, a.T @ b)
        sd = math.sqrt(((b - a @ line) ** 2 + v).sum() / len(b)) if len(b) > 3 else 1.0
        fitted[pattern] = (*line.tolist(), max(sd, 0.3))
        same = np.array([facts[row][0] == pattern for row in rows])
        prior[chosen[same]], spread[chosen[same]] = (x @ line)[same], fitted[pattern][-1]
    return fitted, prior, spread
