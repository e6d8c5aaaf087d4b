from __future__ import annotations

import json
import sys
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tryage import InvalidTable, Library, ModelCard, PerformanceTable, UnknownModel, UsageError
from tryage.data import Split, split_by_model, split_by_prompt
from tryage.evaluation import Measures, evaluate
from tryage.evaluation.contenders import Predictions
from tryage.evaluation.costs import Costs
from tryage.evaluation.judging import Bench
from tryage.evaluation.plot import check_plot, plot
from tryage.predictors import get
from tryage.testing import FunctionPredictor

NAMES = {
    "random", "cheapest", "best_single", "prompt_length", "per_domain_best", "knn", "oracle",
}  # fmt: skip
MEASURES = [field.name for field in fields(Measures) if field.name != "intervals"]


def judged(predictor, train, test, **options):
    return evaluate(predictor, train, test, **{"repeats": 50, **options})


@pytest.fixture(scope="module")
def split(table):
    return split_by_prompt(table, 0.4, seed=0)


@pytest.fixture(scope="module")
def evaluation(split):
    return judged(get("knn")(k=5), split.train, split.test)


def small_table(scores, usd=None, domains=None):
    prompts = [f"prompt {'x' * n}" for n in range(len(scores))]
    table = PerformanceTable.from_scores(prompts, ["cheap", "dear"], scores, domains)
    usd = np.tile([1.0, 10.0], (len(scores), 1)) if usd is None else usd
    return replace(table, measures={"cost_usd": usd})


def test_the_measures_by_hand():
    # Four prompts: cheap is right on 0 and 1, dear on 1 and 2, nobody on 3.
    test = small_table([[1, 0], [1, 1], [0, 1], [0, 0]])
    train = small_table([[0, 1], [0, 1], [1, 1]])  # dear is the best single model
    quality = {test.prompts[0]: (1.0, 0.0), test.prompts[2]: (0.9, 0.2)}

    def predicted(prompt, model):
        return quality.get(prompt, (0.0, 0.5))[model == "dear"]

    learner = FunctionPredictor(predicted)
    learner.fit(train)
    found = judged(learner, train, test)
    own = found.predictor
    assert found.pair.strong == "dear"
    assert found.pair.weak == "cheap"
    assert (found.prompts.all_right, found.prompts.some_right, found.prompts.none_right) == (
        1,
        2,
        1,
    )
    # It calls cheap, dear, cheap, dear: right, right, wrong, and a tie of noughts.
    assert own.quality == 0.5
    assert own.selection_accuracy == 0.75
    assert own.regret == 0.25
    # The best single model has .5, the oracle .75.
    assert own.oracle_gap_closed == 0.0
    assert own.headroom_captured == 0.0
    # The gap is nought on the whole, since each has two right.
    assert own.apgr is None
    assert "dear is no better than cheap" in found.notes["apgr"]
    # Cells in bins: [0, .1) 3 cells, mean 0 against 1/3; [.2] 1 cell; [.5] 2 cells against 1/2;
    # [.9, 1] 2 cells, mean .95 against .5.
    assert own.calibration_error == pytest.approx((1 + 0.8 + 0 + 0.9) / 8)
    assert found.baselines["best_single"].quality == 0.5
    assert found.baselines["cheapest"].quality == 0.5
    assert found.baselines["oracle"].quality == 0.75
    assert found.baselines["oracle"].aiq == pytest.approx(0.75 - 0.25 / 2 * (10 - 1) / 4 / 9)


def test_everything_has_a_value_and_an_interval_around_it(evaluation):
    assert set(evaluation.baselines) == NAMES
    for measures in (evaluation.predictor, *evaluation.baselines.values()):
        for name in MEASURES:
            value, interval = getattr(measures, name), measures.intervals[name]
            assert value is not None, name
            assert interval[0] - 1e-9 <= value <= interval[1] + 1e-9, name


def test_the_oracle_is_the_limit_and_the_best_single_the_mark(evaluation):
    oracle, single = evaluation.baselines["oracle"], evaluation.baselines["best_single"]
    for measures in (evaluation.predictor, *evaluation.baselines.values()):
        assert measures.quality <= oracle.quality
        assert measures.aiq <= oracle.aiq + 1e-9
        assert measures.apgr <= oracle.apgr
        assert measures.regret >= 0
    assert (oracle.oracle_gap_closed, oracle.selection_accuracy, oracle.regret) == (1, 1, 0)
    assert oracle.headroom_captured == 1
    assert oracle.calibration_error == pytest.approx(0)
    assert (single.oracle_gap_closed, single.apgr, single.cpt50, single.cpt80) == (0, 0.5, 0.5, 0.8)
    assert oracle.cost_at_parity < 0.5
    assert oracle.apgr > 0.6


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_no_table_lets_anyone_pass_the_oracle(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 3, (24, 2)) / 2
    scores[rng.random(scores.shape) < 0.15] = np.nan
    if np.isnan(scores).all(axis=1)[[0, 1, 12]].any():
        return
    table = small_table(scores, usd=np.tile(rng.random(2), (24, 1)))
    found = judged(get("prompt_length")(), table.rows(range(12)), table.rows(range(12, 24)))
    oracle = found.baselines["oracle"]
    for measures in (found.predictor, *found.baselines.values()):
        assert measures.quality <= oracle.quality + 1e-9
        assert measures.aiq <= oracle.aiq + 1e-9
        assert 0 <= measures.aiq <= 1
        assert measures.selection_accuracy <= oracle.selection_accuracy == 1
        assert measures.oracle_gap_closed is None or measures.oracle_gap_closed <= 1 + 1e-9


def test_random_recovers_half_of_the_gap():
    rng = np.random.default_rng(0)
    table = small_table(np.column_stack([rng.random(2000) < 0.4, rng.random(2000) < 0.7]))
    split = split_by_prompt(table, 0.9)
    found = judged(get("random")(), split.train, split.test)
    low, high = found.predictor.intervals["apgr"]
    assert low < 0.5 < high
    assert found.predictor.apgr == pytest.approx(0.5, abs=0.05)
    assert found.predictor.cpt80 == pytest.approx(0.8, abs=0.06)
    assert found.predictor.selection_accuracy < found.baselines["best_single"].selection_accuracy


def test_nothing_of_the_test_part_is_learned(split, evaluation):
    turned = replace(split.test, scores=1 - split.test.scores)
    other = judged(get("knn")(k=5), split.train, turned)
    assert other.pair == evaluation.pair
    for name in NAMES - {"oracle"}:
        # What is chosen stays: its score is turned with the table's.
        quality = evaluation.baselines[name].quality
        assert other.baselines[name].quality == pytest.approx(1 - quality, abs=1e-6)


def test_a_fitted_predictor_is_taken_as_it_is(split):
    worst = FunctionPredictor(lambda prompt, model: float(model == "tiny"))
    assert judged(worst.fit(split.train), split.train, split.test).predictor.quality == (
        pytest.approx(float(split.test.scores[:, 0].mean()))
    )


def test_the_domain_is_told_to_who_knows_the_domain(evaluation, split):
    told = evaluation.baselines["per_domain_best"].quality
    best = {"code": "coder", "math": "thinker", "chat": "giant"}
    columns = [split.test.models.index(best[domain]) for domain in split.test.domains]
    chosen = split.test.scores[np.arange(len(split.test)), columns]
    assert told == pytest.approx(float(chosen.mean()))


def test_the_oracle_knows_each_row_of_a_text_that_stands_in_two(split):
    test = replace(split.test, prompts=("the same",) * len(split.test))
    assert judged(get("random")(), split.train, test).baselines["oracle"].regret == 0


def test_cost_at_parity_by_hand():
    # The dear model is right on all, the cheap one on what is easy: that may go to it.
    easy = [n % 2 == 0 for n in range(40)]
    table = small_table([[float(is_easy), 1.0] for is_easy in easy])
    expected = {p: (0.8 if is_easy else 0.1, 0.9) for p, is_easy in zip(table.prompts, easy)}
    learner = FunctionPredictor(lambda prompt, model: expected[prompt][model == "dear"])
    test = table.rows(range(30, 40))
    found = judged(learner, table.rows(range(30)), test).predictor
    assert found.cost_at_parity == pytest.approx((5 * 1 + 5 * 10) / (10 * 10))
    assert found.parity_gain == 0
    assert found.quality == 1


@pytest.mark.parametrize(
    ("quality", "least", "most"),
    [
        ((0.5, 0.8, 0.9), 60, 80),  # middle from 60 USD down, and it loses; then cheap
        ((0.5, 0.6, 0.9), 0, 1e-6),  # cheap comes next, and is level
        ((0.5, 0.9, 0.8), None, None),  # behind from the start, whatever comes later
    ],
)
def test_the_worth_at_parity_is_the_least_before_the_first_loss(quality, least, most):
    table = PerformanceTable.from_scores(
        [f"prompt {n}" for n in range(10)], ["cheap", "middle", "dear"], np.tile([1, 0, 1], (10, 1))
    )
    usd = np.tile([1.0, 4.0, 10.0], (10, 1))
    single = Predictions(np.tile([0.0, 0.0, 1.0], (10, 1)), np.zeros(1))
    found = Bench(table, single, Costs(usd, usd)).parity_worth(np.tile(quality, (10, 1)))
    assert np.isnan(found) if least is None else least <= found <= most


def test_parity_is_not_bought_for_more_than_the_best_single_model_costs():
    table = PerformanceTable.from_scores(
        [f"prompt {n}" for n in range(10)], ["single", "wrong", "dear"], np.tile([1, 0, 1], (10, 1))
    )
    usd = np.tile([2.0, 1.0, 10.0], (10, 1))
    single = Predictions(np.tile([1.0, 0.0, 0.0], (10, 1)), np.zeros(1))
    bench = Bench(table, single, Costs(usd, usd))
    # Dear while cost counts little, then wrong: no quality is lost, but never is it cheaper.
    assert np.isnan(bench.parity_worth(np.tile([0.5, 0.6, 0.9], (10, 1))))


def test_one_that_never_matches_the_best_single_model_leaves_the_calls_to_it(split):
    worst = FunctionPredictor(lambda prompt, model: float(model == "tiny"))
    found = judged(worst, split.train, split.test).predictor
    assert (found.cost_at_parity, found.parity_gain) == (1.0, 0.0)


def test_without_costs_it_says_why(split):
    train, test = (replace(part, measures={}) for part in (split.train, split.test))
    found = judged(get("best_single")(), train, test)
    assert found.predictor.aiq is found.predictor.cost_at_parity is found.predictor.parity_gain
    assert found.predictor.aiq is None
    assert found.baselines["cheapest"] == Measures()
    for name in ("aiq", "cost_at_parity", "parity_gain", "cheapest"):
        assert "no cost is known of tiny, coder, thinker, giant" in found.notes[name]
    assert found.curves == {}
    with pytest.raises(UsageError, match="no cost is known"):
        plot(found, "nowhere.png")


def test_a_library_brings_the_costs(split):
    train, test = (replace(part, measures={}) for part in (split.train, split.test))
    cards = Library(
        ModelCard(name=name, input_usd_per_mtok=price, output_usd_per_mtok=price)
        for name, price in zip(test.models, (9, 1, 2, 3), strict=True)
    )
    found = judged(get("best_single")(), train, test, library=cards)
    assert found.predictor.aiq is not None
    assert found.pair.weak == "coder"
    mean = test.scores[:, test.models.index("coder")].mean()
    assert found.baselines["cheapest"].quality == pytest.approx(float(mean))


def test_answers_of_no_length_cost_what_was_read(split):
    nothing = {"output_tokens": np.zeros(split.train.scores.shape)}
    train = replace(split.train, measures=nothing)
    test = replace(split.test, measures={"output_tokens": np.zeros(split.test.scores.shape)})
    cards = Library(
        ModelCard(name=name, input_usd_per_mtok=price, output_usd_per_mtok=99)
        for name, price in zip(test.models, (1, 2, 3, 9), strict=True)
    )
    found = judged(get("best_single")(), train, test, library=cards)
    letters = sum(map(len, test.prompts)) / len(test)
    cheapest = found.curves["cheapest"].cost_usd[0]
    assert cheapest == pytest.approx(letters / 4 / 1e6, rel=0.05)
    assert found.predictor.aiq is not None
    assert found.predictor.cost_at_parity is not None


def test_models_that_were_not_learned_are_never_chosen_and_named(table):
    split = split_by_model(table, ["giant"], 0.4)
    found = judged(get("best_single")(), split.train, split.test)
    assert found.unknown == ("giant",)
    assert found.predictor.quality == pytest.approx(
        float(split.test.only(["thinker"]).scores.mean()), abs=0.06
    )
    assert found.baselines["oracle"].quality > found.predictor.quality
    placed = judged(get("default")(), split.train, split.test)
    assert placed.unknown == ()


def test_the_pair_may_be_named(split):
    found = judged(get("knn")(k=5), split.train, split.test, strong="coder", weak="thinker")
    assert (found.pair.strong, found.pair.weak) == ("coder", "thinker")
    strangers = split_by_model(split.train, ["giant"])
    with pytest.raises(UnknownModel, match="'giant', which is none"):
        judged(get("knn")(), strangers.train, split.test, strong="giant")


def test_a_training_part_too_small_for_validation_is_said_to_be():
    part = small_table([[1, 0], [1, 1]])
    found = judged(get("best_single")(), part.rows([0]), part.rows([1]))
    assert found.predictor.cost_at_parity is None
    assert "too small" in found.notes["cost_at_parity"]
    assert found.predictor.aiq is not None


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: Split(s.train.only(["tiny"]), s.test), InvalidTable, r"1 model \(tiny\)"),
        (lambda s: Split(s.train, s.test.rows([])), InvalidTable, "no score to judge on"),
        (lambda s: Split(s.train.rows([]), s.test), InvalidTable, "no score to learn from"),
        (lambda s: Split(s.train, s.test.only(["tiny"])), UnknownModel, "no model 'coder'"),
    ],
)
def test_what_cannot_be_judged_is_an_error_in_one_line(split, change, error, message):
    parts = change(split)
    with pytest.raises(error, match=message) as caught:
        judged(get("best_single")(), parts.train, parts.test)
    assert "\n" not in str(caught.value)


def test_a_predictor_of_other_models_is_an_error(split):
    other = PerformanceTable.from_scores(["a", "b"], ["x", "y"], np.eye(2))
    with pytest.raises(UnknownModel, match="knows none of the table's models"):
        judged(get("best_single")().fit(other), split.train, split.test)


def test_prompts_without_scores_are_left_out(split):
    scores = split.test.scores.copy()
    scores[0] = np.nan
    found = judged(get("knn")(), split.train, replace(split.test, scores=scores))
    assert found.n_test == len(split.test) - 1


def test_it_is_plain_json_and_the_same_for_the_same_seed(split, evaluation):
    plain = evaluation.as_json()
    again = judged(get("knn")(k=5), split.train, split.test).as_json()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    for part in (plain, again):
        for measures in (part["predictor"], *part["baselines"].values()):
            assert list(measures.pop("intervals")) == MEASURES
            assert list(measures) == MEASURES
            del measures["seconds_per_1k"]
    assert plain == again
    assert set(plain["curves"]) == {"predictor", *NAMES}
    assert {len(c["quality"]) for c in plain["curves"].values()} == {63}
    assert plain["curves"]["predictor"]["cost_usd"][-1] == pytest.approx(0.001)


def test_progress_tells_each_step(split):
    steps = []
    judged(get("best_single")(), split.train, split.test, progress=steps.append)
    assert steps[0] == f"best_single learns from {len(split.train)} prompts"
    assert "baseline knn" in steps


def test_the_curves_are_drawn(evaluation, tmp_path):
    for ending in (".png", ".svg", ".pdf"):
        file = tmp_path / f"curves{ending}"
        check_plot(file)
        plot(evaluation, file)
        assert file.stat().st_size > 1000
    assert "knn" in (tmp_path / "curves.svg").read_text()


def test_a_plot_that_cannot_be_is_refused_before_the_work(tmp_path):
    with pytest.raises(UsageError, match="ends in .png"):
        check_plot(tmp_path / "curves.gif")
    with pytest.raises(UsageError, match="there is no folder"):
        check_plot(tmp_path / "none" / "curves.png")


def test_a_call_costs_by_its_own_length_where_the_worth_is_chosen_too(monkeypatch):
    benches = []

    def seen(*parts):
        benches.append(Bench(*parts))
        return benches[-1]

    monkeypatch.setattr(sys.modules["tryage.evaluation.evaluate"], "Bench", seen)
    prompts = [f"{n} " + "word " * (10 + 40 * (n % 2)) for n in range(40)]
    scores = [[n % 2, 1] for n in range(40)]
    table = PerformanceTable.from_scores(prompts, ["small", "large"], scores)
    cards = Library(
        ModelCard(name=name, input_usd_per_mtok=usd, output_usd_per_mtok=usd)
        for name, usd in (("small", 1.0), ("large", 10.0))
    )
    split = split_by_prompt(table, 0.3)
    evaluate(get("knn")(k=3), split.train, split.test, library=cards, repeats=1)
    assert len(benches) == 2  # where the worth is chosen, and where it is judged
    assert all(np.ptp(bench.costs.expected[:, 0]) > 0 for bench in benches)
