from __future__ import annotations

import numpy as np
import pytest

from tryage import PerformanceTable
from tryage.predictors import factorisation
from tryage.predictors.default import bundled_encoder
from tryage.predictors.factorisation import MatrixFactorisationPredictor

NEW = ["Write a Python function", "What is the sum of the odd integers?", "Tell me a story"]


def test_the_win_rate_is_the_originals_bilinear_form(table):
    predictor = MatrixFactorisationPredictor(rank=8, epochs=5).fit(table.only(["tiny", "giant"]))
    weak, strong = predictor.vectors_
    inner = bundled_encoder().encode(NEW) @ predictor.inward_ + predictor.bias_
    log_odds = ((strong - weak) * inner) @ predictor.outward_
    np.testing.assert_allclose(
        predictor.win_probability(NEW, "giant", "tiny"), 1 / (1 + np.exp(-log_odds)), atol=1e-6
    )
    np.testing.assert_allclose(np.linalg.norm(predictor.vectors_, axis=1), 1, rtol=1e-6)
    assert predictor.vectors_.shape == (2, 8)


def loss(p, x, scores):
    """The mean logistic loss of all comparisons, one after the other."""
    unit = p["models"] / np.linalg.norm(p["models"], axis=1, keepdims=True)
    total, count = 0.0, 0
    for vector, row in zip(x, scores):
        ratings = unit @ (p["outward"] * (vector @ p["inward"] + p["bias"]))
        for a in range(len(row)):
            for b in range(a + 1, len(row)):
                if np.isnan(row[[a, b]]).any():
                    continue
                win = 0.5 if row[a] == row[b] else float(row[a] > row[b])
                chance = 1 / (1 + np.exp(ratings[b] - ratings[a]))
                total -= win * np.log(chance) + (1 - win) * np.log(1 - chance)
                count += 1
    return total / count


@pytest.mark.parametrize("n_models", [2, 4])
def test_it_descends_the_pairwise_logistic_loss(n_models):
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 3, (7, n_models)) / 2
    scores[0, 1] = np.nan
    x = rng.normal(size=(7, 5))
    shapes = {"models": (n_models, 3), "inward": (5, 3), "bias": (3,), "outward": (3,)}
    p = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    gradients = factorisation._gradients(p, x, scores)
    for name, value in p.items():
        for cell in np.ndindex(value.shape):
            slopes = []
            for shift in (1e-5, -1e-5):
                moved = {**p, name: value.copy()}
                moved[name][cell] += shift
                slopes.append(loss(moved, x, scores))
            assert gradients[name][cell] == pytest.approx((slopes[0] - slopes[1]) / 2e-5, abs=1e-5)


def test_it_learns_which_of_two_models_wins_where(table):
    scores = np.array([[1.0, 0.0] if domain == "code" else [0.0, 1.0] for domain in table.domains])
    pair = PerformanceTable.from_scores(table.prompts, ["coder", "other"], scores)
    rates = MatrixFactorisationPredictor().fit(pair).win_probability(NEW, "coder", "other")
    assert rates[0] > 0.8
    assert (rates[1:] < 0.2).all()


def test_another_seed_learns_otherwise(table):
    once, again = (MatrixFactorisationPredictor(seed=seed).fit(table) for seed in (0, 1))
    assert (once.predict(NEW) != again.predict(NEW)).any()
