from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError

import pytest

from tryage import DuplicateModel, EmptyLibrary, InvalidCard, Library, ModelCard, UnknownModel
from tryage.errors import UsageError


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"input_usd_per_mtok": -1}, "input_usd_per_mtok = -1: input should be greater"),
        ({"parameters": 0}, "parameters = 0"),
        ({"parameters": float("nan")}, "parameters = nan"),
        ({"input_usd_per_mtk": 1}, "Did you mean 'input_usd_per_mtok'"),
        ({"capabilities": ["tool"]}, "'tools'"),
        ({"security": "secret"}, "'local'"),
        ({"released": "2024-13-01"}, "released"),
        ({"benchmarks": {"mmlu": 57.0}}, "benchmarks.mmlu = 57.0"),
        ({"readability": 1.1}, "readability"),
    ],
)
def test_a_bad_card_is_one_line_that_names_the_key(facts, message):
    with pytest.raises(InvalidCard) as caught:
        ModelCard(name="m", **facts)
    assert message in str(caught.value)
    assert "'m'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_card_needs_a_name():
    with pytest.raises(InvalidCard, match="'name' is required"):
        ModelCard()


def test_a_card_is_immutable_and_copies():
    card = ModelCard(name="m", benchmarks={"mmlu": 0.5}, released="2024-01-31")
    with pytest.raises(FrozenInstanceError):
        card.name = "n"
    assert pickle.loads(pickle.dumps(card)) == copy.deepcopy(card) == card
    assert hash(card) == hash(copy.deepcopy(card))


def test_a_library_needs_a_model():
    with pytest.raises(EmptyLibrary):
        Library([])


@pytest.mark.parametrize(
    "second", [{"name": "A"}, {"name": "b", "aliases": ["a"]}], ids=["name", "alias"]
)
def test_two_models_of_one_name_are_refused(second):
    with pytest.raises(DuplicateModel, match="number 1.*number 2"):
        Library([ModelCard(name="a"), ModelCard(**second)])


def test_models_are_found_by_name_and_alias(library):
    assert library.find("ORG/Small") is library[0]
    assert "org/small" in library
    assert "smal" not in library
    with pytest.raises(UnknownModel, match="Did you mean 'small'"):
        library.find("smal")
    assert library.select(["large", "small"]).names == ("large", "small")


def test_own_models_take_own_bundled_or_bare_cards():
    own = ModelCard(name="mine", parameters=1e9)
    library = Library.of(["mine", "gpt-4o-2024-08-06", "stranger"], [own])
    assert library[0] == own
    assert library[1].parameters is None
    assert library[1].output_usd_per_mtok == 10
    assert library[1].name == "gpt-4o-2024-08-06"
    assert library[2] == ModelCard(name="stranger")


def test_one_model_served_from_two_places_may_stand_twice():
    library = Library.of(["gpt-4o", "gpt-4o-2024-08-06"])
    assert library.names == ("gpt-4o", "gpt-4o-2024-08-06")


def test_a_card_of_none_of_the_models_is_refused():
    with pytest.raises(UnknownModel, match="none of the models"):
        Library.of(["a"], [ModelCard(name="b")])


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_a_library_is_read_from_toml(tmp_path):
    file = write(tmp_path / "my.toml", '[[models]]\nname = "a"\nparameters = 7e9\n')
    assert Library.read(file)[0] == ModelCard(name="a", parameters=7e9)


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        (
            '[[models]]\nname = "a"\n\n[[models]]\nname = "b"\nparameters = -1\n',
            ":6:",
            "parameters",
        ),
        ('[[models]]\nname = "a"\nparametres = 1\n', ":3:", "Did you mean 'parameters'"),
        ("# head\n[[models]]\nparameters = 1\n", ":2:", "'name' is required"),
        ('[[model]]\nname = "a"\n', "", "Did you mean 'models'"),
        ("[[models]]\nname = \n", "", "line 2"),
        ("models = [3]\n", "", "card 1 is 3"),
        ("models = 3\n", "", "write [[models]] tables"),
        ("", "", "at least one model card"),
    ],
)
def test_a_bad_file_is_named_with_line_and_key(tmp_path, text, where, message):
    file = write(tmp_path / "my.toml", text)
    with pytest.raises(UsageError) as caught:
        Library.read(file)
    assert message in str(caught.value)
    if where:
        assert f"my.toml{where}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match="none.toml"):
        Library.read(tmp_path / "none.toml")
