"""The network that reads demands off a prompt, while it learns: numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tryage.predictors.lessons import Lessons

Array = NDArray[np.float32]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Recipe:
    """The hyperparameters of the network's training.

    Attributes:
        members: Networks trained side by side, from different seeds.
        hidden: Width of each.
        rank: Particular strengths, beyond ease and discrimination.
        steps: Most steps of gradient descent; batches have 256 prompts.
        passes: Most passes over the prompts, for small tables; but at least 200 steps.
        rate: Highest learning rate.
        decay: Weight decay.
        dropout: Share of the hidden layer that is silenced at each step.
        domain_weight: Weight of guessing the domain.
        modesty: Weight of the penalty on a model's particular strengths at prompts where it was
            not measured, relative to the weight of a measured score.
        shrinkage: Prompts' worth of the overall mean in a domain's mean score.
        seed: The same seed gives the same network.
    """

    members: int = 2
    hidden: int = 128
    rank: int = 8
    steps: int = 1500
    passes: int = 80
    rate: float = 4e-3
    decay: float = 0.02
    dropout: float = 0.5
    domain_weight: float = 0.5
    modesty: float = 0.03
    shrinkage: float = 10.0
    seed: int = 0


def softmax(x: Array) -> Array:
    """Return each row as shares that sum to 1."""
    x = np.exp(x - x.max(axis=1, keepdims=True))
    shares: Array = x / x.sum(axis=1, keepdims=True)
    return shares


def train(lessons: Lessons, recipe: Recipe, seed: int, linear: bool) -> dict[str, Array]:
    """Return the parameters of one network, or of one without a hidden layer."""
    rng = np.random.default_rng(seed)
    n = len(lessons.scores)
    p = _start(lessons, recipe, rng, linear)
    decay = {name: 0.0 if "bias" in name else recipe.decay for name in p}
    if linear:
        decay["out"] *= 5
    moments = {name: (np.zeros_like(v), np.zeros_like(v)) for name, v in p.items()}
    features = lessons.features.values
    seen = ~np.isnan(lessons.scores)
    scores = np.where(seen, lessons.scores, 0).astype(np.float32)
    # A prompt put to thirty models teaches more than one put to two, but not fifteen times more.
    weights = 1 / np.sqrt(np.maximum(seen.sum(axis=1), 1))
    weights = weights[:, None].astype(np.float32)
    doubts = ~seen * weights * np.float32(recipe.modesty)
    weights = seen * weights
    line = np.stack([np.ones_like(lessons.ability), lessons.ability])
    order, size = rng.permutation(n), min(256, n)
    steps = min(recipe.steps, max(200, round(recipe.passes * n / size)))
    at = 0
    for step in range(steps):
        if at + size > n:
            order, at = rng.permutation(n), 0
        rows = order[at : at + size]
        at += size
        keep = None if linear else _dropout(rng, (size, recipe.hidden), recipe.dropout)
        gradients = _gradients(
            p,
            features[rows],
            scores[rows],
            weights[rows] / size,
            doubts[rows] / size,
            lessons.domains[rows],
            line,
            keep,
            recipe.domain_weight / size,
        )
        rate = recipe.rate * 0.5 * (1 + np.cos(np.pi * step / steps))
        _adam(p, gradients, moments, decay, rate, step + 1)
    return p


def _dropout(rng: np.random.Generator, shape: tuple[int, int], share: float) -> Array:
    kept = rng.random(shape, dtype=np.float32) > share
    return (kept / np.float32(1 - share)).astype(np.float32)


def _start(
    lessons: Lessons, recipe: Recipe, rng: np.random.Generator, linear: bool
) -> dict[str, Array]:
    width, demands = lessons.features.values.shape[1], 2 + recipe.rank
    inner = width if linear else recipe.hidden

    def noise(*shape: int, scale: float) -> Array:
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)

    p = {
        "out": noise(inner, demands, scale=0.01),
        "out_bias": np.zeros(demands, dtype=np.float32),
        "strength": noise(len(lessons.ability), recipe.rank, scale=0.3),
    }
    p["out_bias"][1] = 1
    if not linear:
        p["hidden"] = noise(width, recipe.hidden, scale=(2 / width) ** 0.5)
        p["bias"] = np.zeros(recipe.hidden, dtype=np.float32)
        p["domain"] = noise(inner, lessons.n_domains, scale=0.01)
        p["domain_bias"] = np.zeros(lessons.n_domains, dtype=np.float32)
    return p


def _gradients(
    p: dict[str, Array],
    x: Array,
    scores: Array,
    weights: Array,
    doubts: Array,
    domains: Ints,
    line: Array,
    keep: Array | None,
    domain_weight: float,
) -> dict[str, Array]:
    """Return the gradients of the weighted cross-entropy of scores and of domains."""
    before = None
    inner = x
    if keep is not None:
        before = x @ p["hidden"] + p["bias"]
        inner = np.maximum(before, 0) * keep
    demands = inner @ p["out"] + p["out_bias"]
    abilities = np.concatenate([line, p["strength"].T])
    error = weights * (1 / (1 + np.exp(-demands @ abilities)) - scores)
    back = error @ abilities.T
    doubt = doubts * (demands[:, 2:] @ abilities[2:])
    back[:, 2:] += doubt @ abilities[2:].T
    gradients = {
        "out": inner.T @ back,
        "out_bias": back.sum(axis=0),
        "strength": (error + doubt).T @ demands[:, 2:],
    }
    if keep is not None and before is not None:
        guess = softmax(inner @ p["domain"] + p["domain_bias"])
        guess[np.arange(len(x)), domains] -= 1
        guess *= np.float32(domain_weight)
        inwards = (back @ p["out"].T + guess @ p["domain"].T) * keep * (before > 0)
        gradients |= {
            "domain": inner.T @ guess,
            "domain_bias": guess.sum(axis=0),
            "hidden": x.T @ inwards,
            "bias": inwards.sum(axis=0),
        }
    return gradients


def _adam(
    p: dict[str, Array],
    gradients: dict[str, Array],
    moments: dict[str, tuple[Array, Array]],
    decay: dict[str, float],
    rate: float,
    step: int,
) -> None:
    """Change the parameters by one step of AdamW (Loshchilov and Hutter, 2019)."""
    for name, gradient in gradients.items():
        first, second = moments[name]
        first *= np.float32(0.9)
        first += np.float32(0.1) * gradient
        second *= np.float32(0.999)
        second += np.float32(0.001) * gradient * gradient
        move = first / np.float32(1 - 0.9**step)
        move /= np.sqrt(second / np.float32(1 - 0.999**step)) + np.float32(1e-8)
        p[name] -= np.float32(rate) * (move + np.float32(decay[name]) * p[name])
