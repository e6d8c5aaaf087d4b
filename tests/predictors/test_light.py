"""The light predictors: what each learns, on the table of three kinds and four models."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from tryage import PerformanceTable
from tryage.data import split_by_prompt
from tryage.errors import InvalidTable, MissingExtra, UnknownPredictor, UsageError
from tryage.evaluation.measures import routed_scores
from tryage.predictors import get, load
from tryage.predictors.contrastive import _rising_curve
from tryage.predictors.features import to_unit_range
from tryage.predictors.stack import _least_squares, _pays

NETWORKS = ("mlp", "item_response", "bilinear", "contrastive")
LIGHT = ("clusters", "ridge", "domain", *NETWORKS)
NEW = ["Write a Python function that sorts 7 lists", "x", "Tell me a story about the sea"]


@pytest.fixture(scope="module")
def split(table):
    return split_by_prompt(table, test=0.3, seed=0)


def made(name, **fields):
    if name == "stack":
        fields = {"members": ("ridge", "clusters"), **fields}
    return get(name)(**fields)


def constant_table(table, value=0.5):
    return replace(table, scores=np.full_like(table.scores, value))


@pytest.mark.parametrize("name", [*LIGHT, "stack"])
def test_it_beats_the_best_single_model(name, split):
    routed = routed_scores(
        made(name).fit(split.train).predict(split.test.prompts), split.test.scores
    )
    single = get("best_single")().fit(split.train).predict(split.test.prompts)
    assert routed.mean() > routed_scores(single, split.test.scores).mean() + 0.03


@pytest.mark.parametrize("name", [*LIGHT, "stack"])
def test_other_order_of_models_is_other_order_of_columns(name, table):
    order = [2, 0, 3, 1]
    turned = made(name).fit(table.only([table.models[i] for i in order])).predict(NEW)
    np.testing.assert_allclose(turned, made(name).fit(table).predict(NEW)[:, order], atol=0.02)


@pytest.mark.parametrize("name", [*LIGHT, "stack"])
def test_where_all_scores_are_equal_so_are_the_predictions(name, table):
    quality = made(name).fit(constant_table(table)).predict(NEW)
    np.testing.assert_allclose(quality, 0.5, atol=0.1)


@pytest.mark.parametrize("name", [*LIGHT, "stack"])
def test_a_model_that_was_seldom_measured_is_still_known_for_what_it_can(name, split):
    train = split.train
    scores = train.scores.copy()
    coder = train.models.index("coder")
    scores[::2, coder] = np.nan
    scores[0] = np.nan  # a prompt that nobody was asked
    fields = {"shrinkage": 1.0} if name in ("clusters", "domain") else {}
    predictor = made(name, **fields).fit(replace(train, scores=scores))
    code = [p for p, d in zip(split.test.prompts, split.test.domains, strict=True) if d == "code"]
    picks = predictor.predict(code).argmax(axis=1)
    assert (picks == coder).mean() > 0.5


@pytest.mark.parametrize("name", [*LIGHT, "stack"])
def test_a_model_without_any_score_is_no_trouble(name, table):
    scores = table.scores.copy()
    scores[:, 1] = np.nan
    assert np.isfinite(made(name).fit(replace(table, scores=scores)).predict(NEW)).all()


@pytest.mark.parametrize("name", [*LIGHT, "stack"])
def test_one_prompt_or_one_model_is_enough(name, table):
    one = made(name).fit(table.rows([0]))
    assert one.predict(table.prompts[:1]).argmax() == table.scores[0].argmax()
    assert made(name).fit(table.only(["coder"])).predict(NEW).shape == (3, 1)


def test_a_single_prompt_is_learned_though_none_can_be_held_out(table):
    predicted = get("mlp")().fit(table.rows([0])).predict(table.prompts[:1])
    np.testing.assert_allclose(predicted, table.scores[:1], atol=0.1)


@pytest.mark.parametrize("name", [*LIGHT, "stack"])
def test_a_table_without_a_score_is_an_error(name, table):
    with pytest.raises(InvalidTable, match="no score"):
        made(name).fit(constant_table(table, np.nan))


@pytest.mark.parametrize("name", NETWORKS)
def test_another_seed_gives_another_predictor(name, table):
    first, second = (get(name)(seed=seed, looks=2).fit(table).predict(NEW) for seed in (0, 1))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("name", NETWORKS)
def test_without_torch_the_error_names_the_extra(name, table, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=rf"'{name}' learns with torch: pip install 'tryage\["):
        get(name)().fit(table)


@pytest.mark.parametrize("name", ["ridge", "clusters"])
def test_without_torch_the_plain_ones_learn(name, table, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    get(name)().fit(table)


@pytest.mark.parametrize("name", NETWORKS)
def test_what_torch_learned_needs_no_torch_to_predict(name, table, tmp_path, monkeypatch):
    get(name)(looks=1).fit(table).save(tmp_path)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert load(tmp_path).predict(NEW).shape == (3, 4)


def test_the_domain_predictor_needs_domains(table):
    with pytest.raises(UsageError, match="names no domain.*'clusters'"):
        get("domain")().fit(replace(table, domains=("",) * len(table)))


def test_the_domain_predictor_shrinks_the_means_of_domains(table):
    math = np.array(table.domains) == "math"
    predictor = get("domain")(shrinkage=20.0).fit(table)
    expected = (table.scores[math].mean(axis=0) + table.scores.mean(axis=0)) / 2
    np.testing.assert_allclose(
        predictor.means_[sorted(set(table.domains)).index("math")], expected, 1e-5
    )


def test_the_domain_predictor_learns_what_sets_models_apart_within_a_domain():
    kinds = ["How many legs have {} cats?", "Name {} rivers of France, please, in a list."] * 40
    prompts = [kind.format(n) for n, kind in enumerate(kinds)]
    scores = [[1, 0], [0, 1]] * 40
    table = PerformanceTable.from_scores(prompts, ["a", "b"], scores, ["all"] * 80)
    quality = get("domain")().fit(table).predict([kinds[0].format(99), kinds[1].format(99)])
    assert quality.argmax(axis=1).tolist() == [0, 1]


def test_ridge_is_the_least_squares_line_at_its_penalty(table):
    predictor = get("ridge")().fit(table)
    x = predictor._features(table.prompts).astype(np.float64)
    centred = x - x.mean(axis=0)
    lhs = centred.T @ centred + predictor.penalty_ * np.eye(x.shape[1])
    slopes = np.linalg.solve(lhs, centred.T @ (table.scores - table.scores.mean(axis=0)))
    np.testing.assert_allclose(predictor.slopes_, slopes, atol=1e-4)


def test_ridge_learns_each_model_from_its_own_prompts(table):
    scores = table.scores.copy()
    scores[::3, 1] = np.nan
    kept = np.flatnonzero(~np.isnan(scores[:, 1]))
    both = get("ridge")().fit(replace(table, scores=scores))
    alone = get("ridge")().fit(table.rows(kept).only(["coder"]))
    # The features are standardised by other prompts, and the penalty is shared: nearly equal.
    np.testing.assert_allclose(both.predict(NEW)[:, 1], alone.predict(NEW)[:, 0], atol=0.05)


def test_ridge_shrinks_noise_to_the_mean():
    rng = np.random.default_rng(0)
    prompts = [f"question {n} of {n * 7 % 50}" for n in range(200)]
    table = PerformanceTable.from_scores(prompts, ["a", "b"], rng.random((200, 2)))
    assert get("ridge")().fit(table).predict(prompts).std(axis=0).max() < 0.08


def test_above_one_the_best_model_stays_the_best():
    quality = to_unit_range(np.array([[1.3, 1.1, -0.2], [0.2, 0.5, -0.1]], dtype=np.float32))
    np.testing.assert_allclose(quality, [[1, 0.8, 0], [0.2, 0.5, 0]], atol=1e-6)


def test_clusters_place_a_new_model_by_its_profile(split):
    known = split.train.only(["tiny", "thinker", "giant"])
    predictor = get("clusters")().fit(known)
    grown = predictor.place("coder", split.train)
    assert grown.models == ("tiny", "thinker", "giant", "coder")
    assert predictor.models == known.models
    np.testing.assert_array_equal(grown.predict(NEW)[:, :3], predictor.predict(NEW), strict=True)
    whole = get("clusters")().fit(split.train)
    np.testing.assert_allclose(
        grown.predict(NEW)[:, 3],
        whole.predict(NEW)[:, split.train.models.index("coder")],
        atol=1e-6,
    )


def test_clusters_refuse_a_model_that_is_known_or_was_not_measured(table):
    predictor = get("clusters")().fit(table.only(["tiny", "giant"]))
    with pytest.raises(UsageError, match="'tiny' is known already"):
        predictor.place("tiny", table)
    with pytest.raises(UsageError, match="no score of 'coder'"):
        predictor.place("coder", constant_table(table, np.nan))


def test_the_contrastive_curve_rises_and_changes_no_choice(table):
    predictor = get("contrastive")().fit(table)
    assert predictor.curve_[0] > 0
    cosines = np.stack([predictor._cosines(x) for x in predictor._features(table.prompts)])
    quality = predictor.predict(table.prompts)
    np.testing.assert_array_equal(cosines.argmax(axis=1), quality.argmax(axis=1))
    assert abs(quality.mean() - table.scores.mean()) < 0.1


def test_the_contrastive_curve_never_falls_even_where_scores_do():
    slope, _ = _rising_curve(np.linspace(-1, 1, 200), np.linspace(1, 0, 200))
    assert slope > 0


def test_item_response_demands_are_never_negative_so_ability_never_hurts(table):
    predictor = get("item_response")().fit(table)
    before = predictor.predict(NEW)
    predictor.ability_ = predictor.ability_ + 1
    assert (predictor.predict(NEW) >= before).all()


def test_the_stack_leaves_out_a_member_that_only_makes_noise(split):
    predictor = get("stack")(members=("ridge", "random")).fit(split.train)
    ridge, random = predictor.weights_
    assert random < 0.1 < 0.5 < ridge
    assert predictor.weights_.min() >= 0


def test_the_stack_gives_no_member_a_weight_below_nothing():
    good = np.array([0.0, 1.0, 0.5, 0.2])
    assert _least_squares(np.stack([-good, good]), 2 * good).tolist() == [0, 2]


def test_the_stacks_weights_come_from_prompts_that_the_members_had_not_seen(table):
    # The oracle knows what it saw, and nothing else: in sample it would take all the weight.
    oracle, _ = get("stack")(members=("oracle", "clusters")).fit(table).weights_
    assert oracle < 0.5


def test_where_departing_from_the_best_single_model_does_not_pay_nothing_departs(table):
    noise = np.random.default_rng(1).random(table.scores.shape).astype(np.float32)
    stack = get("stack")(members=("ridge", "knn")).fit(replace(table, scores=noise))
    assert stack.weights_.tolist() == [0, 0]
    np.testing.assert_array_equal(stack.predict(NEW)[0], stack.predict(NEW)[1])


def test_whether_it_pays_is_counted_by_what_varies_as_one():
    scores = np.array([[0.0, 1.0]] * 30 + [[1.0, 0.0]] * 30 + [[0.5, 0.5]] * 40)
    usual, routed = np.array([[1.0, 0.0]] * 100), np.array([[0.0, 1.0]] * 45 + [[1.0, 0.0]] * 55)
    # Fifteen right of a hundred more than wrong: clear for prompts, not for three domains.
    assert _pays(routed, usual, scores, [f"prompt {n}" for n in range(100)])
    assert not _pays(routed, usual, scores, ["a"] * 30 + ["b"] * 30 + ["c"] * 40)
    assert not _pays(usual, usual, scores, ["a"] * 100)


def test_an_equal_stack_is_the_mean_of_its_members(table):
    stack = get("stack")(members=("ridge", "clusters"), equal=True).fit(table)
    mean = (get("ridge")().fit(table).predict(NEW) + get("clusters")().fit(table).predict(NEW)) / 2
    np.testing.assert_allclose(stack.predict(NEW), mean, atol=1e-6)


def test_without_domains_the_stack_takes_clusters(table):
    table = replace(table, domains=("",) * len(table))
    stack = get("stack")(members=("ridge", "domain", "clusters")).fit(table)
    assert stack.members_ == ("ridge", "clusters")


def test_a_stack_that_cannot_be_is_an_error(table):
    with pytest.raises(UsageError, match="at least one member"):
        get("stack")(members=()).fit(table)
    with pytest.raises(UsageError, match="two folds"):
        get("stack")(folds=1).fit(table)
    with pytest.raises(UnknownPredictor, match="nobody"):
        get("stack")(members=("nobody",)).fit(table)


def test_a_stack_that_cannot_be_saved_whole_leaves_the_old_one(table, tmp_path, monkeypatch):
    make = partial(get("stack"), members=("ridge", "clusters"))
    old = make(seed=0).fit(table)
    old.save(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    new = make(seed=1).fit(table.rows(range(40)))

    def full(directory):
        raise OSError("No space left on device")

    monkeypatch.setattr(new._fitted[-1], "save", full)
    with pytest.raises(OSError, match="No space left"):
        new.save(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_encoder_is_read_beside_the_bundled_one_and_named_in_what_is_saved(
    table, tiny_bert, tmp_path
):
    plain, finer = get("ridge")().fit(table), get("ridge")(encoder=tiny_bert).fit(table)
    assert finer.slopes_.shape[0] == plain.slopes_.shape[0] + 32
    again = load(finer.save(tmp_path / "finer"))
    np.testing.assert_allclose(again.predict(NEW), finer.predict(NEW), atol=1e-3)
    assert np.abs(finer.predict(NEW) - plain.predict(NEW)).max() > 1e-3
    stack = get("stack")(members=("ridge", "knn"), encoder=tiny_bert).fit(table)
    assert stack._fitted[0].encoder == tiny_bert


def test_an_encoder_that_is_not_there_is_one_line(table, tmp_path):
    with pytest.raises(UsageError, match="nothing"):
        get("ridge")(encoder=str(tmp_path / "nothing")).fit(table)


def test_a_stack_weighed_by_domains_left_out_trusts_nothing_that_does_not_carry_over():
    rng = np.random.default_rng(0)
    words = ["ship", "cell", "court", "angle", "stock", "opera"]
    prompts = [f"Question {n} about the {words[n % 6]}" for n in range(240)]
    better = np.eye(6)[np.arange(240) % 6] * 0.6  # each model shines in one domain
    scores = np.clip(better + 0.3 + [0.1, 0, 0, 0, 0, 0], 0, 1) + rng.normal(0, 0.01, (240, 6))
    table = PerformanceTable.from_scores(
        prompts, list("abcdef"), np.clip(scores, 0, 1), [words[n % 6] for n in range(240)]
    )
    own = get("stack")(members=("ridge", "domain")).fit(table)
    new = get("stack")(members=("ridge", "domain"), left_out="domains", folds=6).fit(table)
    assert own.weights_.sum() > 0.8
    assert new.weights_.sum() < 0.2
    assert own.predict(["Question 7 about the cell"])[0].argmax() == 1
    assert new.predict(["Question 7 about the train"])[0].argmax() == 0
