from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tryage import PerformanceTable, UsageError
from tryage.evaluation.measures import routed_scores
from tryage.predictors.hybrid import (
    HybridPredictor,
    good_enough,
    logistic,
    sampled,
    widest_margin,
)

NEW = ["Write a Python function", "What is the sum of the odd integers?", "Tell me a story", ""]


def with_samples(table, samples):
    """Returns the table with these answers' scores, (n_prompts, n_models, n_answers)."""
    cells = np.empty(table.scores.shape, dtype=object)
    for place in np.ndindex(cells.shape):
        cells[place] = [float(value) for value in samples[place] if not np.isnan(value)]
    means = np.nanmean(samples, axis=2).astype(np.float32)
    return replace(table, scores=means, extras={"scores": cells})


@pytest.fixture
def repeated(table):
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.2, (*table.scores.shape, 3))
    return with_samples(table, np.clip(table.scores[:, :, None] + noise, 0, 1))


def test_labels_count_the_pairs_of_answers():
    small, large = [0.2, 0.6], [0.5, 0.7, 0.7]
    answers = np.full((1, 2, 3), np.nan, dtype=np.float32)
    answers[0, 0, :2], answers[0, 1] = small, large

    def label(margin):
        return good_enough(answers, answers[:, 1], np.array([margin, 0.0]))[0, 0]

    for margin in (0.0, 0.1, 0.3, 0.5):
        pairs = [s >= b - margin - 1e-6 for s in small for b in large]
        assert label(margin) == pytest.approx(np.mean(pairs))
    assert label(0.0) == pytest.approx(1 / 6)


def test_a_missing_answer_gives_no_label():
    answers = np.array([[[np.nan], [1.0]], [[1.0], [np.nan]]], dtype=np.float32)
    labels = good_enough(answers, answers[:, 1], np.zeros(2))
    np.testing.assert_array_equal(labels, [[np.nan, 1.0], [np.nan, np.nan]])


def test_the_margin_is_the_one_under_which_labels_differ_most():
    rng = np.random.default_rng(1)
    small = rng.uniform(0.0, 0.6, (20, 1, 3)).astype(np.float32)
    large = rng.uniform(0.6, 1.0, (20, 3)).astype(np.float32)
    found = widest_margin(small, large)

    def spread(margin):
        labels = good_enough(small, large, np.array([margin]))[:, 0]
        return np.abs(labels[:, None] - labels).sum()

    spreads = [spread(margin) for margin in np.arange(0, 1, 0.02)]
    assert spread(0) == 0
    assert found == pytest.approx(np.argmax(spreads) / 50)
    assert 0.1 < found < 0.9


def test_right_or_wrong_answers_need_no_margin(table):
    wrong = replace(table, scores=(table.scores > 0.6).astype(np.float32))
    assert HybridPredictor("trans").fit(wrong).margins_.tolist() == [0, 0, 0, 0]


def test_without_samples_prob_is_det(table, repeated):
    fitted = [HybridPredictor(labels).fit(table).predict(NEW) for labels in ("det", "prob")]
    np.testing.assert_array_equal(*fitted)
    fitted = [HybridPredictor(labels).fit(repeated).predict(NEW) for labels in ("det", "prob")]
    assert (fitted[0] != fitted[1]).any()


def test_det_looks_at_the_first_answer_only(table, repeated):
    first = np.vectorize(lambda cell: cell[0])(repeated.extras["scores"]).astype(np.float32)
    changed = replace(table, scores=repeated.scores, extras={"scores": repeated.extras["scores"]})
    for place in np.ndindex(first.shape):
        changed.extras["scores"][place] = [float(first[place]), 0.5, 0.5]
    np.testing.assert_array_equal(
        HybridPredictor("det").fit(changed).win_probability(NEW, "giant", "coder"),
        HybridPredictor("det").fit(repeated).win_probability(NEW, "giant", "coder"),
    )


def test_cells_without_a_list_stand_for_their_score():
    cells = np.array([[None, None]], dtype=object)
    cells[0, 1] = [0.5, 1.0]
    scores = np.array([[0.25, 0.75]], dtype=np.float32)
    np.testing.assert_array_equal(sampled(cells, scores), [[[0.25, np.nan], [0.5, 1.0]]])


@pytest.mark.parametrize("labels", ["det", "prob", "trans"])
def test_it_routes_held_out_prompts_better_than_the_best_single_model(labels, repeated):
    train, test = repeated.rows(range(42)), repeated.rows(range(42, 60))
    predictor = HybridPredictor(labels).fit(train)
    routed = routed_scores(predictor.predict(test.prompts), test.scores).mean()
    assert routed > test.scores.mean(axis=0).max() + 0.03
    assert predictor.strongest_ == "giant"


def test_two_models_are_routed_by_the_chance_that_the_small_one_is_enough(table):
    scores = np.array([[1.0, 1.0] if domain == "chat" else [0.0, 1.0] for domain in table.domains])
    pair = PerformanceTable.from_scores(table.prompts, ["small", "large"], scores)
    predictor = HybridPredictor().fit(pair)
    rates = predictor.win_probability(NEW[:3], "large", "small")
    assert rates[2] < 0.3
    assert (rates[:2] > 0.7).all()
    # Right or wrong, and never better: what is lost by the small one is the chance that it fails.
    quality = predictor.predict(NEW)
    lost = quality[:, 1] - quality[:, 0]
    np.testing.assert_allclose(lost, predictor.win_probability(NEW, "large", "small"), atol=1e-6)


def test_twins_are_good_enough_for_each_other(table):
    scores = np.repeat(table.scores[:, :1], 2, axis=1)
    twins = PerformanceTable.from_scores(table.prompts, ["a", "b"], scores)
    quality = HybridPredictor().fit(twins).predict(NEW)
    np.testing.assert_allclose(quality[:, 0], quality[:, 1], atol=1e-6)


def test_a_model_that_never_met_the_strongest_keeps_its_mean(table):
    scores = table.scores.copy()
    scores[::2, 0] = np.nan
    scores[1::2, 3] = np.nan
    predictor = HybridPredictor().fit(replace(table, scores=scores))
    quality = predictor.predict(NEW)
    gap = np.nanmean(scores[:, 3]) - np.nanmean(scores[:, 0])
    np.testing.assert_allclose(quality[:, 3] - quality[:, 0], gap, atol=1e-5)


@pytest.mark.parametrize(("strong", "weak"), [("coder", "tiny"), ("giant", "giant")])
def test_a_pair_that_was_not_compared_is_an_error(table, strong, weak):
    predictor = HybridPredictor().fit(table)
    with pytest.raises(UsageError, match=r"strongest model of the table is 'giant'.*table\.only"):
        predictor.win_probability(NEW, strong, weak)


def test_the_classifiers_are_at_the_top_of_their_likelihood():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4)).astype(np.float32)
    labels = (rng.random((200, 2)) < 1 / (1 + np.exp(-2 * x[:, :2] - 1))).astype(np.float64)
    labels[::3, 1] = np.nan
    weights, bias = logistic(x, labels, 1e-2)
    error = np.nan_to_num(labels - 1 / (1 + np.exp(-(x @ weights + bias))))
    np.testing.assert_allclose(x.T @ error, 200 * 1e-2 * weights, atol=0.1)
    np.testing.assert_allclose(error.sum(axis=0), 0, atol=0.1)
    assert 1 < weights[0, 0] < 3
