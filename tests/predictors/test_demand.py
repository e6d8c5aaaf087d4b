"""How the default predictor reads what a prompt demands."""

from __future__ import annotations

import numpy as np
import pytest

from tryage import PerformanceTable
from tryage.predictors.default import DefaultPredictor
from tryage.predictors.guess import learn_guess, softmax

SUMS = [f"What is {n} plus {n + 7}? Answer with a number." for n in range(60)]
TALES = [f"Tell a story of {n} dragons who lost their golden ring." for n in range(60)]
STRANGE = "Übersetze bitte diesen Vertrag über Mietrecht ins Polnische und kürze Absatz vier."


@pytest.fixture(scope="module")
def fitted():
    scores = [[1.0, 0.1, 0.6]] * len(SUMS) + [[0.0, 0.9, 0.6]] * len(TALES)
    domains = ["sums"] * len(SUMS) + ["tales"] * len(TALES)
    table = PerformanceTable.from_scores([*SUMS, *TALES], ["a", "b", "c"], scores, domains)
    return DefaultPredictor().fit(table)


def test_each_domain_gets_the_model_that_is_best_there(fitted):
    quality = fitted.predict(["What is 400 plus 12? Answer with a number."])
    assert quality[0].argmax() == 0
    quality = fitted.predict(["Tell a story of many dragons who lost their golden crown."])
    assert quality[0].argmax() == 1


def test_a_stranger_gets_the_model_that_is_best_on_the_whole(fitted):
    near, far = fitted.predict([SUMS[0], STRANGE])
    assert far.argmax() == 2
    assert far.max() - far.min() < 0.3 < near.max() - near.min()


def test_trust_grows_with_closeness_and_is_never_whole(fitted):
    head = fitted._head
    low, high = head.closeness.tolist()
    trust = [float(head._trust(c)) for c in (-1.0, low, (low + high) / 2, high, 1.0)]
    assert trust == sorted(trust)
    assert trust[0] == trust[1] == 0
    assert 0 < trust[2] < trust[3] == trust[4] < 1


def test_ease_is_read_off_a_stranger_too(fitted):
    head, encoder = fitted._head, fitted._encoder
    demands = np.stack([head.demands(head.features(encoder, text)) for text in (STRANGE, "Hi")])
    np.testing.assert_allclose(demands[:, 1:], np.tile(demands[0, 1:], (2, 1)), atol=1e-5)
    assert demands[0, 0] != demands[1, 0]


def test_the_guess_knows_what_it_was_shown_and_stays_in_doubt_where_nothing_tells():
    rng = np.random.default_rng(0)
    domains = np.arange(300) % 3
    telling = np.eye(3, dtype=np.float32)[domains] * 4
    noise = rng.standard_normal((300, 5)).astype(np.float32)
    weights, bias = learn_guess(np.concatenate([telling, noise], axis=1), domains, 4, seed=0)
    shares = softmax(np.concatenate([telling, noise], axis=1) @ weights + bias)
    assert (shares.argmax(axis=1) == domains).all()
    assert shares[:, 3].max() < 0.05  # a domain without prompts
    weights, bias = learn_guess(noise, domains, 3, seed=0)
    assert np.abs(softmax(noise @ weights + bias) - 1 / 3).mean() < 0.1
