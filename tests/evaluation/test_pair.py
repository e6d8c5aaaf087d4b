from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tryage import UnknownModel
from tryage.evaluation.measures import apgr, cpt
from tryage.evaluation.pair import Pair, Recovery, choose_pair

ONES = np.ones((1, 4))


def test_recovery_by_hand():
    weak, strong = np.array([0.0, 1.0, 1.0, 1.0]), np.ones(4)
    first = Recovery(np.array([3.0, 2.0, 1.0, 0.0]), weak, strong).measures(ONES)[0]
    np.testing.assert_allclose(first, [0.875, 0.125, 0.2])
    last = Recovery(np.array([0.0, 1.0, 2.0, 3.0]), weak, strong).measures(ONES)[0]
    np.testing.assert_allclose(last, [0.125, 0.875, 0.95])
    none = Recovery(np.zeros(4), weak, strong).measures(ONES)[0]
    np.testing.assert_allclose(none, [0.5, 0.5, 0.8])


def test_counts_stand_for_repeated_prompts():
    rng = np.random.default_rng(0)
    preference, weak, strong = rng.random(6).round(1), rng.random(6), 0.3 + rng.random(6)
    counts = np.array([2, 0, 1, 3, 1, 1])
    rows = np.repeat(np.arange(6), counts)
    counted = Recovery(preference, weak, strong).measures(counts[None].astype(float))
    repeated = Recovery(preference[rows], weak[rows], strong[rows]).measures(np.ones((1, 8)))
    np.testing.assert_allclose(counted, repeated)


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=12))
def test_recovery_agrees_with_the_plain_curve(rows):
    preference, weak, strong = np.array(rows, dtype=float).T
    found = Recovery(preference, weak, strong).measures(np.ones((1, len(rows))))[0]
    if strong.sum() <= weak.sum():
        assert np.isnan(found).all()
        return
    assert found[0] == pytest.approx(apgr(preference, weak, strong))
    for value, recovery in ((found[1], 0.5), (found[2], 0.8)):
        # The plain one goes in whole prompts.
        assert value <= cpt(preference, weak, strong, recovery) + 1e-9
        assert value >= cpt(preference, weak, strong, recovery) - 1 / len(rows) - 1e-9


def test_a_resample_without_a_gap_has_no_measure():
    recovery = Recovery(np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.array([1.0, 0.0]))
    found = recovery.measures(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
    np.testing.assert_array_equal(np.isnan(found).all(axis=1), [False, True, True])


MODELS = ("small", "large", "middle")
MEANS = np.array([0.4, 0.9, 0.6])


@pytest.mark.parametrize(
    ("costs", "given_names", "pair"),
    [
        (None, {}, ("large", "small")),
        ([2.0, 9.0, 1.0], {}, ("large", "middle")),
        ([3.0, 1.0, 2.0], {}, ("large", "small")),  # nobody is cheaper: the worst
        ([np.nan, 9.0, 3.0], {}, ("large", "middle")),
        ([1.0, 2.0, 3.0], {"strong": "middle"}, ("middle", "small")),
        (None, {"strong": "small"}, ("small", "middle")),
        (None, {"weak": "large"}, ("middle", "large")),
        (None, {"strong": "middle", "weak": "large"}, ("middle", "large")),
    ],
)
def test_the_pair_is_the_best_and_the_cheapest(costs, given_names, pair):
    usd = None if costs is None else np.array(costs)
    assert choose_pair(MODELS, MEANS, usd, **given_names) == Pair(*pair)


def test_a_pair_of_strangers_is_an_error():
    with pytest.raises(UnknownModel, match="Did you mean 'large'"):
        choose_pair(MODELS, MEANS, None, strong="larger")
    with pytest.raises(UnknownModel, match="two different"):
        choose_pair(MODELS, MEANS, None, strong="large", weak="large")
