"""A new model, placed among known ones by a few scores."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tryage import Library, ModelCard, PerformanceTable, UnknownModel, UsageError
from tryage.predictors.ability import place
from tryage.predictors.default import DefaultPredictor
from tryage.predictors.placing import informative, place_among, refine

RNG = np.random.default_rng(0)
N, KNOWN = 600, 12
ABILITY = np.linspace(-2, 2, KNOWN)
EASE, SLOPE = RNG.normal(0, 1.5, N), np.exp(RNG.normal(0, 0.5, N))
# The text foretells nothing but an average prompt.
FORETOLD = np.column_stack([np.zeros(N), np.ones(N)])
START, SPREAD = np.array([1.0, -1.0]), np.array([0.0, 2.0])


def likely(ability):
    return 1 / (1 + np.exp(-(EASE[:, None] + SLOPE[:, None] * np.atleast_1d(ability))))


# As a predictor sees it that knows no more than the text: the log-odds of each model's mean.
MEANS = likely(ABILITY).mean(axis=0)
VECTORS = np.stack([np.ones(KNOWN), np.log(MEANS / (1 - MEANS))])
SCORES = (RNG.random((N, KNOWN)) < likely(ABILITY)).astype(float)


def placed(ability, rows, seed, others=SCORES):
    scores = np.full(N, np.nan)
    draw = np.random.default_rng(seed).random(N) < likely(ability)[:, 0]
    scores[rows] = draw[rows]
    return place_among(FORETOLD, VECTORS, others, scores, START, SPREAD)[1]


def test_known_models_tell_how_hard_a_prompt_is():
    refined = refine(FORETOLD, VECTORS, SCORES)
    assert np.corrcoef(refined[:, 0], EASE)[0, 1] > 0.85
    assert np.corrcoef(refined[:, 1], SLOPE)[0, 1] > 0.3
    assert (refined[:, 1] > 0).all()


def test_without_scores_demands_stay_as_foretold():
    nothing = np.full((N, KNOWN), np.nan)
    np.testing.assert_allclose(refine(FORETOLD, VECTORS, nothing), FORETOLD, atol=1e-9)
    np.testing.assert_allclose(refine(FORETOLD, VECTORS[:, :0], nothing[:, :0]), FORETOLD)


@settings(max_examples=20, deadline=None)
@given(ability=st.floats(-1.5, 2.5), seed=st.integers(0, 1000))
def test_informative_prompts_beat_random_ones_beside_known_models(ability, seed):
    refined = refine(FORETOLD, VECTORS, SCORES)
    best = informative(refined, VECTORS, SPREAD, [""] * N, 30)
    everything = placed(ability, np.arange(N), seed)
    assert abs(placed(ability, best, seed) - everything) < 1.2


def test_over_many_models_informative_prompts_err_less_than_random_ones():
    best = informative(refine(FORETOLD, VECTORS, SCORES), VECTORS, SPREAD, [""] * N, 20)
    errors = {"best": [], "random": [], "blind": []}
    for seed in range(40):
        ability = np.random.default_rng(seed).uniform(-1.5, 2.5)
        everything = placed(ability, np.arange(N), seed)
        rows = np.random.default_rng(seed).permutation(N)[:20]
        blind = np.full((N, KNOWN), np.nan)
        errors["best"].append(abs(placed(ability, best, seed) - everything))
        errors["random"].append(abs(placed(ability, rows, seed) - everything))
        errors["blind"].append(abs(placed(ability, rows, seed, blind) - everything))
    means = {kind: np.mean(values) for kind, values in errors.items()}
    assert means["best"] < means["random"]
    assert means["best"] < 0.9 * means["blind"]


@pytest.mark.parametrize("ability", [-1.5, 0.5, 2.5])
def test_the_mean_over_the_whole_table_comes_out_right(ability):
    best = informative(refine(FORETOLD, VECTORS, SCORES), VECTORS, SPREAD, [""] * N, 100)
    # What is foretold of every prompt here is the same, so that this is the predicted mean.
    expected = np.mean([1 / (1 + np.exp(-placed(ability, best, seed))) for seed in range(10)])
    assert expected == pytest.approx(likely(ability).mean(), abs=0.05)


def test_the_mean_is_that_of_what_the_model_would_score_on_the_whole_table():
    refined = refine(FORETOLD, VECTORS, SCORES)
    rows = informative(refined, VECTORS, SPREAD, [""] * N, 30)
    answers = (likely(2.0)[rows, 0] > 0.5).astype(float)
    scores = np.full(N, np.nan)
    scores[rows] = answers
    whole = place_among(FORETOLD, VECTORS, SCORES, scores, START, SPREAD)
    anchors_only = place(refined[rows], answers, START, SPREAD)
    expected = (1 / (1 + np.exp(-refined @ anchors_only))).mean()
    assert 1 / (1 + np.exp(-whole[1])) == pytest.approx(expected, abs=1e-3)
    assert whole[1] != pytest.approx(anchors_only[1], abs=0.01)


def test_beside_other_anchors_only_the_anchors_stand_as_they_are():
    refined = refine(FORETOLD, VECTORS, SCORES)
    rows = informative(refined, VECTORS, SPREAD, [""] * N, 100)
    scores = np.full(100, np.nan)
    scores[:30] = likely(2.0)[rows[:30], 0] > 0.5
    alone = place_among(FORETOLD[rows], VECTORS, SCORES[rows], scores, START, SPREAD)
    plain = place(refined[rows[:30]], scores[:30], START, SPREAD)
    np.testing.assert_allclose(alone, plain, atol=1e-6)


def test_the_next_anchor_tells_what_those_before_left_open():
    demands = np.array([[0, 0.1, 1.0, 0.0], [0, 0.1, 1.0, 0.0], [0, 0.1, 0.0, 0.9]])
    vectors, spread = np.ones((4, 3)), np.array([0.0, 1.0, 1.0, 1.0])
    chosen = informative(demands, vectors, spread, [""] * 3, 2)
    assert chosen.tolist() == [0, 2]


def test_anchors_are_chosen_for_a_model_stranger_than_the_known_ones():
    demands = np.array([[0, 1.0, 0.0], [0, 0.9, 0.0], [0, 0.05, 1.0]])
    vectors, spread = np.ones((3, 3)), np.array([0.0, 1.0, 0.5])
    # Half as far out among known models, a strength still is the greater doubt.
    assert informative(demands, vectors, spread, [""] * 3, 2).tolist() == [2, 0]


def test_each_domain_gives_its_share_and_no_prompt_comes_twice():
    domains = ["many"] * 400 + ["few"] * 200
    chosen = informative(FORETOLD, VECTORS, SPREAD, domains, 30)
    assert len(set(chosen.tolist())) == 30
    for k in (3, 9, 30):
        assert abs((chosen[:k] < 400).sum() - 2 * k / 3) <= 1
    everyone = informative(FORETOLD[:50], VECTORS, SPREAD, domains[380:430], 50)
    assert sorted(everyone.tolist()) == list(range(50))


def test_the_first_anchor_tells_models_apart():
    demands = np.array([[8.0, 1.0], [0.0, 1.0], [0.0, 0.05], [-8.0, 1.0]])
    assert informative(demands, VECTORS, SPREAD, [""] * 4, 1).tolist() == [1]


@pytest.fixture(scope="module")
def fitted(table):
    return DefaultPredictor().fit(table.only(["tiny", "coder", "thinker"]))


def new(table, rows, beside=True):
    """Return the table with `giant`, which was not learned, scored on some rows only."""
    scores = table.scores.copy()
    scores[np.setdiff1d(np.arange(len(table)), rows), table.models.index("giant")] = np.nan
    hidden = dataclasses.replace(table, scores=scores)
    return hidden if beside else hidden.only(["giant"])


def quality(predictor, card, prompts):
    return predictor.for_library(Library([card])).predict(prompts)[:, 0]


def test_anchors_come_from_the_table_the_best_first(fitted, table):
    ten, three = fitted.informative(table, 10), fitted.informative(table, 3)
    assert ten.prompt_ids[:3] == three.prompt_ids
    assert set(ten.prompt_ids) <= set(table.prompt_ids)
    assert set(three.domains) == {"code", "math", "chat"}


def test_anchors_of_prompts_that_nobody_answered(fitted, table):
    bare = PerformanceTable.from_scores(table.prompts, ["x"], np.full((len(table), 1), np.nan))
    assert len(fitted.informative(bare, 5)) == 5


@pytest.mark.parametrize("k", [0, -1, 61])
def test_as_many_anchors_as_there_are_prompts(fitted, table, k):
    with pytest.raises(UsageError, match=f"k={k}: choose from 1 to 60"):
        fitted.informative(table, k)


def test_few_scores_place_a_model_about_where_all_would(fitted, table):
    card = ModelCard(name="giant")
    rows = [table.prompt_ids.index(i) for i in fitted.informative(table, 12).prompt_ids]
    few = quality(fitted.place(card, new(table, rows)), card, table.prompts)
    whole = quality(fitted.place(card, table), card, table.prompts)
    before = quality(fitted, card, table.prompts)
    assert abs(few.mean() - whole.mean()) < 0.08
    assert abs(few.mean() - whole.mean()) < abs(before.mean() - whole.mean())


def test_placed_by_all_scores_is_about_learned_with_them(fitted, table):
    learned = DefaultPredictor().fit(table)
    card = ModelCard(name="giant")
    placed = quality(fitted.place(card, table), card, table.prompts)
    fit = quality(learned, card, table.prompts)
    assert np.abs(placed - fit).mean() < 0.1


def test_one_placed_model_helps_to_place_the_next(fitted, table):
    once = fitted.place(ModelCard(name="giant"), table)
    twice = once.place(ModelCard(name="second"), dataclasses.replace(
        table, models=("tiny", "coder", "thinker", "second")
    ))  # fmt: skip
    assert twice.models == (*fitted.models, "giant", "second")


def test_a_model_better_than_all_known_is_found_so():
    table = PerformanceTable.from_scores(
        [f"Question {i}: what is {i} times {i * i}?" for i in range(N)],
        [f"m{i}" for i in range(KNOWN)],
        SCORES,
    )
    predictor = DefaultPredictor().fit(table)
    best = likely(3.5)[:, 0] > np.random.default_rng(5).random(N)
    chosen = set(predictor.informative(table, 30).prompt_ids)
    scores = np.where([i in chosen for i in table.prompt_ids], best, np.nan)
    both = dataclasses.replace(
        table,
        models=(*table.models, "best"),
        scores=np.column_stack([table.scores, scores]).astype(np.float32),
    )
    card = ModelCard(name="best")
    grown = predictor.place(card, both)
    theirs = predictor.predict(table.prompts).mean(axis=0)
    assert quality(grown, card, table.prompts).mean() > theirs.max()


def test_a_table_without_the_model(fitted, table):
    with pytest.raises(UnknownModel, match="'nobody'"):
        fitted.place(ModelCard(name="nobody"), table)


def exam(off=0.0):
    """Return a table, and cards of its models that state their means there, or more by `off`."""
    table = PerformanceTable.from_scores(
        [f"Question {i}: what is {i} times {i * i}?" for i in range(N)],
        [f"m{i}" for i in range(KNOWN)],
        SCORES,
    )
    stated = np.clip(SCORES.mean(axis=0) + off * (-1) ** np.arange(KNOWN), 0.02, 0.98)
    cards = [
        ModelCard(name=f"m{i}", benchmarks={"exam": float(mean)}) for i, mean in enumerate(stated)
    ]
    return table, Library(cards)


@pytest.mark.parametrize("accuracy", [0.15, 0.5, 0.85, 0.93])
def test_a_published_accuracy_becomes_the_mean_that_is_foretold(accuracy):
    table, library = exam()
    predictor = DefaultPredictor().fit_tables({"exam": table}, library)
    card = ModelCard(name="new", benchmarks={"exam": accuracy})
    assert quality(predictor, card, table.prompts).mean() == pytest.approx(accuracy, abs=0.02)


def test_a_benchmark_without_its_prompts_is_read_as_cards_have_it():
    table, library = exam()
    cards = DefaultPredictor().fit_tables({"other": table}, library).prior_["readings"]
    prompts = DefaultPredictor().fit_tables({"exam": table}, library).prior_["readings"]
    assert prompts["exam"] != cards["exam"]
    assert prompts["exam"][2] < cards["exam"][2]


def test_cards_that_are_off_the_table_are_believed_less():
    noise = {}
    for off in (0.0, 0.1):
        table, library = exam(off)
        predictor = DefaultPredictor().fit_tables({"exam": table}, library)
        noise[off] = predictor.prior_["readings"]["exam"][2]
    assert noise[0.0] < 0.07
    assert noise[0.1] > 3 * noise[0.0]


def test_a_model_without_any_score_in_the_table_says_nothing_of_its_card():
    table, library = exam()
    unseen = SCORES.copy()
    unseen[:, 3] = np.nan
    table = PerformanceTable.from_scores(table.prompts, table.models, unseen)
    predictor = DefaultPredictor().fit_tables({"exam": table}, library)
    assert np.isfinite(predictor.prior_["readings"]["exam"]).all()
