from __future__ import annotations

import math

import numpy as np
import pytest

from tryage import PerformanceTable
from tryage.predictors.bradley_terry import BradleyTerryPredictor, Comparisons, fit_ratings
from tryage.predictors.default import bundled_encoder
from tryage.predictors.pairwise import sigmoid

NEW = ["Write a Python function", "What is the sum of the odd integers?", "Tell me a story"]


def original_ratings(scores, weights):
    """RouteLLM's ranking as published: battles twice, design of ±ln 10, Elo's scale of 400."""
    n_models = scores.shape[1]
    battles = [
        (a, b, scores[i, a], scores[i, b], weights[i])
        for i in range(len(scores))
        for a in range(n_models)
        for b in range(a + 1, n_models)
        if not np.isnan(scores[i, [a, b]]).any()
    ]
    design, won, counts = [], [], []
    for copy in (0, 1):
        for a, b, of_a, of_b, weight in battles:
            row = np.zeros(n_models)
            row[a], row[b] = math.log(10), -math.log(10)
            design.append(row)
            won.append(float(of_a > of_b or (of_a == of_b and copy == 0)))
            counts.append(weight)
    x, y, w = np.array(design), np.array(won), np.array(counts)
    p = np.zeros(n_models)
    for _ in range(50):  # iteratively reweighted least squares
        chances = 1 / (1 + np.exp(-x @ p))
        curvature = (x * (w * chances * (1 - chances))[:, None]).T @ x
        p += np.linalg.lstsq(curvature, x.T @ (w * (y - chances)), rcond=1e-10)[0]
    return 400 * p + 1000


def original_win_rate(prompt, table, strong, weak):
    table = table.rows(np.flatnonzero((~np.isnan(table.scores)).sum(axis=1) > 1))  # the battles
    vectors, vector = bundled_encoder().encode(table.prompts), bundled_encoder().encode_one(prompt)
    cosines = (
        vectors @ vector / (np.linalg.norm(vectors, axis=1) * np.linalg.norm(vector))
    ).astype(np.float64)
    weights = 10 * 10 ** (cosines / cosines.max())
    ratings = original_ratings(table.scores, weights)
    of_weak, of_strong = ratings[table.models.index(weak)], ratings[table.models.index(strong)]
    return 1 - 1 / (1 + 10 ** ((of_strong - of_weak) / 400))


@pytest.fixture
def graded(table):
    """Three models that win, lose and draw, with cells missing."""
    scores = np.round(table.scores[:, 1:] * 3) / 3
    scores[::7, 0] = np.nan
    scores[3::11, 2] = np.nan
    return PerformanceTable.from_scores(table.prompts, table.models[1:], scores)


def test_two_models_have_the_originals_win_rate(graded):
    pair = graded.only(["coder", "giant"])
    predictor = BradleyTerryPredictor().fit(pair)
    rates = predictor.win_probability(NEW, "giant", "coder")
    wanted = [original_win_rate(prompt, pair, "giant", "coder") for prompt in NEW]
    np.testing.assert_allclose(rates, wanted, atol=1e-5)
    assert np.ptp(rates) > 0.05


def test_more_models_too(graded):
    predictor = BradleyTerryPredictor().fit(graded)
    for strong, weak in [("giant", "coder"), ("thinker", "giant")]:
        rates = predictor.win_probability(NEW, strong, weak)
        wanted = [original_win_rate(prompt, graded, strong, weak) for prompt in NEW]
        np.testing.assert_allclose(rates, wanted, atol=1e-5)


def test_the_quality_of_two_right_or_wrong_models_is_their_weighted_mean_score(table):
    scores = (table.scores[:, [0, 3]] > 0.65).astype(np.float32)
    pair = PerformanceTable.from_scores(table.prompts, ["tiny", "giant"], scores)
    quality = BradleyTerryPredictor().fit(pair).predict(NEW)
    cosines = bundled_encoder().encode(NEW) @ bundled_encoder().encode(pair.prompts).T
    weights = 10.0 ** (1 + cosines / cosines.max(axis=1, keepdims=True))
    np.testing.assert_allclose(
        quality, weights @ scores / weights.sum(axis=1, keepdims=True), atol=1e-5
    )


def test_a_greater_base_and_fewer_neighbours_listen_more_to_similar_prompts(table):
    code = ["Write a Python function that sorts a list of 99 numbers in place"]

    def chance(**settings):
        predictor = BradleyTerryPredictor(**settings).fit(table)
        return predictor.win_probability(code, "coder", "giant")[0]

    assert chance(base=1) < 0.5 < chance() < chance(base=1000) < chance(neighbours=10)
    assert chance(neighbours=60) == chance(neighbours=10_000) == chance()


def test_a_prompt_without_a_known_word_counts_all_alike(table):
    predictor = BradleyTerryPredictor().fit(table)
    flat = BradleyTerryPredictor(base=1).fit(table)
    np.testing.assert_allclose(predictor.ratings([""]), flat.ratings([""]), atol=1e-5)


def test_fitting_again_forgets_the_first_table(table):
    predictor = BradleyTerryPredictor().fit(table)
    predictor.predict(NEW)
    other = PerformanceTable.from_scores(table.prompts, table.models, 1 - table.scores)
    np.testing.assert_array_equal(
        predictor.fit(other).predict(NEW), BradleyTerryPredictor().fit(other).predict(NEW)
    )


@pytest.mark.parametrize("seed", range(5))
def test_ratings_are_at_the_top_of_the_likelihood(seed):
    rng = np.random.default_rng(seed)
    wins = rng.random((6, 6)) ** 8 * 100
    np.fill_diagonal(wins, 0)
    ratings = fit_ratings(wins, 1e-9)
    expected = (wins + wins.T) * sigmoid(ratings[:, None] - ratings)
    np.testing.assert_allclose(expected.sum(axis=1), wins.sum(axis=1), rtol=1e-4)
    assert abs(ratings.sum()) < 1e-6


def test_few_and_uneven_wins_do_not_throw_it_off():
    wins = np.zeros((4, 4))
    wins[1, 3], wins[2, 0], wins[2, 1], wins[3, 0] = 100, 100, 0.1, 1000
    ratings = fit_ratings(wins, 1e-6 * wins.sum())
    assert ratings[2] > ratings[1] > ratings[3] > ratings[0]
    assert np.abs(ratings).max() < 20


def test_no_rounding_takes_wins_from_a_model_that_has_none():
    scores = np.tile(np.float32([0.0, 1.0, 0.5]), (20_000, 1))
    weights = np.random.default_rng(0).uniform(10, 100, 20_000).astype(np.float32)
    wins = Comparisons.of(scores, scores[0]).weighted(weights, slice(None))
    assert wins.min() == 0
    np.testing.assert_allclose(wins[1, [0, 2]], weights.sum(dtype=np.float64), rtol=1e-5)


def test_who_always_wins_and_who_never_met_anyone_get_finite_ratings():
    wins = np.array([[0.0, 9.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    ratings = fit_ratings(wins, 1e-6)
    assert ratings[0] > ratings[2] > ratings[1]
    assert 5 < ratings[0] - ratings[1] < 50
