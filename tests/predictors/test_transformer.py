"""Fine-tuned transformers: learning, resuming, saving; the contract is in `test_contract.py`."""

from __future__ import annotations

import json
import resource
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from tests.predictors.conftest import QUILL
from tryage import CorruptArtifact, MissingExtra, PerformanceTable, UnknownModel, predictors
from tryage.errors import InvalidTable, SaveFailed, UsageError
from tryage.predictors import backbone
from tryage.predictors.fine_tune import Checkpoint, Recipe, fine_tune
from tryage.predictors.readings import PerModel
from tryage.predictors.transformer import BACKBONE_FOLDER, CHECKPOINT_FILE
from tryage.threshold import win_rates

PROMPTS = ["Write a Python function", "What is the sum of 3 and 4", "Tell me a story"]


@pytest.fixture
def pair(table):
    return table.only(["giant", "tiny"])


@pytest.fixture
def bert(make):
    """A BERT that checks often, for tests of a few steps."""
    return lambda **fields: make("bert", **{"check_every": 2, **fields})


@pytest.fixture(scope="module")
def fitted_small(make, table):
    fitted = {name: make(name) for name in ("bert", "causal_lm")}
    for predictor in fitted.values():
        assert np.ptp(predictor.fit(table).predict(PROMPTS), axis=0).min() > 0  # it has learned
    return fitted


def weights(predictor):
    """Every number that was learned."""
    body = {name: p.numpy() for name, p in predictor._body.state_dict().items()}
    return {**body, "head": predictor.head_, "bias": predictor.head_bias_}


def assert_same_weights(one, other):
    one, other = weights(one), weights(other)
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value.tobytes() == other[name].tobytes(), name


@contextmanager
def interrupted_after(n, monkeypatch):
    """Lets a training see n batches and then stops it as Ctrl-C would; yields how many it saw."""
    seen = []
    honest = PerModel.loss

    def loss(self, outputs, scores):
        seen.append(len(scores))
        if len(seen) > n:
            raise KeyboardInterrupt
        return honest(self, outputs, scores)

    with monkeypatch.context() as patch:
        patch.setattr(PerModel, "loss", loss)
        yield seen


@pytest.mark.parametrize("loss", ["bce", "listwise"])
def test_it_learns_which_model_is_good_at_what(bert, table, loss):
    predictor = bert(loss=loss, epochs=30, check_every=20, seed=1).fit(table)
    chosen = predictor.predict(table.prompts).argmax(axis=1)
    gained = table.scores[np.arange(len(table)), chosen].mean()
    assert gained > table.scores.mean(axis=0).max() + 0.05


@pytest.mark.parametrize(("name", "loss"), [("bert", "pairwise3"), ("causal_lm", "grades")])
def test_the_two_models_of_routellm(make, pair, name, loss):
    predictor = make(name, loss=loss, epochs=2).fit(pair)
    quality = predictor.predict(PROMPTS)
    assert quality.shape == (3, 2)
    rates = win_rates(predictor, PROMPTS, "giant", "tiny")
    outputs = dict(predictor._outputs(PROMPTS))
    reading = predictor._reading()
    assert rates.tolist() == [reading.win(outputs[row], 0, 1) for row in range(3)]
    assert rates.tolist() != ((1 + quality[:, 0] - quality[:, 1]) / 2).tolist()
    with pytest.raises(UnknownModel, match="'gpt'"):
        predictor.win_probability(PROMPTS, "gpt", "tiny")


@pytest.mark.parametrize("batches", [1, 5, 8, 12])
def test_an_interrupted_training_goes_on_as_if_nothing_had_happened(
    bert, table, tmp_path, monkeypatch, batches
):
    with interrupted_after(10**6, monkeypatch) as all_of_them:
        whole = bert().fit(table)
    with interrupted_after(batches, monkeypatch), pytest.raises(KeyboardInterrupt):
        bert().fit(table, checkpoints=tmp_path)
    with interrupted_after(10**6, monkeypatch) as rest:
        resumed = bert().fit(table, checkpoints=tmp_path)
    assert_same_weights(resumed, whole)
    assert len(rest) < len(all_of_them) or batches == 1  # before the first checkpoint
    assert [path.name for path in tmp_path.iterdir()] == ([CHECKPOINT_FILE])
    with interrupted_after(0, monkeypatch):  # what is finished takes no step more
        assert_same_weights(bert().fit(table, checkpoints=tmp_path), whole)


def test_a_checkpoint_serves_its_own_training_only(bert, table, tmp_path):
    bert().fit(table, checkpoints=tmp_path)
    for other, rows in (({"seed": 1}, table), ({}, table.rows(range(50)))):
        with pytest.raises(UsageError, match="the checkpoint of another training"):
            bert(**other).fit(rows, checkpoints=tmp_path)
    path = tmp_path / CHECKPOINT_FILE
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptArtifact, match="not a checkpoint.*Delete it"):
        bert().fit(table, checkpoints=tmp_path)


@pytest.mark.parametrize("break_off_at", [None, 10])
def test_it_ends_with_the_weights_that_did_best_on_the_judges(tmp_path, break_off_at):
    seen = []

    def train():
        network = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.ones_(network.weight)

        def loss(rows):
            if len(seen) == break_off_at:
                seen.append(None)
                raise KeyboardInterrupt
            seen.append(int(rows[0]))
            # The judge wants a weight of 1, the learners one of 0.
            return (network.weight.sum() - (1 if rows[0] == 0 else 0)) ** 2

        recipe = Recipe(1000, 2, {"": 0.1}, 0.0, 0.1, check_every=3, seed=0)
        checkpoint = Checkpoint(tmp_path / "checkpoint", "this one")
        fine_tune(network, loss, np.arange(1, 10), np.array([0]), range(10), recipe, checkpoint)
        return float(network.weight.detach())

    if break_off_at:
        with pytest.raises(KeyboardInterrupt):
            train()
    assert train() == 1
    assert seen.count(0) == 1 + 5  # at the start, and until patience ended


def test_batches_hold_texts_of_like_length_and_every_one_once_in_an_epoch():
    lengths = np.random.default_rng(0).permutation(64)
    network, batches = torch.nn.Linear(1, 1), []

    def loss(rows):
        batches.append(rows)
        return network.weight.sum() * 0

    recipe = Recipe(8, 8, {"": 0.1}, 0.0, 0.1, check_every=100, seed=0)
    fine_tune(network, loss, np.arange(64), np.array([0]), lengths, recipe)
    epoch = batches[1:9]
    assert sorted(np.concatenate(epoch).tolist()) == list(range(64))
    assert all(np.ptp(lengths[rows]) == 7 for rows in epoch)
    assert [lengths[rows].min() for rows in epoch] != sorted(lengths[rows].min() for rows in epoch)


def test_training_leaves_the_callers_random_numbers_alone(bert, table):
    before = torch.random.get_rng_state()
    bert(epochs=1).fit(table)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_weights_that_the_backbone_lacks_hang_on_the_seed(bert, table, tiny_bert, tmp_path):
    folder = shutil.copytree(tiny_bert, tmp_path / "no_pooler")
    some = {k: v for k, v in load_file(folder / "model.safetensors").items() if "pooler" not in k}
    save_file(some, folder / "model.safetensors", {"format": "pt"})
    one = bert(backbone=str(folder), max_steps=2).fit(table)
    torch.rand(1)  # what others drew in between
    assert_same_weights(bert(backbone=str(folder), max_steps=2).fit(table), one)


def test_the_end_of_a_long_prompt_is_cut_off_by_bert_and_its_beginning_by_a_causal_model(
    make, table
):
    long = "what is the sum of the numbers " * 40
    one = make("bert", epochs=1).fit(table).predict([long + "story", long + "code", "code " + long])
    assert one[0].tobytes() == one[1].tobytes() != one[2].tobytes()
    other = make("causal_lm").fit(table)
    end = other.predict(["story" + long, "code" + long, long + "code"])
    assert end[0].tobytes() == end[1].tobytes() != end[2].tobytes()


@pytest.mark.parametrize("prompt", ["", " ", "\ud800", "{braces}", "\0"])
@pytest.mark.parametrize("name", ["bert", "causal_lm"])
def test_any_text_is_a_prompt(fitted_small, name, prompt):
    assert np.isfinite(fitted_small[name].predict([prompt])).all()


def test_threads_may_share_a_predictor(fitted_small, table):
    predictor = fitted_small["bert"]
    prompts = [*table.prompts, *PROMPTS]
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda prompt: predictor.predict([prompt]), prompts))
    assert np.concatenate(rows).tobytes() == predictor.predict(prompts).tobytes()


def test_pooling_and_the_wrapped_question_reach_the_backbone(bert, table, tiny_bert):
    mean, cls = (bert(pooling=p, epochs=1).fit(table) for p in ("mean", "cls"))
    assert mean.predict(PROMPTS).tobytes() != cls.predict(PROMPTS).tobytes()
    model = AutoModel.from_pretrained(tiny_bert)
    encoded = AutoTokenizer.from_pretrained(tiny_bert)(PROMPTS[0], return_tensors="pt")
    with torch.no_grad():
        hidden = model(**encoded).last_hidden_state[0]
        for pooling, wanted in (("mean", hidden.mean(dim=0)), ("cls", hidden[0])):
            body = backbone.Backbone.load(tiny_bert, pooling, 64).eval()
            # In company, of which the padding must not show.
            vector = body([PROMPTS[0], "a much longer prompt " * 5])[0]
            torch.testing.assert_close(vector, wanted)
        body = backbone.Backbone.load(str(QUILL), "last", 64).eval()
        alone, padded = body(["Hello there"])[0], body(["Hello there", "x " * 30])[0]
        torch.testing.assert_close(alone, padded)


def test_what_is_saved_is_a_folder_of_the_hugging_face_library(bert, table, tmp_path):
    predictor = bert(epochs=1).fit(table)
    folder = predictor.save(tmp_path) / BACKBONE_FOLDER
    assert_same_weights(predictors.load(tmp_path), predictor)
    model = AutoModel.from_pretrained(folder, local_files_only=True)
    saved = predictor._body.model.state_dict()
    assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items())
    # It can be the start of another one, and what another one left is gone afterwards.
    again = bert(backbone=str(folder), epochs=1).fit(table)
    (folder / "vocab.old").write_text("stale")
    again.save(tmp_path)
    assert not (folder / "vocab.old").exists()
    assert not list(tmp_path.glob(".saving*"))


@contextmanager
def files_of_at_most(n_bytes):
    """Lets no file grow larger than that, as on a full disc."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("n_bytes", [10, 20_000])
def test_a_full_disc_leaves_the_old_artifact_whole(bert, table, tmp_path, n_bytes):
    old = bert(epochs=1).fit(table)
    old.save(tmp_path)
    new = bert(epochs=2).fit(table)
    with files_of_at_most(n_bytes), pytest.raises(Exception, match="too large"):
        new.save(tmp_path)
    assert_same_weights(predictors.load(tmp_path), old)
    assert not list(tmp_path.glob(".saving*"))


def test_a_full_disc_leaves_the_last_checkpoint_whole(bert, table, tmp_path, monkeypatch):
    with interrupted_after(8, monkeypatch), pytest.raises(KeyboardInterrupt):
        bert().fit(table, checkpoints=tmp_path)
    before = (tmp_path / CHECKPOINT_FILE).read_bytes()
    with files_of_at_most(20_000), pytest.raises(SaveFailed, match="cannot be written.*Make room"):
        bert().fit(table, checkpoints=tmp_path)
    assert (tmp_path / CHECKPOINT_FILE).read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
@pytest.mark.parametrize("damage", ["bit", "gone"])
def test_a_damaged_backbone_is_an_error(fitted_small, tmp_path, name, damage):
    path = fitted_small["bert"].save(tmp_path / "saved") / BACKBONE_FOLDER / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink() if damage == "gone" else path.write_bytes(bytes(data))
    with pytest.raises(CorruptArtifact, match=f"backbone: {name} is missing or differs"):
        predictors.load(tmp_path / "saved")


def test_a_backbone_without_checksums_is_an_error(fitted_small, tmp_path):
    directory = fitted_small["bert"].save(tmp_path)
    shutil.rmtree(directory / BACKBONE_FOLDER)
    with pytest.raises(CorruptArtifact, match="is missing or differs"):
        predictors.load(directory)
    config = json.loads((directory / "config.json").read_text())
    del config["learned"]["backbone_crc32_"]
    (directory / "config.json").write_text(json.dumps(config))
    with pytest.raises(CorruptArtifact, match="everything is missing"):
        predictors.load(directory)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"loss": "bc"}, "'bc' does not exist. Did you mean 'bce'?.*pairwise3"),
        ({"batch_size": 0}, "batch_size=0 is too few; give at least 1"),
        ({"pooling": "max"}, "'max' does not exist; use 'mean' or 'cls'"),
        ({"device": "abacus"}, "'abacus' is not here.*'cpu'"),
        ({"backbone": "./nowhere"}, "'./nowhere': there is no such folder; give the path"),
        ({"backbone": "tryage/no-such-model"}, "the Hugging Face hub does not give it.*a folder"),
        ({"backbone": str(QUILL.parent)}, "holds no transformer that can be read"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(bert, table, fields, message):
    with pytest.raises(UsageError, match=message) as caught:
        bert(**fields).fit(table)
    assert "\n" not in str(caught.value)


def test_a_name_on_the_hub_comes_as_safetensors_or_else_as_torch_saved_it(
    bert, table, tiny_bert, tmp_path, monkeypatch
):
    asked = []
    old = shutil.copytree(tiny_bert, tmp_path / "old")
    (old / "model.safetensors").rename(old / "kept")
    torch.save(AutoModel.from_pretrained(tiny_bert).state_dict(), old / "pytorch_model.bin")

    def download(name, allow_patterns, ignore_patterns):
        asked.append((name, allow_patterns[-1]))
        return {"org/new": tiny_bert, "org/old": str(old)}[name]

    monkeypatch.setattr(backbone, "snapshot_download", download)
    new = bert(backbone="org/new", max_steps=2).fit(table)
    assert asked == [("org/new", "*.safetensors")]
    assert_same_weights(bert(backbone="org/old", max_steps=2).fit(table), new)
    assert asked[1:] == [("org/old", "*.safetensors"), ("org/old", "*.bin")]


@pytest.mark.parametrize("missing", ["torch", "transformers"])
def test_without_torch_the_extra_is_named(fitted_small, tmp_path, monkeypatch, table, missing):
    saved = fitted_small["bert"].save(tmp_path)
    monkeypatch.setitem(sys.modules, missing, None)
    for call in (lambda: predictors.get("bert")().fit(table), lambda: predictors.load(saved)):
        with pytest.raises(MissingExtra, match=r"pip install 'tryage\[train\]'"):
            call()


def test_a_table_without_scores_is_an_error(bert):
    nothing = PerformanceTable.from_scores(["a", "b"], ["m", "n"], np.full((2, 2), np.nan))
    with pytest.raises(InvalidTable, match="no score"):
        bert().fit(nothing)


def test_one_prompt_is_a_table(bert):
    one = PerformanceTable.from_scores(["a"], ["m", "n"], [[0, 1]])
    assert bert().fit(one).predict(["a"]).shape == (1, 2)
