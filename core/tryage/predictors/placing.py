"""Where a new model stands among the known ones, from a few scores or a published mean.

An item response model (Birnbaum, 1968) read in both directions. The scores of known models tell how
hard each prompt really is and how much ability tells on it, which its text only hints at; prompts
known so well then place the new model. The choice of prompts is optimal design: after each anchor,
the next is the one that tells most about what is still open (Fedorov, *Theory of Optimal
Experiments*, 1972; for evaluation, Polo et al., *tinyBenchmarks*, 2024), each domain in its turn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tryage.data.table import PerformanceTable
from tryage.library import Library
from tryage.predictors.ability import CardPrior, log_odds, place
from tryage.predictors.demand import DISCRIMINATION, EASE

Array = NDArray[np.float64]

# How far a prompt's ease and discrimination lie from what its text foretells, chosen by the
# log loss of models held out of the training rows of two tables, the best models among them: a
# larger spread for discrimination takes luck for steepness and rates such models too low.
_EASE_SD, _DISCRIMINATION_SD = 1.5, 0.8
# Anchors are chosen for a model whose strengths lie this many times as far out as those of known
# ones: most new models need only their general ability found, but the strange ones cost most.
_STRANGE = 3.0
_LEAST = 0.05
_FREE = 10.0
_GRID = 15
# A published accuracy is off a table's mean by this much, in log-odds, as if seen on two cards.
_GAP, _GAP_CARDS = 0.15, 2
_PROMPTS = 2000
_WHOLE = 400


def refine(demands: Array, vectors: Array, scores: Array) -> Array:
    """Return demands moved to where the scores of known models put them, (n_prompts, n_demands).

    Ease and discrimination of each prompt are the most probable ones under the cross-entropy of
    the scores and a normal prior around what the text foretells; the other demands stay.

    Args:
        demands: (n_prompts, n_demands), as foretold.
        vectors: (n_demands, n_models), the abilities of known models.
        scores: (n_prompts, n_models) in [0, 1], NaN where not measured.
    """
    seen = ~np.isnan(scores)
    scores = np.where(seen, scores, 0.0)
    centre = vectors[DISCRIMINATION].mean() if vectors.shape[1] else 0.0
    ability = vectors[DISCRIMINATION] - centre
    foretold = demands @ vectors
    ease, slope = np.zeros((2, len(demands), 1))
    for _ in range(12):
        expected = _sigmoid(foretold + ease + slope * ability)
        error, weight = seen * (expected - scores), seen * expected * (1 - expected)
        down = _sum(error) + ease / _EASE_SD**2
        along = _sum(error * ability) + slope / _DISCRIMINATION_SD**2
        a = _sum(weight) + 1 / _EASE_SD**2
        b = _sum(weight * ability)
        c = _sum(weight * ability**2) + 1 / _DISCRIMINATION_SD**2
        step_ease, step_slope = c * down - b * along, a * along - b * down
        # Short steps cannot overshoot where the curve is flat.
        size = (a * c - b**2) * np.maximum(
            1, np.maximum(np.abs(step_ease), np.abs(step_slope)) / (a * c - b**2)
        )
        ease, slope = ease - step_ease / size, slope - step_slope / size
    refined = demands.astype(np.float64)
    refined[:, [EASE]] += ease - slope * centre
    refined[:, [DISCRIMINATION]] = np.maximum(refined[:, [DISCRIMINATION]] + slope, _LEAST)
    return refined


def place_among(
    demands: Array, vectors: Array, others: Array, scores: Array, start: Array, spread: Array
) -> Array:
    """Return a new model's ability vector, (n_demands,).

    Args:
        demands: (n_prompts, n_demands), as foretold.
        vectors: (n_demands, n_others), the abilities of known models.
        others: (n_prompts, n_others), their scores, NaN where not measured.
        scores: (n_prompts,), the new model's, NaN where not measured.
        start: (n_demands,), what its card says.
        spread: (n_demands,), how far models lie from that; 0 keeps a number.
    """
    measured = ~np.isnan(scores)
    refined = refine(demands, vectors, others)
    ability = place(refined[measured], scores[measured], start, spread)
    rest = ~np.isnan(others).all(axis=1) & ~measured if others.shape[1] else ~measured & False
    if not measured.any() or rest.sum() < _WHOLE:
        return ability
    # What will be routed is known by its text only. So that the new model's mean comes out right
    # there, its general ability is fitted once more, to what it would score on the whole table.
    # A short table holds little but anchors, chosen to be steeper than their text foretells.
    whole = rest | measured
    likely = _sigmoid(refined[whole] @ ability)
    general = np.where(np.arange(len(start)) == DISCRIMINATION, _FREE, 0.0)
    return place(demands[whole], likely, ability, general)


def informative(
    demands: Array, vectors: Array, spread: Array, domains: Sequence[str], k: int
) -> NDArray[np.intp]:
    """Return the numbers of the k most informative prompts, the first the best.

    Greedy: each is the prompt whose score is least foretold by those before (D-optimal), taken from
    the domain that has the fewest for its size, so that no task stands for all.

    Args:
        demands: (n_prompts, n_demands), refined where scores are known.
        vectors: (n_demands, n_models), the abilities of known models.
        spread: (n_demands,), how far a new model may lie from them.
        domains: n_prompts names.
        k: At most n_prompts.
    """
    free = np.flatnonzero(spread > 0)
    x = demands[:, free]
    expected = _sigmoid(demands @ _conceivable(vectors))
    information = (expected * (1 - expected)).mean(axis=1)
    strange = np.where(np.arange(len(spread)) > DISCRIMINATION, _STRANGE, 1.0) * spread
    covariance = np.diag(strange[free] ** 2)
    _, domain, counts = np.unique(np.array(domains), return_inverse=True, return_counts=True)
    taken = np.zeros(len(counts))
    left = np.ones(len(x), dtype=bool)
    chosen = []
    for turn in range(1, k + 1):
        due = np.where(taken < counts, counts / len(x) * turn - taken, -np.inf)
        among = np.flatnonzero(left & (domain == due.argmax()))
        doubt = np.einsum("ij,ij->i", x[among] @ covariance, x[among])
        best = among[(information[among] * doubt).argmax()]
        chosen.append(best)
        left[best] = False
        taken[domain[best]] += 1
        learned = covariance @ x[best]
        total = 1 + information[best] * (x[best] @ learned)
        covariance -= np.outer(learned, learned) * (information[best] / total)
    return np.array(chosen, dtype=np.intp)


def read_through(
    prior: CardPrior,
    tables: Mapping[str, PerformanceTable],
    library: Library,
    vectors: Array,
    demands: Callable[[Sequence[str]], Array],
) -> CardPrior:
    """Return the prior that reads a benchmark through its prompts, where a table holds them.

    The ability that a published accuracy speaks for is then the one at which the predictor
    foretells just this mean over the table. The noise is how far known models' cards are off
    their means.

    Args:
        prior: As fitted to cards.
        tables: By name; one that bears the name of a benchmark holds its prompts.
        library: The cards of the models in the tables.
        vectors: (n_demands, n_models), the abilities of known models.
        demands: From prompts to what they demand, (n_prompts, n_demands).
    """
    readings = dict(prior.readings)
    for name in sorted(readings.keys() & tables.keys()):
        table = tables[name]
        some = np.linspace(0, len(table) - 1, min(len(table), _PROMPTS)).astype(int)
        able = _conceivable(vectors)
        means = _sigmoid(demands([table.prompts[row] for row in some]) @ able).mean(axis=0)
        slope, level = np.polyfit(able[DISCRIMINATION], [log_odds(mean) for mean in means], 1)
        gaps = [
            log_odds(library.find(model).benchmarks[name]) - log_odds(float(np.nanmean(scores)))
            for model, scores in zip(table.models, table.scores.T, strict=True)
            if model in library and name in library.find(model).benchmarks
            if not np.isnan(scores).all()
        ]
        off2 = sum(gap**2 for gap in gaps) + _GAP_CARDS * _GAP**2
        noise = (off2 / (len(gaps) + _GAP_CARDS)) ** 0.5
        readings[name] = (float(level), float(slope), float(noise))
    return dataclasses.replace(prior, readings=readings)


def _conceivable(vectors: Array) -> Array:
    """Return abilities from below the weakest known model to above the best, (n_demands, n)."""
    known = vectors[DISCRIMINATION]
    grid = np.zeros((len(vectors), _GRID))
    grid[EASE] = 1
    reach = 1.5 * max(float(known.std()), 0.3)
    grid[DISCRIMINATION] = np.linspace(known.min() - reach / 2, known.max() + reach, _GRID)
    return grid


def _sum(values: Array) -> Array:
    total: Array = values.sum(axis=1, keepdims=True)
    return total


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -30, 30))))
