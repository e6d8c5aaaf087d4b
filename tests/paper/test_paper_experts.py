"""Experts: trained, resumed, kept, loaded; published ones; the table of all."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("sklearn")

import torch
from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast

from tests.paper.paper_folders import WORDS, tiny_settings, write_corpora
from tryage.errors import CorruptArtifact, UsageError
from tryage.experts import MASK, MaskedPrompt, mask
from tryage.paper.bases import base_of, learned_documents
from tryage.paper.library import cards_of, descriptions, load_expert, trained_expert
from tryage.paper.prompts import Passage, Prompt, Texts
from tryage.paper.published import PublishedExpert
from tryage.paper.scoring import score
from tryage.paper.settings import ExpertPlan
from tryage.paper.train import wanted

PLAN = ExpertPlan(name="lawyer", base="small", text={"law": 1}, steps=12, rate=5e-3)


def quiet(step: str) -> None:
    """Hear nothing."""


def passages_of(domain: str, n: int = 40) -> list[Passage]:
    rng = np.random.default_rng(len(domain))
    words = WORDS[domain].split()
    return [Passage(domain, f"{domain}/1", " ".join(rng.permutation(words))) for _ in range(n)]


@pytest.fixture(scope="module")
def passages() -> list[Passage]:
    return [passage for domain in WORDS for passage in passages_of(domain)]


def prompts_of(domain: str, n: int = 6) -> list[Prompt]:
    asked = []
    for number, passage in enumerate(passages_of(domain, 60)[-n:]):
        one = mask(passage.text, random.Random(number))
        name = f"{domain}-{number}"
        asked.append(Prompt(one.text, one.answers, domain, prompt_id=name, tokens=40))
    return asked


@pytest.fixture(scope="module")
def lawyer(passages, tmp_path_factory):
    return trained_expert(PLAN, passages, tmp_path_factory.mktemp("lawyer"))


def test_sizes_span_ten_times():
    sizes = [base_of(size) for size in ("small", "medium", "large", "huge")]
    counts = [sum(weight.numel() for weight in model.parameters()) for model in sizes]
    assert counts == sorted(counts)
    assert counts[-1] >= 10 * counts[0]


def test_what_is_grown_answers_as_before(passages):
    from tryage.experts import load_tokenizer, masked_logits

    ids = torch.tensor([load_tokenizer().encode(passages[0].text).ids])
    masked = torch.zeros_like(ids, dtype=torch.bool)
    masked[0, 3] = True
    with torch.inference_mode():
        large, huge, medium = (
            masked_logits(base_of(size), ids, masked).softmax(dim=1)
            for size in ("large", "huge", "medium")
        )
    assert 2 * (large - huge).abs().sum() < (large - medium).abs().sum()


def test_a_specialist_is_better_on_its_own_text(lawyer):
    base = base_of("small")
    before = type(lawyer)(name="base", domain="", model=base, tokenizer=lawyer.tokenizer)
    own, other = prompts_of("law"), prompts_of("sums")
    assert lawyer.losses(own).mean() < before.losses(own).mean() - 0.2
    gain = before.losses(own).mean() - lawyer.losses(own).mean()
    assert gain > before.losses(other).mean() - lawyer.losses(other).mean()


def test_an_expert_is_trained_once(passages, lawyer, tmp_path):
    folder = tmp_path / "expert"
    trained_expert(PLAN.model_copy(update={"steps": 1}), passages, folder)
    stamp = (folder / "model.safetensors").stat().st_mtime_ns
    trained_expert(PLAN.model_copy(update={"steps": 1}), passages, folder)
    assert (folder / "model.safetensors").stat().st_mtime_ns == stamp


def test_chances_follow_the_wishes(passages):
    chances = wanted({"law": 1, "sums/1": 3}, passages)
    by_domain = {
        domain: sum(c for c, p in zip(chances, passages, strict=True) if p.domain == domain)
        for domain in WORDS
    }
    assert by_domain == pytest.approx({"law": 0.25, "sums": 0.75, "code": 0})
    assert wanted({}, passages) == pytest.approx(np.full(len(passages), 1 / len(passages)))


def test_nothing_to_learn_on_is_named(passages, tmp_path):
    plan = PLAN.model_copy(update={"text": {"music": 1.0}})
    with pytest.raises(UsageError, match="expert 'lawyer': no passage of music"):
        trained_expert(plan, passages, tmp_path)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_weights_that_do_not_fit_are_named(lawyer, passages, tmp_path, file):
    folder = tmp_path / "expert"
    trained_expert(PLAN.model_copy(update={"steps": 1}), passages, folder)
    if file == "config.json":
        config = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(config | {"num_hidden_layers": 2}))
    else:
        (folder / file).write_bytes(b"{}")
    with pytest.raises(CorruptArtifact, match="expert 'lawyer'") as raised:
        load_expert("lawyer", folder)
    assert "\n" not in str(raised.value)


def test_bases_know_which_documents_they_have_learned():
    assert len(learned_documents()) > 1000


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """A model of another vocabulary, in which most words are two pieces."""
    folder = tmp_path_factory.mktemp("published")
    words = sorted({word for text in WORDS.values() for word in text.split()})
    pieces = [word[:3] for word in words] + [f"##{word[3:]}" for word in words if word[3:]]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(pieces)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=len(vocabulary), intermediate_size=16, **shape)
    BertForMaskedLM(config).save_pretrained(folder)
    return folder


def test_a_published_expert_is_judged_on_whole_words(published):
    expert = PublishedExpert.load("other", str(published))
    prompts = prompts_of("law")
    losses, shares = expert.judge(prompts)
    alone = np.array([expert.judge([prompt])[0][0] for prompt in prompts])
    assert losses == pytest.approx(alone, abs=1e-4)  # the company changes nothing
    pieces = np.mean([len(expert.tokenizer.tokenize(a)) for p in prompts for a in p.answers])
    blind = np.log(len(expert.tokenizer))
    assert losses.mean() == pytest.approx(pieces * blind, rel=0.1)  # random weights know nothing
    assert ((shares >= 0) & (shares <= 1)).all()
    filled = expert.fill(prompts[0].text)
    assert len(filled.words) == len(prompts[0].answers)
    assert MASK not in filled.text


def test_losses_of_unlike_vocabularies_are_per_character(published, lawyer, tmp_path):
    prompts = prompts_of("law")
    other = PublishedExpert.load("other", str(published))
    mixed = score([lawyer, other], prompts, tmp_path / "mixed" / "test.parquet", quiet)
    own = score([lawyer], prompts, tmp_path / "own" / "test.parquet", quiet)
    letters = [sum(map(len, p.answers)) / len(p.answers) for p in prompts]
    per_character = own.extras["loss"][:, 0].astype(float) / letters
    assert mixed.extras["loss"][:, 0].astype(float) == pytest.approx(per_character)


def test_a_published_expert_whose_weights_do_not_fit_is_named(published, tmp_path):
    folder = tmp_path / "broken"
    shutil.copytree(published, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 32}))
    with pytest.raises(CorruptArtifact, match="expert 'other'"):
        PublishedExpert.load("other", str(folder))


def test_an_unreachable_hub_is_named_with_what_to_do_instead():
    with pytest.raises(UsageError, match="give a folder that holds the model") as raised:
        PublishedExpert.load("bert", "google-bert/bert-base-uncased")
    assert "expert 'bert'" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_table_is_what_the_experts_say(lawyer, tmp_path):
    prompts = prompts_of("law") + prompts_of("sums")
    table = score([lawyer], prompts, tmp_path / "test.parquet", quiet)
    losses, shares = lawyer.judge(prompts)
    assert table.models == ("lawyer",)
    assert table.prompt_ids == tuple(prompt.prompt_id for prompt in prompts)
    assert table.extras["loss"][:, 0].astype(float) == pytest.approx(losses, abs=0.1)  # bfloat16
    assert table.scores[:, 0] == pytest.approx(np.exp(-table.extras["loss"][:, 0].astype(float)))
    assert np.abs(table.extras["accuracy"][:, 0].astype(float) - shares).mean() < 0.1
    assert set(table.extras["tokens"][:, 0]) == {40}


def test_a_table_goes_on_where_it_broke_off(lawyer, tmp_path, monkeypatch):
    prompts = prompts_of("law") + prompts_of("sums")
    monkeypatch.setattr("tryage.paper.scoring._BATCH", 5)
    file, read = tmp_path / "test.parquet", []
    judge = type(lawyer).judge

    def breaks(self, some: list[MaskedPrompt]):
        read.append(len(some))
        if len(read) == 2:
            raise KeyboardInterrupt
        return judge(self, some)

    monkeypatch.setattr(type(lawyer), "judge", breaks)
    with pytest.raises(KeyboardInterrupt):
        score([lawyer], prompts, file, quiet)
    assert not file.exists()
    table = score([lawyer], prompts, file, quiet)
    assert read == [5, 5, 5, 2]  # the first five were not read again
    assert len(table) == 12


def test_cards_and_descriptions_tell_what_is_known(lawyer):
    plans = [PLAN, ExpertPlan(name="all", base="large")]
    cards = cards_of(plans, [lawyer, lawyer])
    assert [card.name for card in cards] == ["lawyer", "all"]
    assert cards[0].parameters == lawyer.parameters
    told = descriptions(plans, {"law/1": "court contract", "law/2": "buyer"}, list(WORDS))
    assert "court contract" in told["lawyer"]
    assert "buyer" in told["lawyer"]
    assert "sums" in told["all"]


RUN = """
import sys, torch
from pathlib import Path
from tryage.paper.library import trained_expert
from tests.paper.test_paper_experts import PLAN, WORDS, passages_of
torch.set_num_threads(1)
passages = [passage for domain in WORDS for passage in passages_of(domain)]
print("ready", flush=True)
trained_expert(PLAN, passages, Path(sys.argv[1]))
"""


def test_a_killed_training_goes_on_to_the_same_weights(passages, tmp_path):
    root = Path(__file__).parents[2]
    folder = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(folder)],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
    )
    checkpoint = folder / "checkpoints" / "training.safetensors"
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed = trained_expert(PLAN, passages, folder)
    whole = trained_expert(PLAN, passages, tmp_path / "whole")
    for name, weight in whole.model.state_dict().items():
        assert torch.allclose(weight, resumed.model.state_dict()[name], atol=2e-3), name
    assert not list((folder / "checkpoints").glob("*"))


def test_settings_of_tests_fit(tmp_path):
    tiny = tiny_settings(write_corpora(tmp_path))
    assert isinstance(Texts([], {}, {}), Texts)
    assert len(tiny.experts) == 3
