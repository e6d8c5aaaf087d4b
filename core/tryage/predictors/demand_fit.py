"""How the halves of the default predictor are put together from what was learned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tryage.predictors.ability import log_odds
from tryage.predictors.demand import DemandHead
from tryage.predictors.lessons import Lessons
from tryage.predictors.network import Recipe, softmax, train

Array = NDArray[np.float32]


# What each of the three paths to log-odds counts in their mean: through the hidden layer, through
# the domain, straight.
_SHARE = np.float32(1 / 3)


def fit_head(lessons: Lessons, recipe: Recipe, rank: int) -> tuple[DemandHead, Array]:
    """Return the prompt's half and the models' half of the predictor.

    Three paths learn apart, each from features to log-odds of every model: networks with a hidden
    layer, the mean scores of the guessed domain, and a linear map. Their mean is better than any
    of them, and keeps the form of demands times abilities.

    Args:
        lessons: What to learn from.
        recipe: How.
        rank: Most particular strengths that are kept.

    Returns:
        The head, and abilities, float32 (2 + at most `rank`, n_models).
    """
    nets = [train(lessons, recipe, recipe.seed + i, linear=False) for i in range(recipe.members)]
    straight, straight_base = _to_models(lessons, train(lessons, recipe, recipe.seed, linear=True))
    outward = [_to_models(lessons, net) for net in nets]
    hidden = np.concatenate([net["hidden"] for net in nets], axis=1)
    bias = np.concatenate([net["bias"] for net in nets])
    deep = np.concatenate([weights for weights, _ in outward]) * (_SHARE / recipe.members)
    base = np.mean([b for _, b in outward], axis=0, dtype=np.float32) + straight_base
    base = (base * _SHARE).astype(np.float32)
    straight = straight * _SHARE
    guess = np.concatenate([net["domain"] for net in nets]) / np.float32(recipe.members)
    guess_bias = np.sum([net["domain_bias"] for net in nets], axis=0) / np.float32(recipe.members)
    domains: Array = _domain_log_odds(lessons, recipe.shrinkage) * _SHARE

    features = lessons.features
    active = np.maximum(features.values @ hidden + bias, 0)
    guessed = softmax(active @ guess + guess_bias)
    odds = active @ deep + guessed @ domains + features.values @ straight + base
    abilities, to_demands = _cut(odds, lessons.ability, rank)

    hidden, bias = features.raw(hidden, bias)
    demand_bias = (base @ to_demands).astype(np.float32)
    linear, demand_bias = features.raw(straight @ to_demands, demand_bias)
    head = DemandHead(
        form_low=features.low,
        form_high=features.high,
        hidden=hidden,
        hidden_bias=bias,
        outputs=np.concatenate([deep @ to_demands, guess], axis=1),
        outputs_bias=np.concatenate([demand_bias, guess_bias]),
        domains=domains @ to_demands,
        linear=linear,
    )
    return head, abilities


def _to_models(lessons: Lessons, network: dict[str, Array]) -> tuple[Array, Array]:
    """Return a network's last layer as weights (n_inner, n_models) and bias (n_models,)."""
    both = np.stack([np.ones_like(lessons.ability), lessons.ability])
    abilities = np.concatenate([both, network["strength"].T])
    return network["out"] @ abilities, network["out_bias"] @ abilities


def _cut(odds: Array, general: Array, rank: int) -> tuple[Array, Array]:
    """Return the abilities (2 + rank, n_models) and the map (n_models, 2 + rank) to demands.

    Ease and discrimination are the least-squares line of the log-odds (n_prompts, n_models) in
    general ability (n_models,); the particular strengths are the principal components of what the
    line leaves.
    """
    general = general.astype(np.float64)
    centred = general - general.mean()
    slope = centred / (centred @ centred + 0.1)
    line = np.stack([1 / len(general) - slope * general.mean(), slope], axis=1)
    both = np.stack([np.ones_like(general), general])
    rest = np.eye(len(general)) - line @ both
    left = odds @ rest
    _, axes = np.linalg.eigh(left.T @ left / len(left))
    strengths = axes[:, ::-1][:, :rank]
    to_demands = np.concatenate([line, rest @ strengths], axis=1)
    abilities = np.concatenate([both, strengths.T])
    return abilities.astype(np.float32), to_demands.astype(np.float32)


def _domain_log_odds(lessons: Lessons, shrinkage: float) -> Array:
    """Return the log-odds of each model in each domain, (n_domains, n_models).

    A measured cell is the domain's mean score, shrunk to the model's mean over prompts of the same
    table; an empty one lies on the domain's line in ability.
    """
    table = np.empty((lessons.n_domains, len(lessons.ability)), dtype=np.float32)
    seen = ~np.isnan(lessons.scores)
    scores = np.where(seen, lessons.scores, 0)
    for domain in range(lessons.n_domains):
        rows = lessons.domains == domain
        count = seen[rows].sum(axis=0)
        total = scores[rows].sum(axis=0)
        measured = np.flatnonzero(count)
        means = lessons.scores[:, measured]
        alike = ~np.isnan(means).any(axis=1)
        overall = np.nanmean(means[alike] if alike.any() else means, axis=0)
        shrunk = (total[measured] + shrinkage * overall) / (count[measured] + shrinkage)
        odds = np.array([log_odds(min(max(float(p), 0.02), 0.98)) for p in shrunk])
        ability = lessons.ability[measured]
        centred = ability - ability.mean()
        slope = max((centred @ odds + 0.5) / (centred @ centred + 0.5), 0.05)
        table[domain] = odds.mean() + slope * (lessons.ability - ability.mean())
        table[domain, measured] = odds
    return table
