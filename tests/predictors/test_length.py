"""How long answers will be."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tryage import (
    CorruptArtifact,
    InvalidTable,
    Library,
    ModelCard,
    NotFitted,
    PerformanceTable,
    Request,
    Router,
)
from tryage.predictors.length import LengthPredictor, answer_tokens
from tryage.testing import FunctionPredictor

MEANS = {"code": 200, "math": 400, "chat": 50}
FACTORS = {"tiny": 0.5, "coder": 1.0, "thinker": 4.0, "giant": 1.0}


@pytest.fixture(scope="module")
def long_table(table):
    """The table with answers whose length depends on the kind of prompt and on the model."""
    rng = np.random.default_rng(0)
    tokens = np.array([MEANS[d] for d in table.domains])[:, None] * [*FACTORS.values()]
    tokens = tokens * np.exp(rng.normal(0, 0.2, tokens.shape))
    return dataclasses.replace(table, measures={"output_tokens": tokens})


@pytest.fixture(scope="module")
def lengths(long_table):
    even = long_table.rows(range(0, len(long_table), 2))
    return LengthPredictor().fit(even)


def test_it_tells_long_answers_from_short_ones_on_new_prompts(lengths, long_table):
    odd = long_table.rows(range(1, len(long_table), 2))
    predicted, domains = lengths.predict(odd.prompts), np.array(odd.domains)
    for kind, mean in MEANS.items():
        assert predicted[domains == kind].mean() == pytest.approx(mean, rel=0.35)
    logs = np.log(odd.measures["output_tokens"][:, 1])
    assert np.abs(np.log(predicted) - logs).mean() < 0.6 * np.abs(logs - logs.mean()).mean()


def test_it_learns_how_verbose_each_model_is(lengths):
    for model, factor in FACTORS.items():
        assert lengths.verbosity_[model] == pytest.approx(factor, rel=0.15)


def test_the_sum_of_tokens_is_kept(long_table):
    fitted = LengthPredictor().fit(long_table)
    factors = np.array([fitted.verbosity_[m] for m in long_table.models])
    expected = fitted.predict(long_table.prompts)[:, None] * factors
    actual = long_table.measures["output_tokens"]
    np.testing.assert_allclose(expected.sum(axis=0), actual.sum(axis=0), rtol=1e-6)


def test_missing_cells_are_left_out(long_table):
    tokens = long_table.measures["output_tokens"].copy()
    tokens[::3, 0] = np.nan
    tokens[1::3, 1] = 0
    tokens[:, 2] = np.nan
    fitted = LengthPredictor().fit(
        dataclasses.replace(long_table, measures={"output_tokens": tokens})
    )
    assert set(fitted.verbosity_) == {"tiny", "coder", "giant"}
    assert np.isfinite(fitted.predict(long_table.prompts)).all()


def test_lengths_are_read_from_characters_or_from_the_answers_themselves(table):
    shape = table.scores.shape
    chars = dataclasses.replace(table, extras={"response_chars": np.full(shape, 80, dtype=object)})
    assert (answer_tokens(chars) == 20).all()
    texts = np.full(shape, "word " * 16, dtype=object)
    texts[0, 0] = None
    tokens = answer_tokens(dataclasses.replace(table, extras={"response": texts}))
    assert np.isnan(tokens[0, 0])
    assert (tokens[1:] == 20).all()


def test_a_table_that_tells_no_length(table):
    with pytest.raises(InvalidTable, match="output_tokens"):
        LengthPredictor().fit(table)
    nothing = np.full(table.scores.shape, np.nan)
    with pytest.raises(InvalidTable, match="output_tokens"):
        LengthPredictor().fit(dataclasses.replace(table, measures={"output_tokens": nothing}))


def test_one_prompt_and_one_model():
    table = PerformanceTable.from_scores(["p"], ["m"], [[1]])
    table = dataclasses.replace(table, measures={"output_tokens": np.array([[70.0]])})
    assert LengthPredictor().fit(table).predict(["p", "q", ""])[0] == pytest.approx(70)


def test_a_strange_prompt_is_not_extreme(lengths):
    assert (lengths.predict(["?" * 100_000, "\n" * 5_000, "数" * 9_000]) < 20_000).all()


def test_saved_and_loaded_it_predicts_the_same(lengths, tmp_path):
    path = lengths.save(tmp_path / "lengths.json")
    loaded = LengthPredictor.load(path)
    assert loaded.predict(["Prove it."]).tobytes() == lengths.predict(["Prove it."]).tobytes()
    assert loaded.verbosity_ == lengths.verbosity_
    assert path.stat().st_size < 20_000


@pytest.mark.parametrize("text", ["", "{}", '{"format": "other"}', "[1]", '{"format": "tryage-len'])
def test_a_damaged_file(tmp_path, text):
    path = tmp_path / "lengths.json"
    path.write_text(text)
    with pytest.raises(CorruptArtifact, match="lengths.json"):
        LengthPredictor.load(path)
    with pytest.raises(CorruptArtifact, match="nowhere"):
        LengthPredictor.load(tmp_path / "nowhere")


def test_before_fit_there_is_nothing_to_predict_or_save(tmp_path):
    with pytest.raises(NotFitted):
        LengthPredictor().predict(["p"])
    with pytest.raises(NotFitted):
        LengthPredictor().save(tmp_path / "x")


def test_what_was_measured_goes_on_the_cards(lengths):
    cards = [ModelCard(name="x", aliases=("thinker",)), ModelCard(name="y", verbosity=1.5)]
    x, y = lengths.with_verbosity(Library(cards))
    assert x.verbosity == lengths.verbosity_["thinker"]
    assert y.verbosity == 1.5


def test_the_router_expects_the_length_of_this_prompt_unless_told(library, lengths, table):
    quality = FunctionPredictor(lambda prompt, model: 0.5)
    plain, sized = Router(library, quality), Router(library, quality, lengths=lengths)
    math, chat = table.prompts[1], table.prompts[2]
    assert plain.route(math).tokens.expected_output == 300
    for prompt, other in ((math, chat), (chat, math)):
        expected = round(float(lengths.predict([prompt])[0]))
        assert sized.route(prompt).tokens.expected_output == expected
        assert sized.route_batch([other, prompt])[1].tokens.expected_output == expected
    long, short = sized.route(math), sized.route(chat)
    assert long.expected.cost_usd[0] > 3 * short.expected.cost_usd[0]
    told = Request.from_prompt(math, output_tokens=300)
    assert sized.route(told).tokens.expected_output == 300
