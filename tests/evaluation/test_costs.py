from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tryage import Flags, Library, ModelCard, PerformanceTable, Request, Tokens, choose
from tryage.evaluation.costs import Costs, aiq, call_costs, cards_of, hull, sweep, worths_of

NAN = np.nan


def test_the_hull_is_convex_and_never_falls():
    costs = np.array([1.0, 2.0, 3.0, 4.0, 2.0, 1.0])
    quality = np.array([0.2, 0.3, 0.8, 0.7, 0.1, 0.1])
    x, y = hull(costs, quality)
    assert x.tolist() == [1.0, 3.0]
    assert y.tolist() == [0.2, 0.8]


def test_aiq_by_hand():
    # From (1, .2) straight to (3, .8), then level to 5: areas 1.0 and 1.6 over a range of 4.
    costs, quality = np.array([1.0, 3.0, 2.0]), np.array([0.2, 0.8, 0.4])
    assert aiq(costs, quality, 1, 5) == pytest.approx(2.6 / 4)
    assert aiq(np.array([2.0]), np.array([0.7]), 1, 5) == pytest.approx(0.7)


@given(st.lists(st.tuples(st.floats(1, 5), st.floats(0, 1)), min_size=1, max_size=12))
def test_aiq_lies_between_the_worst_and_the_best_and_grows_with_points(points):
    costs, quality = np.array(points).T
    value = aiq(costs, quality, 1, 5)
    assert quality.min() - 1e-9 <= value <= quality.max() + 1e-9
    x, y = hull(costs, quality)
    assert (np.interp(costs, x, y) >= quality - 1e-9).all()
    assert (np.diff(y) >= 0).all()
    if len(points) > 1 and costs[:-1].min() <= costs[-1]:
        assert aiq(costs[:-1], quality[:-1], 1, 5) <= value + 1e-9


QUALITY = np.array([[0.5, 0.6], [0.1, 0.9]])
SCORES = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
USD = np.array([[1.0, 100.0], [1.0, 100.0]])


def test_the_less_an_answer_is_worth_the_cheaper_is_the_model():
    # The dear model costs 99 more: worth .1 of quality from 990 up, and .8 from 123.75 up.
    worths = np.array([np.inf, 991.0, 989.0, 124.0, 123.0, 1e-9])
    routed, usd = sweep(QUALITY, Costs(USD, USD), SCORES, worths)
    assert routed.tolist() == [[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]]
    assert usd.tolist() == [[100, 100, 1, 1, 1, 1], [100, 100, 100, 100, 1, 1]]


@given(st.integers(0, 10_000))
def test_the_sweep_chooses_as_the_flag_does(seed):
    rng = np.random.default_rng(seed)
    quality = rng.random((4, 3)).astype(np.float32)
    prices = np.where(rng.random(3) < 0.3, np.nan, rng.random(3))
    cards = Library(
        ModelCard(name=name, input_usd_per_mtok=None if np.isnan(price) else price,
                  output_usd_per_mtok=None if np.isnan(price) else price)
        for name, price in zip("abc", prices)
    )  # fmt: skip
    tokens = Tokens(1000, output=0)
    usd = np.tile(1000 * prices / 1e6, (4, 1))
    worth = float(10 ** rng.uniform(-5, 0))
    at = np.tile(np.arange(3.0), (4, 1)).astype(np.float32)  # a model's score is its place
    routed, _ = sweep(quality, Costs(usd, usd), at, np.array([worth]))
    request = Request(text="Hi", tokens=tokens)
    chosen = [choose(row, cards, Flags(worth_usd=worth), request).model for row in quality]
    assert ["abc"[int(place)] for place in routed[:, 0]] == chosen


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e6])
def test_the_worths_go_from_the_best_to_the_cheapest_whatever_the_prices(unit):
    costs = Costs(USD * unit, USD * unit)
    worths = worths_of(costs, SCORES)
    assert worths[0] == np.inf
    assert (np.diff(worths) < 0).all()
    np.testing.assert_allclose(worths[1:], worths_of(Costs(USD, USD), SCORES)[1:] * unit)
    _, usd = sweep(QUALITY, costs, SCORES, worths)
    np.testing.assert_allclose(usd.mean(axis=0)[[0, -1]], [100 * unit, unit])
    assert (np.diff(usd.mean(axis=0)) <= 0).all()


def test_where_all_is_free_quality_decides():
    free = np.zeros_like(USD)
    routed, usd = sweep(QUALITY, Costs(free, free), SCORES, worths_of(Costs(free, free), SCORES))
    assert (routed == [[0], [1]]).all()
    assert not usd.any()


def test_what_is_expected_decides_and_what_is_measured_is_paid():
    actual = np.array([[7.0, 8.0], [7.0, 8.0]])
    _, usd = sweep(QUALITY, Costs(USD, actual), SCORES, np.array([1e-6]))
    assert usd.tolist() == [[7], [7]]


@pytest.mark.parametrize("price", [0.001, 1e6])
def test_a_model_that_was_not_measured_is_neither_called_nor_priced(price):
    quality = np.array([[0.9, 0.6, 0.7]])
    usd = np.array([[price, 10.0, 100.0]])
    scores = np.array([[NAN, 0.3, 0.4]], dtype=np.float32)
    # Of the two on offer the dearer one wins where 90 dollars are less than .1 of an answer.
    routed, _ = sweep(quality, Costs(usd, usd), scores, np.array([901.0, 899.0]))
    np.testing.assert_allclose(routed, [[0.4, 0.3]])
    assert worths_of(Costs(usd, usd), scores)[1] == pytest.approx(100 * 1e3)


def table_of(**measures):
    table = PerformanceTable.from_scores(["x" * 400, "y" * 4000], ["a", "b"], np.ones((2, 2)))
    return replace(table, measures={name: np.array(v, float) for name, v in measures.items()})


CARDS = Library(
    [
        ModelCard(name="a", input_usd_per_mtok=1, output_usd_per_mtok=10, verbosity=2),
        ModelCard(name="b"),
    ]
)


def test_costs_come_from_prices_and_tokens():
    costs = call_costs(table_of(), table_of(), CARDS)
    # 400 letters are 100 tokens; 300 tokens of answer, doubled by the card's verbosity.
    np.testing.assert_allclose(costs.expected[:, 0], [6.1e-3, 7e-3])
    assert np.isnan(costs.expected[:, 1]).all()
    np.testing.assert_array_equal(costs.actual, costs.expected)


def test_the_lengths_of_the_training_part_are_expected_and_the_measured_ones_paid():
    learned = table_of(output_tokens=[[100, 1], [300, 1]])
    test = table_of(output_tokens=[[50, 1], [NAN, 1]], input_tokens=[[200, 1], [1000, 1]])
    costs = call_costs(test, learned, CARDS)
    np.testing.assert_allclose(costs.expected[:, 0], [2.1e-3, 3e-3])
    np.testing.assert_allclose(costs.actual[:, 0], [0.7e-3, 3e-3])


def test_calls_without_an_answer_cost_what_they_read():
    learned = table_of(output_tokens=[[0, 0], [0, 0]])
    costs = call_costs(learned, learned, CARDS)
    np.testing.assert_allclose(costs.expected[:, 0], [1e-4, 1e-3])
    np.testing.assert_array_equal(costs.actual, costs.expected)
    free = table_of(cost_usd=[[0, 0], [0, 0]])
    assert not call_costs(free, free, CARDS).expected.any()


def test_measured_costs_are_stronger_than_prices():
    learned = table_of(cost_usd=[[1, 3], [3, NAN]])
    costs = call_costs(table_of(cost_usd=[[9, NAN], [8, 7]]), learned, CARDS)
    assert costs.expected.tolist() == [[2, 3], [2, 3]]
    assert costs.actual.tolist() == [[9, 3], [8, 7]]


def test_cards_come_from_the_given_library_then_the_bundled_one():
    library = Library([ModelCard(name="mine", aliases=("gpt-4o",), input_usd_per_mtok=7)])
    cards = cards_of(["stranger", "gpt-4o", "gpt-4o-mini"], library)
    assert cards.names == ("stranger", "gpt-4o", "gpt-4o-mini")
    assert [card.input_usd_per_mtok for card in cards][:2] == [None, 7]
    assert cards[2].input_usd_per_mtok is not None
    assert cards_of(["gpt-4o"], None)[0].input_usd_per_mtok != 7
