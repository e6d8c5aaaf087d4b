"""One suite for every registered predictor, ours and whoever else's is installed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tryage import CorruptArtifact, Library, NotFitted, UnknownModel, predictors
from tryage.errors import UnknownPredictor
from tryage.predictors.base import CONFIG_FILE, WEIGHTS_FILE

NEW = ["A prompt that no table holds", "x", "数学の問題を解いてください", "def f():\n    return 1"]


@pytest.fixture(scope="module", params=predictors.names())
def name(request):
    return request.param


@pytest.fixture
def predictor(name, make):
    return make(name)


@pytest.fixture(scope="module")
def fitted(name, make, table):
    # Once for all the tests below: none of them changes it.
    predictor = make(name)
    assert predictor.fit(table) is predictor
    return predictor


def test_the_columns_are_the_tables_models(fitted, table):
    assert fitted.models == table.models


def test_quality_has_the_shape_the_type_and_the_range(fitted, table):
    quality = fitted.predict([*table.prompts[:5], *NEW])
    assert quality.shape == (9, len(table.models))
    assert quality.dtype == np.float32
    assert np.isfinite(quality).all()
    assert quality.min() >= 0
    assert quality.max() <= 1
    assert fitted.predict([]).shape == (0, len(table.models))


def test_prediction_and_training_are_deterministic(fitted, predictor, table):
    again = predictor.fit(table)
    assert fitted.predict(NEW).tobytes() == again.predict(NEW).tobytes()
    assert fitted.predict(NEW).tobytes() == fitted.predict(NEW).tobytes()


def test_a_batch_equals_one_by_one(fitted, table):
    prompts = [*table.prompts[:8], *NEW, "word " * 5000]
    single = np.concatenate([fitted.predict([prompt]) for prompt in prompts])
    assert fitted.predict(prompts).tobytes() == single.tobytes()


def test_save_and_load_give_the_same_bytes(fitted, table, tmp_path):
    prompts = [*table.prompts, *NEW]
    loaded = predictors.load(fitted.save(tmp_path / "saved"))
    assert type(loaded) is type(fitted)
    assert loaded.models == fitted.models
    assert loaded.predict(prompts).tobytes() == fitted.predict(prompts).tobytes()
    json.loads((tmp_path / "saved" / CONFIG_FILE).read_text())


@pytest.mark.parametrize("call", ["predict", "save", "models"])
def test_before_fit_there_is_an_error(predictor, tmp_path, call):
    with pytest.raises(NotFitted, match="fit"):
        {
            "predict": lambda: predictor.predict(["hi"]),
            "save": lambda: predictor.save(tmp_path / "none"),
            "models": lambda: predictor.models,
        }[call]()
    assert not (tmp_path / "none").exists()


def test_missing_scores_are_no_trouble(predictor, table):
    scores = table.scores.copy()
    scores[::3, 0] = np.nan
    scores[1::3, 2] = np.nan
    quality = predictor.fit(replace(table, scores=scores)).predict(NEW)
    assert np.isfinite(quality).all()


def test_columns_follow_the_library(fitted, table):
    library = Library.of([table.models[2], table.models[0]])
    bound = fitted.for_library(library)
    assert bound.models == library.names
    np.testing.assert_array_equal(bound.predict(NEW), fitted.predict(NEW)[:, [2, 0]])


def damage_nothing_left(directory):
    (directory / WEIGHTS_FILE).unlink()


def damage_truncated(directory):
    path = directory / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:-1])


def damage_one_bit(directory):
    path = directory / WEIGHTS_FILE
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def damage_config(directory):
    (directory / CONFIG_FILE).write_text('{"predictor": ')


def damage_foreign(directory):
    (directory / CONFIG_FILE).write_text("[]")


def damage_other_version(directory):
    path = directory / CONFIG_FILE
    config = json.loads(path.read_text())
    config["parameters"]["breadth"] = 3
    path.write_text(json.dumps(config))


def damage_method(directory):
    path = directory / CONFIG_FILE
    config = json.loads(path.read_text())
    config["learned"]["predict"] = "nothing"
    path.write_text(json.dumps(config))


@pytest.mark.parametrize(
    "damage",
    [
        damage_other_version,
        damage_method,
        damage_nothing_left,
        damage_truncated,
        damage_one_bit,
        damage_config,
        damage_foreign,
    ],
)
def test_damaged_weights_are_an_error(fitted, tmp_path, damage):
    directory = fitted.save(tmp_path / "saved")
    damage(directory)
    with pytest.raises(CorruptArtifact, match="saved"):
        predictors.load(directory)


def test_a_model_that_was_never_seen(fitted):
    library = Library.of(["gpt-4o", "stranger"])
    if fitted.name == "default":  # answers for any library
        assert fitted.for_library(library).predict(NEW).shape == (4, 2)
    else:
        with pytest.raises(UnknownModel, match="'gpt-4o'"):
            fitted.for_library(library)


def test_an_unknown_name_lists_the_registered():
    with pytest.raises(UnknownPredictor, match="Did you mean 'knn'.*oracle"):
        predictors.get("kn")
