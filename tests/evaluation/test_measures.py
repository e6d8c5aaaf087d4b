from __future__ import annotations

import numpy as np
import pytest

from tryage.evaluation.measures import (
    apgr,
    bootstrap_interval,
    chosen,
    cpt,
    hits,
    regrets,
    routed_scores,
)

NAN = np.nan
SCORES = np.array([[1.0, 0.0, 0.5], [0.2, NAN, 0.6], [0.3, 0.3, 0.0]])
QUALITY = np.array([[0.1, 0.9, 0.5], [0.1, 0.9, 0.5], [0.4, 0.4, 0.1]])


def test_a_model_that_was_not_measured_is_not_on_offer():
    assert chosen(QUALITY, SCORES).tolist() == [1, 2, 0]


def test_scores_regrets_and_hits_are_those_of_the_chosen():
    assert routed_scores(QUALITY, SCORES).tolist() == [0.0, 0.6, 0.3]
    assert regrets(QUALITY, SCORES).tolist() == [1.0, 0.0, 0.0]
    assert hits(QUALITY, SCORES).tolist() == [0.0, 1.0, 1.0]


def test_recovery_is_full_at_once_for_the_right_order_and_half_for_none():
    weak, strong = np.array([0.0, 1.0, 1.0, 1.0]), np.ones(4)
    right = np.array([1.0, 0.0, 0.0, 0.0])
    assert apgr(right, weak, strong) == pytest.approx(0.875)  # all but the first step
    last = np.array([0.0, 1.0, 2.0, 3.0])
    assert apgr(last, weak, strong) == pytest.approx(0.125)
    assert apgr(np.zeros(4), weak, strong) == pytest.approx(0.5)
    assert cpt(right, weak, strong, 0.5) == 0.25
    assert cpt(np.zeros(4), weak, strong, 0.5) == 0.5


def test_the_interval_holds_the_mean_and_narrows_with_more_prompts():
    rng = np.random.default_rng(0)
    few, many = rng.random(50), rng.random(5000)
    low, high = bootstrap_interval(few)
    assert low < few.mean() < high
    assert np.subtract(*bootstrap_interval(many)[::-1]) < (high - low) / 5
    assert bootstrap_interval(few) == bootstrap_interval(few)


def test_the_interval_of_another_statistic_is_near_that_of_the_mean():
    values = np.random.default_rng(0).random(400)
    np.testing.assert_allclose(
        bootstrap_interval(values, np.mean), bootstrap_interval(values), atol=0.01
    )
