"""What outputs stand for: taught by scores, read as quality."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tryage import PerformanceTable, UsageError
from tryage.predictors.readings import Grades, Listwise, PerModel, WinTieLoss, softmax

NAN = float("nan")
OUTPUTS = np.array([1.0, 0.3, -0.5])


@pytest.fixture
def pair():
    """The second model is the strong one: 3 wins, 2 ties, 1 loss, one prompt half measured."""
    scores = [[0, 1], [0, 1], [0.25, 0.75], [1, 1], [0, 0], [1, 0.5], [NAN, 1]]
    prompts = [f"prompt {n}" for n in range(len(scores))]
    return PerformanceTable.from_scores(prompts, ["weak", "strong"], scores)


def gradient(reading, outputs, scores):
    outputs = torch.tensor(outputs, requires_grad=True)
    loss = reading.loss(outputs, torch.tensor(scores))
    loss.backward()
    assert loss.isfinite()
    return outputs.grad.numpy()


@pytest.mark.parametrize("kind", [PerModel, Listwise])
def test_a_cell_without_a_score_teaches_nothing(kind):
    reading = kind((0.5, 0.5, 0.5))
    slopes = gradient(reading, [[0.2, 0.1, -0.4], [0.5, 0.3, 0.3]], [[1, NAN, 0], [NAN, NAN, 0.5]])
    assert np.isfinite(slopes).all()
    assert slopes[0, 1] == slopes[1, 0] == slopes[1, 1] == 0
    assert slopes[0, 0] < 0 < slopes[0, 2]
    # What is there weighs as much as if the other column did not exist.
    alone = gradient(kind((0.5, 0.5)), [[0.2, -0.4]], [[1.0, 0.0]])
    known = gradient(reading, [[0.2, 0.1, -0.4]], [[1, NAN, 0]])
    np.testing.assert_allclose(known[0, [0, 2]], alone[0], rtol=1e-6)


def test_per_model_starts_at_the_means_and_keeps_graded_scores(pair):
    reading = PerModel.of(pair)
    np.testing.assert_allclose(reading.quality(reading.start()), np.nanmean(pair.scores, axis=0))
    assert gradient(reading, [[0.0, 0.0]], [[0.5, 0.75]])[0, 0] == 0
    assert reading.win(np.array([0.0, 2.0]), strong=1, weak=0) == pytest.approx(
        (1 + 1 / (1 + np.exp(-2)) - 0.5) / 2
    )


def test_listwise_minds_the_order_where_models_differ():
    reading = Listwise((0.5, 0.5))
    extra = {}
    for scores in ([1.0, 0.0], [1.0, 1.0]):
        outputs, wanted = torch.tensor([[0.1, 0.3]]), torch.tensor([scores])
        plain = PerModel((0.5, 0.5)).loss(outputs, wanted)
        extra[tuple(scores)] = float(reading.loss(outputs, wanted) - plain)
    assert extra[1.0, 0.0] > extra[1.0, 1.0] > 0


def test_win_tie_loss_counts_ties_for_the_weak_model_as_routellm_does(pair):
    reading = WinTieLoss.of(pair)
    shares = softmax(OUTPUTS)
    assert reading.strong == 1
    assert reading.win(OUTPUTS, strong=1, weak=0) == pytest.approx(1 - shares[1] - shares[2])
    assert reading.win(OUTPUTS, strong=0, weak=1) == pytest.approx(shares[2])
    weak, strong = reading.quality(OUTPUTS)
    assert strong - weak == pytest.approx(reading.stake * (shares[0] - shares[2]))
    assert reading.stake == pytest.approx((1 + 1 + 0.5 + 0.5) / 4)


def test_win_tie_loss_learns_the_classes_it_counts(pair):
    reading = WinTieLoss.of(pair)
    np.testing.assert_allclose(softmax(reading.start()), [4 / 9, 3 / 9, 2 / 9])
    assert reading.teaches(pair.scores).tolist() == [True] * 6 + [False]
    slopes = gradient(reading, [[0.0, 0.0, 0.0]] * 3, [[0.0, 1.0], [1.0, 1.0], [1.0, 0.5]])
    assert slopes.argmin(axis=1).tolist() == [0, 1, 2]


def test_grades_are_those_of_the_weak_model_and_four_will_do(pair):
    reading = Grades.of(pair)
    outputs = np.array([0.5, 0.1, -0.3, 0.9, 0.2])
    shares = softmax(outputs)
    assert reading.win(outputs, strong=1, weak=0) == pytest.approx(1 - shares[3] - shares[4])
    assert reading.win(outputs, strong=0, weak=1) == pytest.approx(shares[3] + shares[4])
    weak, strong = reading.quality(outputs)
    assert weak == pytest.approx(shares @ [0, 0.25, 0.5, 0.75, 1])
    assert min(reading.strong_means) < strong < max(reading.strong_means)
    slopes = gradient(reading, [[0.0] * 5] * 3, [[0.0, NAN], [0.4, 1.0], [1.0, 1.0]])
    assert slopes.argmin(axis=1).tolist() == [0, 2, 4]
    # Where the weak one got [[1]], the strong one got 1, 1 and 0; five prompts' worth of its mean.
    assert reading.strong_means[0] == pytest.approx((2 + 5 * pair.scores[:, 1].mean()) / 8)
    assert reading.teaches(pair.scores).tolist() == [True] * 6 + [False]


@pytest.mark.parametrize(("kind", "loss"), [(WinTieLoss, "pairwise3"), (Grades, "grades")])
def test_two_models_are_two(kind, loss, table):
    with pytest.raises(UsageError, match=f"'{loss}' compares two models, and the table has 4"):
        kind.of(table)
