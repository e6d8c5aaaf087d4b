"""Joint training on experts of a few thousand weights, and the experts in a chain."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from transformers import ElectraConfig, ElectraForMaskedLM

from tryage import ModelCard, PerformanceTable
from tryage.errors import UsageError
from tryage.experts import Expert, load_tokenizer
from tryage.paper import joint
from tryage.paper.chains import chat_tryage, llama_tryage
from tryage.paper.prompts import Passage
from tryage.paper.routers import backbone_of
from tryage.predictors.perceptive import PerceptivePredictor

TEXTS = {
    "code": "def sort(numbers): return the list of all numbers in order of their size",
    "law": "the court holds that the party shall pay the other party for the damage",
}
PLAN = joint.Plan(
    rounds=2, expert_steps=3, router_steps=2, batch_size=4, expert_rate=1e-2, router_rate=1e-3
)


def small_expert(name, seed):
    tokenizer = load_tokenizer()
    config = ElectraConfig(
        vocab_size=tokenizer.get_vocab_size(),
        embedding_size=16,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = ElectraForMaskedLM(config).train(False)
    return Expert(name=name, domain=name, model=model, tokenizer=tokenizer)


@pytest.fixture(scope="module")
def experts():
    return [small_expert("coder", 0), small_expert("lawyer", 1)]


@pytest.fixture(scope="module")
def passages(experts):
    lines = [
        Passage(domain, f"{domain}/{n % 2 + 1}", f"{text} {n}")
        for n in range(40)
        for domain, text in TEXTS.items()
    ]
    return joint.lessons(lines, experts[0].tokenizer, 60, seed=0)


@pytest.fixture(scope="module")
def router(experts, passages, tmp_path_factory):
    losses = np.stack([expert.losses(passages) for expert in experts], axis=1)
    table = PerformanceTable.from_scores(
        [p.text for p in passages], [e.name for e in experts], np.exp(-losses)
    )
    folder = backbone_of(experts[0], tmp_path_factory.mktemp("backbone") / "coder")
    return PerceptivePredictor(str(folder), epochs=1, learning_rate=1e-3).fit(table)


MIXTURES = {"coder": {"code": 1.0}, "lawyer": {"law/1": 1.0, "law/2": 1.0}}


@pytest.fixture(scope="module")
def compared(experts, passages, router, tmp_path_factory):
    folder = tmp_path_factory.mktemp("joint")
    before = [p.detach().clone() for e in experts for p in e.model.parameters()]
    found = joint.compare(experts, MIXTURES, router, passages, passages[:20], PLAN, (0, 1), folder)
    after = [p for e in experts for p in e.model.parameters()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    return folder, found


def test_both_arms_take_the_same_steps_and_learn(compared):
    _, found = compared
    for seed in (0, 1):
        before, apart, together = (found.arms[name][seed] for name in joint.ARMS)
        assert (before.expert_steps, before.router_steps) == (0, 0)
        for arm in (apart, together):
            assert (arm.expert_steps, arm.router_steps) == (6, 4)
            assert arm.oracle_loss < before.oracle_loss - 0.1
            assert sum(arm.traffic) == pytest.approx(1)
            assert arm.oracle_loss <= arm.mean_loss == pytest.approx(np.mean(arm.losses))
    losses = {n: np.mean([arm.mean_loss for arm in found.arms[n]]) for n in joint.ARMS}
    assert found.saved == pytest.approx(losses["apart"] - losses["joint"])
    assert found.saved_interval[0] <= found.saved <= found.saved_interval[1]


def test_what_stands_is_not_done_again(compared, experts, passages, router, monkeypatch):
    folder, found = compared
    (folder / "joint-1.json").unlink()
    done = []
    again = joint.compare(
        experts, MIXTURES, router, passages, passages[:20], PLAN, (0, 1), folder, done.append
    )
    assert done == ["joint training, seed 1: joint"]
    assert again.saved == pytest.approx(found.saved)
    assert json.loads((folder / "joint-1.json").read_text())["expert_steps"] == 6


def test_in_the_joint_arm_the_router_decides_who_learns(experts, passages, router):
    system = joint._System(experts, router, PLAN, 2)
    picks = system.route(passages)
    predicted = router.predict([p.text for p in passages]).argmax(axis=1)
    assert picks.tolist() == predicted.tolist()
    only_first = np.zeros(12, dtype=np.intp)
    frozen = [p.detach().clone() for p in system.experts[1].model.parameters()]
    table = system.experts[0].model.get_input_embeddings().weight.detach().clone()
    system.teach_experts(passages[:12], only_first)
    assert system.expert_steps == 3
    assert system.traffic.tolist() == [12, 0]
    still = system.experts[1].model.parameters()
    assert all(torch.equal(a, b) for a, b in zip(frozen, still, strict=True))
    assert torch.equal(table, system.experts[0].model.get_input_embeddings().weight)


def test_the_router_follows_the_losses(experts, passages, router):
    system = joint._System(experts, router, PLAN, 2)
    texts = [p.text for p in passages]
    step = 2 * system.router.reading.spread
    wanted = system.router.losses(texts) + np.array([step, -step])
    off = [np.abs(system.router.losses(texts) - wanted).mean()]
    for _ in range(30):
        system.router.step(texts[:16], wanted[:16])
    off.append(np.abs(system.router.losses(texts) - wanted).mean())
    assert off[1] < off[0] / 2


def test_apart_a_passage_goes_to_an_expert_that_it_is_text_for(experts, passages, router):
    system = joint._System(experts, router, PLAN, 2)
    code = next(p for p in passages if p.domain == "code")
    law = next(p for p in passages if p.domain == "law")
    assert system.claims(code, MIXTURES).tolist() == [1, 0]
    assert system.claims(law, MIXTURES).tolist() == [0, 1]
    # Half of the lawyer's text is of a kind of law, half of what the generalist reads is law.
    shared = system.claims(law, {"coder": {}, "lawyer": MIXTURES["lawyer"]})
    np.testing.assert_allclose(shared, [0.5, 0.5])
    np.testing.assert_allclose(system.claims(law, {"coder": {"code": 1}, "lawyer": {"x": 1}}), 0.5)


def test_too_little_text_is_said(experts, passages, router, tmp_path):
    with pytest.raises(UsageError, match="10 passages for joint training.* reads 40; give more"):
        joint.compare(experts, MIXTURES, router, passages[:10], passages[:2], PLAN, (0,), tmp_path)


def test_lessons_are_masked_passages_each_once(experts):
    text = Passage("code", "code/1", TEXTS["code"])
    found = joint.lessons([text, Passage("code", "code/1", "; ;")], experts[0].tokenizer, 9, seed=0)
    assert len(found) == 1  # the other has no word to mask
    assert found[0].text.count("[MASK]") == len(found[0].answers) > 0
    assert found[0].kind == "code/1"


def test_experts_and_router_answer_in_both_frameworks(experts, router, passages):
    cards = [ModelCard(name=e.name, parameters=e.parameters + at) for at, e in enumerate(experts)]
    masked = "the [MASK] shall pay"
    chat = chat_tryage(experts, cards, router, prompt_flags=True)
    message = chat.invoke(masked)
    picked = message.response_metadata["tryage"]["model"]
    wanted = router.models[int(router.predict([masked]).argmax())]
    assert picked == wanted
    filled = {expert.name: expert.fill(masked).text for expert in experts}
    assert message.text == filled[picked]
    small = chat.invoke(f"[Flag: Smallest model] {masked}")
    assert small.response_metadata["tryage"]["model"] == "coder"
    response = llama_tryage(experts, cards, router).complete(masked)
    assert response.text == filled[response.additional_kwargs["tryage"]["model"]]
