"""What holds for every predictor that learns from comparisons."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tryage import PerformanceTable, UnknownModel, UsageError
from tryage.evaluation.measures import routed_scores
from tryage.predictors.bradley_terry import BradleyTerryPredictor
from tryage.predictors.factorisation import MatrixFactorisationPredictor
from tryage.predictors.pairwise import around, stake

KINDS = [BradleyTerryPredictor, MatrixFactorisationPredictor]
NEW = ["Write a Python function", "What is the sum of the odd integers?", "Tell me a story", ""]


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def right_or_wrong(table):
    return replace(table, scores=(table.scores > 0.65).astype(np.float32))


def test_two_probabilities_of_a_pair_add_up_to_one(kind, table):
    predictor = kind().fit(table)
    there = predictor.win_probability(NEW, "giant", "tiny")
    back = predictor.win_probability(NEW, "tiny", "giant")
    np.testing.assert_allclose(there + back, 1)
    assert (there > 0.5).all()


def test_the_order_of_the_columns_decides_nothing(kind, table):
    predictor = kind().fit(table)
    turned = kind().fit(table.only(table.models[::-1]))
    np.testing.assert_allclose(
        predictor.win_probability(NEW, "coder", "giant"),
        turned.win_probability(NEW, "coder", "giant"),
        atol=2e-3,
    )
    np.testing.assert_allclose(predictor.predict(NEW), turned.predict(NEW)[:, ::-1], atol=2e-3)


def test_swapping_what_two_models_scored_swaps_their_chances(kind, table):
    pair = right_or_wrong(table).only(["coder", "giant"])
    swapped = replace(pair, scores=pair.scores[:, ::-1])
    np.testing.assert_allclose(
        kind().fit(pair).win_probability(NEW, "coder", "giant"),
        kind().fit(swapped).win_probability(NEW, "giant", "coder"),
        atol=0.05,
    )


def test_models_of_equal_scores_are_even(kind, table):
    scores = np.concatenate([table.scores, table.scores[:, :1]], axis=1)
    twins = PerformanceTable.from_scores(table.prompts, (*table.models, "twin"), scores)
    predictor = kind().fit(twins)
    np.testing.assert_allclose(predictor.win_probability(NEW, "tiny", "twin"), 0.5, atol=0.05)
    alone = kind().fit(twins.only(["tiny", "twin"]))
    np.testing.assert_allclose(alone.win_probability(NEW, "tiny", "twin"), 0.5, atol=0.05)


def test_of_two_models_quality_differs_as_the_win_rate_says(kind, table):
    predictor = kind().fit(right_or_wrong(table).only(["tiny", "giant"]))
    quality = predictor.predict(NEW)
    wins = predictor.win_probability(NEW, "giant", "tiny")
    np.testing.assert_allclose(quality[:, 1] - quality[:, 0], 2 * wins - 1, atol=1e-6)
    graded = kind().fit(table.only(["tiny", "giant"]))
    quality, wins = graded.predict(NEW), graded.win_probability(NEW, "giant", "tiny")
    assert 0 < graded.stake_ < 0.9
    np.testing.assert_allclose(
        quality[:, 1] - quality[:, 0], graded.stake_ * (2 * wins - 1), atol=1e-6
    )


def test_it_routes_held_out_prompts_better_than_the_best_single_model(kind, table):
    train, test = table.rows(range(42)), table.rows(range(42, 60))
    routed = routed_scores(kind().fit(train).predict(test.prompts), test.scores).mean()
    assert routed > test.scores.mean(axis=0).max() + 0.05


def test_a_prompt_with_one_score_compares_nobody(kind, table):
    lonely = np.full((3, 4), np.nan, dtype=np.float32)
    lonely[:, 1] = 1
    more = PerformanceTable.from_scores(
        (*table.prompts, *NEW[:3]), table.models, np.concatenate([table.scores, lonely])
    )
    np.testing.assert_allclose(
        kind().fit(more).win_probability(NEW, "coder", "giant"),
        kind().fit(table).win_probability(NEW, "coder", "giant"),
        atol=1e-4,
    )


def test_a_model_without_any_score_is_rated_in_the_middle(kind, table):
    scores = np.concatenate([table.scores, np.full((60, 1), np.nan, np.float32)], axis=1)
    predictor = kind().fit(
        PerformanceTable.from_scores(table.prompts, (*table.models, "new"), scores)
    )
    quality = predictor.predict(NEW)
    assert np.isfinite(quality).all()
    assert (quality[:, 4] < quality.max(axis=1)).all()


@pytest.mark.parametrize(
    "scores", [[[1.0], [0.0]], [[1.0, np.nan], [np.nan, 0.0]], np.zeros((0, 2))]
)
def test_nothing_to_compare_is_an_error(kind, scores):
    scores = np.array(scores)
    table = PerformanceTable.from_scores(
        [f"prompt {i}" for i in range(len(scores))], ["a", "b"][: scores.shape[1]], scores
    )
    with pytest.raises(UsageError, match="nothing to compare"):
        kind().fit(table)


def test_an_unknown_model_is_named(kind, table):
    with pytest.raises(UnknownModel, match="'giantt'.*Did you mean 'giant'"):
        kind().fit(table).win_probability(NEW, "giantt", "tiny")


def test_the_stake_is_the_mean_difference_of_unequal_scores():
    scores = [[0.0, 0.5, 0.5], [0.2, np.nan, 0.4]]
    table = PerformanceTable.from_scores(["p", "q"], ["a", "b", "c"], scores)
    assert stake(table) == pytest.approx((0.5 + 0.5 + 0.2) / 3)
    assert stake(PerformanceTable.from_scores(["p"], ["a", "b"], [[1.0, 1.0]])) == 1


def test_quality_is_moved_back_whole_and_shrunk_only_if_it_must_be():
    np.testing.assert_allclose(around(0.5, np.array([0.2, -0.2])), [0.7, 0.3])
    np.testing.assert_allclose(around(0.1, np.array([0.2, -0.2])), [0.4, 0.0])
    np.testing.assert_allclose(around(0.9, np.array([0.5, 0.0, -1.5])), [1.0, 0.75, 0.0])
