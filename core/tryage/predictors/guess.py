"""Which domain is a prompt of? Multinomial logistic regression, learned with numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Ints = NDArray[np.intp]

_BATCH = 256
_PASSES = 60
_LEAST_STEPS = 400
_RATE = 0.02
_PENALTY = 1.0  # half of it times the squared weights is added to the summed cross-entropy


def learn_guess(features: Array, domains: Ints, n_domains: int, seed: int) -> tuple[Array, Array]:
    """Return weights (n_features, n_domains) and bias (n_domains,) of log-odds of the domains.

    By Adam (Kingma and Ba, 2015), its rate falling to nothing along a cosine.

    Args:
        features: (n_prompts, n_features).
        domains: (n_prompts,), each prompt's domain by its number.
        n_domains: How many there are; one that no prompt is of is never guessed.
        seed: Of the order in which prompts are seen.
    """
    rng = np.random.default_rng(seed)
    n, size = len(features), min(_BATCH, len(features))
    steps = max(_LEAST_STEPS, round(_PASSES * n / size))
    weights = np.zeros((features.shape[1], n_domains), dtype=np.float32)
    bias = np.zeros(n_domains, dtype=np.float32)
    moments = [(np.zeros_like(p), np.zeros_like(p)) for p in (weights, bias)]
    order, at = rng.permutation(n), 0
    for step in range(steps):
        if at + size > n:
            order, at = rng.permutation(n), 0
        rows = order[at : at + size]
        at += size
        x = features[rows]
        error = softmax(x @ weights + bias)
        error[np.arange(size), domains[rows]] -= 1
        error /= np.float32(size)
        rate = _RATE * 0.5 * (1 + np.cos(np.pi * step / steps))
        shrink = weights * np.float32(_PENALTY / n)
        for p, gradient, both in zip(
            (weights, bias), (x.T @ error + shrink, error.sum(axis=0)), moments, strict=True
        ):
            _step(p, gradient, both, rate, step + 1)
    return weights, bias


def guess_unseen(features: Array, domains: Ints, n_domains: int, fold: Ints, seed: int) -> Array:
    """Return shares of the domains, (n_prompts, n_domains), each guessed without having seen it.

    Args:
        features: (n_prompts, n_features).
        domains: As for `learn_guess`.
        n_domains: Likewise.
        fold: (n_prompts,), the prompts that are left out together; if there is but one fold,
            nothing is left out.
        seed: As for `learn_guess`.
    """
    shares = np.empty((len(features), n_domains), dtype=np.float32)
    for number in np.unique(fold):
        left_out = fold == number
        rest = ~left_out if (~left_out).any() else left_out
        weights, bias = learn_guess(features[rest], domains[rest], n_domains, seed)
        shares[left_out] = softmax(features[left_out] @ weights + bias)
    return shares


def softmax(log_odds: Array) -> Array:
    """Return each row as shares that sum to 1."""
    shares: Array = np.exp(log_odds - log_odds.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return shares


def _step(p: Array, gradient: Array, moments: tuple[Array, Array], rate: float, step: int) -> None:
    """Change the parameters by one step of Adam."""
    first, second = moments
    first *= np.float32(0.9)
    first += np.float32(0.1) * gradient
    second *= np.float32(0.999)
    second += np.float32(0.001) * gradient * gradient
    move = first / np.float32(1 - 0.9**step)
    move /= np.sqrt(second / np.float32(1 - 0.999**step)) + np.float32(1e-8)
    p -= np.float32(rate) * move
