from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tryage import Library, ModelCard, Router, UnknownModel, UsageError, predictors
from tryage.predictors.baselines import BestSinglePredictor
from tryage.predictors.bradley_terry import BradleyTerryPredictor
from tryage.predictors.knn import KNNPredictor
from tryage.testing import FunctionPredictor
from tryage.threshold import ThresholdPredictor, calibrate_threshold, cost_weight, win_rates

CHEAP = ModelCard(name="tiny", input_usd_per_mtok=0.1, output_usd_per_mtok=0.1)
DEAR = ModelCard(name="giant", input_usd_per_mtok=10, output_usd_per_mtok=10)


@pytest.fixture(params=[(CHEAP, DEAR), (DEAR, CHEAP)], ids=["cheap first", "dear first"])
def pair(request):
    return Library(request.param)


@pytest.fixture(scope="module")
def fitted(table):
    scores = (table.scores > 0.7).astype(np.float32)
    return BradleyTerryPredictor(base=1000).fit(replace(table, scores=scores))


def routed(router, prompts):
    return [decision.model for decision in router.route_batch(prompts)]


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.6, 0.75, 0.9])
def test_the_strong_model_is_called_iff_it_wins_often_enough(fitted, table, pair, threshold):
    rates = fitted.win_probability(table.prompts, "giant", "tiny")
    router = Router(pair, ThresholdPredictor(fitted, "giant", "tiny", threshold))
    wanted = ["giant" if rate >= threshold else "tiny" for rate in rates]
    assert routed(router, table.prompts) == wanted


def test_at_the_threshold_itself_it_is_called(pair):
    source = FunctionPredictor(lambda prompt, model: 0.5).for_library(pair)
    assert win_rates(source, ["hi"], "giant", "tiny").tolist() == [0.5]

    def model(threshold):
        return (
            Router(pair, ThresholdPredictor(source, "giant", "tiny", threshold)).route("hi").model
        )

    assert model(0.5) == "giant"
    assert model(0.5 + 1e-9) == "tiny"
    assert model(0.5 - 1e-9) == "giant"


@pytest.mark.parametrize("share", [0, 0.1, 0.25, 0.5, 0.77, 1])
def test_a_share_of_calls_is_met(fitted, table, share):
    prompts = table.prompts
    threshold = calibrate_threshold(fitted, prompts, "giant", "tiny", share)
    rates = fitted.win_probability(prompts, "giant", "tiny")
    assert threshold == np.quantile(rates, 1 - share)
    assert abs(np.sum(rates >= threshold) - share * len(prompts)) <= 1


def test_prompts_that_it_cannot_tell_apart_go_together(table):
    same = BestSinglePredictor().fit(table)
    threshold = calibrate_threshold(same, table.prompts, "giant", "tiny", 0.3)
    assert (win_rates(same, table.prompts, "giant", "tiny") >= threshold).all()


@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.75, 0.9])
def test_a_weight_on_cost_decides_as_the_threshold_does(fitted, table, pair, threshold):
    two = BradleyTerryPredictor(base=1000).fit(table.only(["tiny", "giant"]))
    weighted = Router(pair, two, flags={"cost": cost_weight(threshold, two.stake_)})
    thresholded = Router(pair, ThresholdPredictor(two, "giant", "tiny", threshold))
    assert routed(weighted, table.prompts) == routed(thresholded, table.prompts)


def test_below_one_half_no_weight_does():
    with pytest.raises(UsageError, match=r"\[0.5, 1\], or use a ThresholdPredictor"):
        cost_weight(0.49)


def test_any_predictor_has_win_rates(fitted, table):
    knn = KNNPredictor().fit(table)
    quality = knn.predict(table.prompts).astype(np.float64)
    np.testing.assert_allclose(
        win_rates(knn, table.prompts, "giant", "coder"), (1 + quality[:, 3] - quality[:, 1]) / 2
    )
    scores = (table.scores > 0.7).astype(np.float32)
    two = BradleyTerryPredictor().fit(replace(table, scores=scores).only(["tiny", "giant"]))
    by_quality = two.for_library(Library([DEAR, CHEAP]))  # has no win_probability of its own
    np.testing.assert_allclose(
        win_rates(two, table.prompts, "giant", "tiny"),
        win_rates(by_quality, table.prompts, "giant", "tiny"),
        atol=1e-6,
    )


def test_it_finds_the_models_by_their_other_names(fitted):
    library = Library(
        [ModelCard(name="org/tiny", aliases=("tiny",)), ModelCard(name="big", aliases=("giant",))]
    )
    router = Router(library, ThresholdPredictor(fitted, "giant", "tiny", 0.0))
    assert router.route("Hello").model == "big"


@pytest.mark.parametrize(("share", "prompts"), [(1.2, ["a"]), (-0.1, ["a"]), (0.5, [])])
def test_what_cannot_be_calibrated_is_an_error(fitted, share, prompts):
    with pytest.raises(UsageError, match=r"give a share in \[0, 1\] and prompts"):
        calibrate_threshold(fitted, prompts, "giant", "tiny", share)


def test_a_model_that_the_source_does_not_know_is_an_error(fitted, table):
    with pytest.raises(UnknownModel, match="'gaint'.*Did you mean 'giant'"):
        calibrate_threshold(fitted, ["a"], "gaint", "tiny", 0.5)
    with pytest.raises(UnknownModel, match="'gaint'"):
        win_rates(BestSinglePredictor().fit(table), ["a"], "gaint", "tiny")


def test_it_is_kept_as_its_source_and_a_number(fitted, table, tmp_path):
    predictor = ThresholdPredictor(fitted, "giant", "tiny", 0.6)
    with pytest.raises(UsageError, match="save its source, and keep threshold=0.6"):
        predictor.save(tmp_path / "none")
    source = predictors.load(fitted.save(tmp_path / "saved"))
    again = ThresholdPredictor(source, "giant", "tiny", 0.6)
    np.testing.assert_array_equal(again.predict(table.prompts), predictor.predict(table.prompts))
