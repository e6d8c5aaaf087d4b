"""What the default predictor promises beyond the contract of every predictor."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tryage import CorruptArtifact, Library, ModelCard, NotFitted, PerformanceTable, UnknownModel
from tryage.predictors.default import ENCODER, WEIGHTS, DefaultPredictor
from tryage.predictors.lessons import Anchors

EASY = ["Hello there, how are you today?", "What is the capital of Peru?", "Thanks a lot!"]
HARD = [
    "Prove that every bounded entire function is constant.",
    "Compute the two-loop anomalous dimension of the quark mass in the MS-bar scheme.",
    "Prove that Z[sqrt(-5)] is not a unique factorization domain and find its class group.",
]
WEAK = ModelCard(name="weak", benchmarks={"mmlu": 0.4, "mmlu_pro": 0.15})
STRONG = ModelCard(name="strong", benchmarks={"mmlu": 0.9, "mmlu_pro": 0.8})


def bound(*cards: ModelCard) -> DefaultPredictor:
    return DefaultPredictor.bundled().for_library(Library(cards))


@pytest.fixture(scope="module")
def fitted(table):
    return DefaultPredictor().fit(table)


def test_what_ships_is_at_most_twelve_megabytes():
    files = [path for path in WEIGHTS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 12_000_000
    assert WEIGHTS / "README.md" in files


def test_every_model_of_the_bundled_library_is_answered_for():
    library = Library.bundled()
    quality = DefaultPredictor.bundled().for_library(library).predict(EASY + HARD)
    assert quality.shape == (6, len(library))
    assert np.isfinite(quality).all()


def test_a_model_is_judged_alike_among_few_and_among_very_many():
    few = list(Library.bundled())[:40]
    many = [*few, *(ModelCard(name=f"other {number}") for number in range(1_000))]
    quality = bound(*many).predict(EASY + HARD)
    np.testing.assert_allclose(quality[:, :40], bound(*few).predict(EASY + HARD), atol=1e-6)


@pytest.mark.parametrize("name", ["mmlu", "mmlu_pro", "gpqa_diamond", "math", "humaneval"])
def test_quality_rises_with_every_published_accuracy(name):
    cards = [
        ModelCard(name=f"{accuracy}", parameters=8e9, benchmarks={"ifeval": 0.6, name: accuracy})
        for accuracy in (0.1, 0.3, 0.5, 0.7, 0.9)
    ]
    assert (np.diff(bound(*cards).predict(EASY + HARD), axis=1) > 0).all()


def test_a_larger_model_of_the_same_day_is_expected_to_do_better():
    small, large = (
        ModelCard(name=f"{n}", parameters=n, released="2025-01-01") for n in (1e9, 4e11)
    )
    quality = bound(small, large).predict(HARD)
    assert (quality[:, 1] > quality[:, 0]).all()


def test_a_card_with_a_name_only_is_placed_below_the_average_card():
    prior = DefaultPredictor.bundled().prior_
    quality = bound(ModelCard(name="nobody knows me"), WEAK, STRONG).predict(HARD)
    assert (quality[:, 1] < quality[:, 0]).all()
    assert (quality[:, 0] < quality[:, 2]).all()
    library = Library([ModelCard(name="nobody knows me")])
    ability = DefaultPredictor.bundled().for_library(library).general_[1, 0]
    assert ability == pytest.approx(prior["mean"] - prior["sd"], abs=1e-5)


def test_the_gap_between_models_is_small_where_it_is_easy_and_large_where_it_is_hard():
    predictor = bound(WEAK, STRONG)
    easy, hard = (np.diff(predictor.predict(prompts))[:, 0] for prompts in (EASY, HARD))
    assert easy.max() < 0.2
    assert hard.min() > 0.3
    assert predictor.predict(EASY).min() > 0.7


def test_a_known_model_is_known_by_name_and_by_alias_whatever_else_its_card_says():
    name = DefaultPredictor.bundled().models[0]
    card = Library.bundled().find(name)
    plain = bound(ModelCard(name=card.name)).predict(HARD)
    alias = bound(ModelCard(name="mine", aliases=(card.aliases or (card.name,))[:1])).predict(HARD)
    assert plain.tobytes() == alias.tobytes() == bound(card).predict(HARD).tobytes()


def test_a_bound_predictor_can_be_bound_again():
    once = bound(WEAK, STRONG)
    again = once.for_library(Library.bundled())
    direct = DefaultPredictor.bundled().for_library(Library.bundled())
    assert again.predict(EASY).tobytes() == direct.predict(EASY).tobytes()
    assert once.models == ("weak", "strong")


def test_a_prompt_of_ten_megabytes_is_read_at_both_ends_only():
    head, tail = "What is love? " * 500, " Answer in one word." * 120
    predictor = bound(WEAK, STRONG)
    huge, large = (predictor.predict([head + "y " * n + tail]) for n in (5_000_000, 5_000))
    assert huge.tobytes() == large.tobytes()


def test_a_batch_equals_one_by_one():
    prompts = [*EASY, *HARD, "", "数学", "x" * 9_000]
    predictor = DefaultPredictor.bundled().for_library(Library.bundled())
    single = np.concatenate([predictor.predict([prompt]) for prompt in prompts])
    assert predictor.predict(prompts).tobytes() == single.tobytes()


def test_fit_finds_what_each_model_is_good_at(fitted, table):
    quality = fitted.predict(table.prompts)
    domains = np.array(table.domains)
    best = {d: table.models[int(quality[domains == d].mean(axis=0).argmax())] for d in set(domains)}
    assert best == {"code": "coder", "math": "thinker", "chat": "giant"}


def test_after_fit_a_new_model_is_placed_beside_the_learned_ones(fitted):
    library = Library([ModelCard(name="giant"), STRONG, WEAK])
    quality = fitted.for_library(library).predict(["Tell me a story"])
    assert quality.shape == (1, 3)
    assert quality[0, 1] > quality[0, 2]


@pytest.mark.parametrize("n_models", [1, 2])
def test_fit_takes_few_models_one_prompt_and_gaps(n_models):
    models = ["a", "b"][:n_models]
    for prompts in (["one"], ["one", "two", "three"]):
        scores = np.full((len(prompts), n_models), 0.5)
        scores[-1, 0] = np.nan if len(prompts) > 1 else 1.0
        table = PerformanceTable.from_scores(prompts, models, scores)
        quality = DefaultPredictor().fit(table).predict(["one", "new"])
        assert np.isfinite(quality).all()


def test_a_model_is_placed_by_its_scores_on_a_few_prompts(fitted, table):
    like_coder = table.only(["coder"]).scores
    few = PerformanceTable.from_scores(table.prompts[:45], ["org/new"], like_coder[:45])
    card = ModelCard(name="new", aliases=("org/new",))
    grown = fitted.place(card, few)
    assert grown.models == (*fitted.models, "new")
    assert fitted.models == table.models
    quality = grown.for_library(Library([card, ModelCard(name="coder")])).predict(table.prompts)
    before = fitted.for_library(Library([card])).predict(table.prompts)
    assert np.abs(quality[:, 0] - quality[:, 1]).mean() < 0.1
    assert np.abs(before[:, 0] - quality[:, 1]).mean() > 0.15


def test_a_model_without_scores_stays_where_its_card_puts_it(fitted):
    none = PerformanceTable.from_scores(["p"], ["strong"], [[np.nan]])
    placed = fitted.place(STRONG, none).for_library(Library([STRONG]))
    np.testing.assert_allclose(
        placed.predict(HARD), fitted.for_library(Library([STRONG])).predict(HARD), rtol=1e-5
    )


def test_a_model_cannot_be_placed_by_a_table_without_it(fitted, table):
    with pytest.raises(UnknownModel, match="'strong'"):
        fitted.place(STRONG, table)


def test_several_tables_are_joined_by_the_library(table):
    library = Library([ModelCard(name="big", aliases=("giant", "GIANT-v2"))])
    other = PerformanceTable.from_scores(["q1", "q2"], ["GIANT-v2", "third"], [[1, 0], [0.5, 0.2]])
    anchors = [Anchors("easy", ease=3, slope=0.1, prompts=["hi", "hello"])]
    predictor = DefaultPredictor().fit_tables({"a": table, "b": other}, library, anchors)
    assert predictor.models == ("tiny", "coder", "thinker", "big", "third")
    assert predictor.for_library(library).predict(["hi"]).shape == (1, 1)


def test_two_columns_of_one_card_stay_two_models():
    library = Library([ModelCard(name="m", aliases=("m@here", "m@there"))])
    table = PerformanceTable.from_scores(["p", "q"], ["m@here", "m@there"], [[1, 0], [1, 0]])
    one = DefaultPredictor().fit_tables({"t": table}, library)
    assert one.models == ("m@here", "m@there")
    two = DefaultPredictor().fit_tables({"t": table, "u": table}, library)
    assert len(set(two.models)) == len(two.models) == 2


def test_another_seed_gives_another_predictor(fitted, table):
    other = dataclasses.replace(fitted, seed=1).fit(table)
    assert other.predict(HARD).tobytes() != fitted.predict(HARD).tobytes()


def test_before_fit_there_is_nothing_to_bind():
    with pytest.raises(NotFitted):
        DefaultPredictor().for_library(Library([WEAK]))


def test_a_damaged_encoder_is_a_corrupt_artifact(fitted, tmp_path):
    path = fitted.save(tmp_path) / ENCODER / "encoder.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CorruptArtifact, match="encoder"):
        DefaultPredictor.load(tmp_path)


def test_a_config_without_its_prior_is_a_corrupt_artifact(fitted, tmp_path):
    path = fitted.save(tmp_path) / "config.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"prior_"', '"other_"'))
    with pytest.raises(CorruptArtifact, match="prior"):
        DefaultPredictor.load(tmp_path)
