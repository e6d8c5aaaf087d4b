"""The models of a run, written down and loaded into a chain."""

from __future__ import annotations

import numpy as np
import pytest

from tests.paper.test_paper_joint import TEXTS, small_expert
from tryage import CorruptArtifact, Library, ModelCard, PerformanceTable
from tryage.paper.chains import chat_tryage
from tryage.paper.models import MODELS_FILE, load_models, write_models
from tryage.paper.routers import backbone_of, trained
from tryage.predictors.perceptive import PerceptivePredictor

NAMES = ("lawyer", "coder")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run: two experts, and a router that knows which is for what."""
    out = tmp_path_factory.mktemp("run")
    folders = {}
    for seed, name in enumerate(NAMES):
        expert, folders[name] = small_expert(name, seed), out / "cache" / f"expert-{seed}"
        expert.model.save_pretrained(folders[name])
        expert.tokenizer.save(str(folders[name] / "tokenizer.json"))
    prompts = [f"{text} {n}" for n in range(20) for text in TEXTS.values()]
    table = PerformanceTable.from_scores(prompts, NAMES, [[0.1, 0.5], [0.5, 0.1]] * 20)
    backbone = backbone_of(expert, out / "cache" / "backbone")
    router = PerceptivePredictor(str(backbone), epochs=3, learning_rate=1e-3)
    trained(router, table, out / "cache" / "router")
    cards = Library([ModelCard(name=n, parameters=1e5 + s) for s, n in enumerate(NAMES)])
    write_models(out, cards, folders, out / "cache" / "router")
    return out


def test_the_models_of_a_run_answer_in_a_chain(run, tmp_path):
    moved = run.rename(tmp_path / "moved")  # a folder can be taken elsewhere
    models = load_models(moved)
    assert [expert.name for expert in models.experts] == list(NAMES)
    chat = chat_tryage(models.experts, models.cards, models.router, prompt_flags=True)
    wanted = {"code": "coder", "law": "lawyer"}
    for domain, text in TEXTS.items():
        message = chat.invoke(text.replace("the", "[MASK]", 1))
        assert message.response_metadata["tryage"]["model"] == wanted[domain]
        assert "[MASK]" not in message.text
    flagged = chat.invoke(f"[Flag: Smallest model] {TEXTS['code'].replace('the', '[MASK]', 1)}")
    assert flagged.response_metadata["tryage"]["model"] == "lawyer"
    moved.rename(run)


def test_a_folder_without_a_finished_run_is_named(tmp_path):
    with pytest.raises(CorruptArtifact, match=r"no finished run .*tryage paper --out"):
        load_models(tmp_path)
    (tmp_path / MODELS_FILE).write_text('{"cards": []')
    with pytest.raises(CorruptArtifact, match="no finished run"):
        load_models(tmp_path)


def test_an_experts_losses_are_those_that_were_saved(run):
    models = load_models(run)
    prompt = [type("P", (), {"text": "the [MASK]", "answers": ("court",)})()]
    for seed, expert in enumerate(models.experts):
        saved = small_expert(expert.name, seed).losses(prompt)
        np.testing.assert_allclose(expert.losses(prompt), saved, rtol=1e-3)
