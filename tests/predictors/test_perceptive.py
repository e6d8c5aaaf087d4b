"""The perceptive router: losses, its head and its embedding; the contract is in test_contract."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tryage import NotFitted, PerformanceTable
from tryage.errors import UsageError
from tryage.predictors.perceptive import Losses, PerceptivePredictor, RankedLosses, losses_of

PROMPTS = ["Write a Python function", "What is the sum of 3 and 4", "Tell me a story"]


@pytest.fixture(scope="module")
def table(table):
    """The shared table with losses of 1 to 3 nats in place of its scores."""
    return replace(table, scores=np.exp(2 * table.scores - 3))


@pytest.fixture(scope="module")
def router(tiny_bert):
    """Makes a small router."""

    def make(**fields):
        small = {"learning_rate": 1e-3, "check_every": 5, "epochs": 1}
        return PerceptivePredictor(tiny_bert, **{**small, **fields})

    return make


@pytest.fixture(scope="module")
def fitted(router, table):
    return router(epochs=20, check_every=10).fit(table)


def scores_of(losses):
    return torch.exp(-torch.tensor(losses, dtype=torch.float32))


def table_of(losses):
    losses = np.asarray(losses)
    prompts = [f"prompt {n}" for n in range(len(losses))]
    return PerformanceTable.from_scores(prompts, ["a", "b"], np.exp(-losses))


@pytest.mark.parametrize("loss", ["mse", "ranking"])
def test_it_learns_the_losses(router, table, loss):
    predictor = router(loss=loss, epochs=20, check_every=10).fit(table)
    predicted = -np.log(predictor.predict(table.prompts))
    wanted = losses_of(table.scores)
    off = ((predicted - wanted) ** 2).mean()
    assert off < 0.6 * ((wanted - wanted.mean(axis=0)) ** 2).mean()
    chosen = wanted[np.arange(len(table)), predicted.argmin(axis=1)]
    assert chosen.mean() < wanted.mean(axis=0).min() - 0.02


def test_before_a_step_its_head_is_the_ridge_regression_of_the_losses(router, table):
    predictor = router(learning_rate=1e-30, max_steps=1).fit(table)
    assert np.ptp(predictor.head_) > 0
    predicted = -np.log(predictor.predict(table.prompts))
    wanted = losses_of(table.scores)
    start = ((wanted - wanted.mean(axis=0)) ** 2).mean()
    assert ((predicted - wanted) ** 2).mean() < 0.9 * start
    # But for the prompts held out.
    np.testing.assert_allclose(predicted.mean(axis=0), wanted.mean(axis=0), atol=0.1)


def test_quality_is_the_score_that_a_loss_stands_for():
    reading = Losses.of(table_of([[1.0, 3.0], [2.0, 2.0]]))
    outputs = reading.wanted(scores_of([[1.5, 2.5]]))[0].numpy().astype(np.float64)
    np.testing.assert_allclose(reading.losses(outputs), [1.5, 2.5], rtol=1e-5)
    np.testing.assert_allclose(reading.quality(outputs), np.exp([-1.5, -2.5]), rtol=1e-5)
    # No loss is below 0, no score above 1.
    assert reading.quality(np.array([-1e3, 0.0]))[0] == 1


def test_a_score_of_zero_is_a_great_loss_and_no_infinite_one():
    table = PerformanceTable.from_scores(["a", "b"], ["m", "n"], [[0, 1], [1, 0]])
    reading = Losses.of(table)
    assert losses_of(table.scores).max() == pytest.approx(-np.log(1e-4))
    assert torch.isfinite(reading.loss(torch.zeros(2, 2), torch.from_numpy(table.scores)))


@pytest.mark.parametrize("kind", [Losses, RankedLosses])
def test_cells_without_a_score_teach_nothing(kind):
    whole = table_of([[1.0, 3.0], [2.0, 1.0]])
    scores = torch.from_numpy(whole.scores).clone()
    scores[0, 1] = torch.nan
    reading = kind.of(whole)
    outputs = torch.zeros(2, 2, requires_grad=True)
    reading.loss(outputs, scores).backward()
    assert torch.isfinite(outputs.grad).all()
    assert outputs.grad[0, 1] == 0
    assert outputs.grad[1, 1] != 0


def test_ranking_cares_for_the_best_and_the_squared_error_for_all():
    table = table_of([[1.0, 1.2], [1.2, 1.0], [5.0, 5.2], [5.2, 5.0]])
    one, other = Losses.of(table), RankedLosses.of(table)
    scores = scores_of([[1.0, 1.2]])
    right = one.wanted(scores_of([[1.1, 1.3]]))  # both 0.1 too high: the order is right
    wrong = one.wanted(scores_of([[1.1, 1.1]]))  # 0.1 off each way: the order is gone
    assert one.loss(right, scores) == pytest.approx(float(one.loss(wrong, scores)), rel=1e-3)
    assert other.loss(right, scores) < other.loss(wrong, scores)


def test_the_embedding_is_what_the_head_reads(fitted, table):
    vectors = fitted.embed(table.prompts)
    assert vectors.shape == (len(table), 32)
    assert vectors.dtype == np.float32
    outputs = vectors @ fitted.head_ + fitted.head_bias_
    quality = fitted._reading().quality(outputs)
    np.testing.assert_allclose(quality, fitted.predict(table.prompts), atol=1e-5)
    np.testing.assert_allclose(fitted.embed(table.prompts[3:4])[0], vectors[3], atol=1e-5)
    assert fitted.embed([]).shape == (0, 32)


def test_training_changes_the_embedding_and_leaves_the_untrained_one(fitted, table, tmp_path):
    before = fitted.embed_untrained(PROMPTS)
    assert np.abs(before - fitted.embed(PROMPTS)).max() > 0.01
    loaded = PerceptivePredictor.load(fitted.save(tmp_path))
    assert loaded.embed_untrained(PROMPTS).tobytes() == before.tobytes()
    assert loaded.embed(PROMPTS).tobytes() == fitted.embed(PROMPTS).tobytes()


def test_before_fit_there_is_no_embedding(router):
    with pytest.raises(NotFitted):
        router().embed(PROMPTS)


def test_a_broken_off_training_goes_on(router, table, tmp_path, monkeypatch):
    whole = router(epochs=3).fit(table)
    seen = []
    honest = Losses.loss

    def loss(self, outputs, scores):
        seen.append(None)
        if len(seen) == 9:
            raise KeyboardInterrupt
        return honest(self, outputs, scores)

    monkeypatch.setattr(Losses, "loss", loss)
    with pytest.raises(KeyboardInterrupt):
        router(epochs=3).fit(table, checkpoints=tmp_path)
    resumed = router(epochs=3).fit(table, checkpoints=tmp_path)
    assert resumed.predict(PROMPTS).tobytes() == whole.predict(PROMPTS).tobytes()
    with pytest.raises(UsageError, match="the checkpoint of another training"):
        router(epochs=3, loss="ranking").fit(table, checkpoints=tmp_path)


def test_a_model_without_a_score_is_taken_as_average(router, table):
    scores = table.scores.copy()
    scores[:, 1] = np.nan
    predicted = router().fit(replace(table, scores=scores)).predict(PROMPTS)
    assert np.isfinite(predicted).all()


def test_an_unknown_loss_lists_its_own(router, table):
    with pytest.raises(UsageError, match="'bce' does not exist.*mse, ranking"):
        router(loss="bce").fit(table)
