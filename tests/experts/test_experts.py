"""The demo's experts as they are shipped."""

from __future__ import annotations

import random
from collections import defaultdict

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from tryage.errors import CorruptArtifact, UsageError
from tryage.experts import (
    MASK,
    Expert,
    MaskedPrompt,
    load_experts,
    load_passages,
    load_tokenizer,
    mask,
    pack,
    unpack,
)
from tryage.experts.passages import WEIGHTS

DOMAINS = ("clinical", "code", "docs", "legal", "math", "papers", "patents")
PER_DOMAIN = 16


@pytest.fixture(scope="module")
def experts() -> dict[str, Expert]:
    return {expert.name: expert for expert in load_experts()}


@pytest.fixture(scope="module")
def sample() -> dict[str, list[MaskedPrompt]]:
    by_domain: defaultdict[str, list[MaskedPrompt]] = defaultdict(list)
    for prompt in load_passages("test"):
        by_domain[prompt.domain].append(prompt)
    return {domain: prompts[:PER_DOMAIN] for domain, prompts in by_domain.items()}


@pytest.fixture(scope="module")
def losses(
    experts: dict[str, Expert], sample: dict[str, list[MaskedPrompt]]
) -> dict[tuple[str, str], float]:
    """Mean loss by the expert's name and the passages' domain."""
    prompts = [prompt for domain in DOMAINS for prompt in sample[domain]]
    found = {}
    for expert in experts.values():
        values = expert.losses(prompts)
        assert np.isfinite(values).all()
        for index, domain in enumerate(DOMAINS):
            part = values[index * PER_DOMAIN : (index + 1) * PER_DOMAIN]
            found[expert.name, domain] = float(part.mean())
    return found


def test_experts_there_is_one_for_each_domain_and_two_for_all(experts: dict[str, Expert]) -> None:
    assert set(experts) == {*DOMAINS, "generalist", "tiny"}
    assert all(experts[domain].domain == domain for domain in DOMAINS)


def test_experts_come_smallest_first_and_differ_in_size(experts: dict[str, Expert]) -> None:
    sizes = [expert.parameters for expert in experts.values()]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 1.3 * sizes[0]


def test_weights_are_at_most_fifteen_megabytes() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*.safetensors")) <= 15_000_000
    assert (WEIGHTS / "passages.jsonl.gz").stat().st_size <= 600_000


@pytest.mark.parametrize("domain", DOMAINS)
def test_expert_is_the_best_of_all_on_its_own_domain(
    losses: dict[tuple[str, str], float], domain: str
) -> None:
    of_all = {name: loss for (name, text), loss in losses.items() if text == domain}
    assert min(of_all, key=of_all.__getitem__) == domain


@pytest.mark.parametrize("domain", DOMAINS)
def test_expert_is_far_better_than_chance(
    losses: dict[tuple[str, str], float], domain: str
) -> None:
    # Words alone, without the text around them, leave 6 to 7 nats in every domain.
    assert losses[domain, domain] < 5.3 < np.log(load_tokenizer().get_vocab_size())


def test_losses_do_not_depend_on_the_batch(
    experts: dict[str, Expert], sample: dict[str, list[MaskedPrompt]]
) -> None:
    prompts = sample["code"][:3] + sample["legal"][:3]
    together = experts["tiny"].losses(prompts)
    alone = [experts["tiny"].losses([prompt])[0] for prompt in prompts]
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_losses_of_nothing_are_empty(experts: dict[str, Expert]) -> None:
    assert experts["tiny"].losses([]).shape == (0,)


def test_fill_answers_every_mask_and_keeps_the_rest(experts: dict[str, Expert]) -> None:
    text = "for I in [MASK](10):\n    Total [MASK] 1"
    filled = experts["code"].fill(text)
    first, second = filled.words
    assert filled.text == f"for I in {first}(10):\n    Total {second} 1"
    assert all(0 < probability <= 1 for probability in filled.probabilities)
    assert not any(word.startswith(("##", "[")) for word in filled.words)


def test_fill_needs_a_mask(experts: dict[str, Expert]) -> None:
    with pytest.raises(UsageError, match=r"\[MASK\]"):
        experts["code"].fill("nothing is missing here")


def test_fill_of_a_long_text_says_how_long_it_may_be(experts: dict[str, Expert]) -> None:
    with pytest.raises(UsageError, match="128"):
        experts["code"].fill("word " * 200 + MASK)


@pytest.mark.parametrize(
    ("text", "answers"),
    [("one [MASK]", ()), ("one [MASK]", ("a", "b")), ("none", ()), ("a [MASK]", ("zyxwvutsrq",))],
)
def test_losses_of_a_bad_prompt_are_refused(
    experts: dict[str, Expert], text: str, answers: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError):
        experts["tiny"].losses([MaskedPrompt(text, answers)])


@pytest.mark.parametrize("split", ["train", "test"])
def test_passages_hold_one_mask_for_each_answer(split: str) -> None:
    prompts = load_passages(split)  # type: ignore[arg-type]
    tokenizer = load_tokenizer()
    mask_id = tokenizer.token_to_id(MASK)
    for prompt in prompts:
        ids = tokenizer.encode(prompt.text).ids
        assert ids.count(mask_id) == len(prompt.answers) > 0
        assert len(ids) <= 128


def test_passages_of_one_document_are_in_one_split() -> None:
    # MMLU's questions are named by subject, and dialogues by file: only files can be told apart.
    train, test = (
        {prompt.source for prompt in load_passages(split) if prompt.domain in ("code", "papers")}
        for split in ("train", "test")  # type: ignore[arg-type]
    )
    assert train
    assert test
    assert not train & test


def test_passages_of_an_unknown_split_are_refused() -> None:
    with pytest.raises(UsageError, match="'train' or 'test'"):
        load_passages("validation")  # type: ignore[arg-type]


def test_mask_can_be_undone_and_repeated() -> None:
    text = "The court held that the Seller had breached the contract of sale in 1999."
    prompt = mask(text, random.Random(1), domain="legal")
    assert prompt == mask(text, random.Random(1), domain="legal")
    restored = prompt.text
    for answer in prompt.answers:
        restored = restored.replace(MASK, answer, 1)
    assert restored == text


def test_mask_of_a_text_without_words_is_refused() -> None:
    with pytest.raises(UsageError):
        mask("?! ...", random.Random(0))


@pytest.mark.parametrize(("bits", "worst"), [(8, 0.006), (4, 0.09)])
def test_pack_loses_little(bits: int, worst: float) -> None:
    weight = torch.linspace(-1, 1, 64 * 64).reshape(64, 64)[torch.randperm(64)]
    assert (unpack(pack(weight, bits)) - weight).abs().max() < worst


def test_load_experts_of_a_folder_without_them_says_so(tmp_path: object) -> None:
    with pytest.raises(CorruptArtifact, match=r"tokenizer\.json"):
        load_experts(tmp_path)  # type: ignore[arg-type]
