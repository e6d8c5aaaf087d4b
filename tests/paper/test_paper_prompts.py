"""Passages, kinds and masked prompts."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pyarrow")

from tests.paper.paper_folders import WORDS, write_corpora
from tryage.errors import CorruptArtifact, UsageError
from tryage.experts import MASK, load_tokenizer
from tryage.paper.corpora import SHARES, read_parts
from tryage.paper.kinds import balanced, tell_kinds
from tryage.paper.prompts import SPLITS, has_texts, make_texts, read_texts, write_texts
from tryage.paper.settings import Text
from tryage.training.expert_text import Document

TEXT = Text(tokens=(32, 96), router=8, validation=4, test=6)


def quiet(step: str) -> None:
    """Hear nothing."""


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return read_parts(write_corpora(tmp_path_factory.mktemp("corpora")), TEXT, quiet)


@pytest.fixture(scope="module")
def texts(parts):
    return make_texts(parts, TEXT, quiet)


def test_prompts_are_as_long_and_as_masked_as_was_asked(texts):
    tokenizer = load_tokenizer()
    shares = []
    for prompt in (p for some in texts.prompts.values() for p in some):
        encoded = tokenizer.encode(prompt.text)
        assert prompt.text.count(MASK) == len(prompt.answers) > 0
        assert 32 <= prompt.tokens <= 96
        assert len(encoded.ids) == prompt.tokens  # a mask is one token, and so is what it hides
        words = len(set(encoded.word_ids) - {None})
        shares.append(len(prompt.answers) / words)
    assert np.mean(shares) == pytest.approx(0.15, abs=0.02)


def test_every_split_has_every_domain_and_no_passage_of_another(texts, parts):
    for split in SPLITS:
        assert {p.domain for p in texts.prompts[split]} == set(WORDS)
        sources = {(p.domain, p.source) for p in texts.prompts[split]}
        assert sources <= {(d.domain, d.source) for d in parts[split]}
    ids = [p.prompt_id for some in texts.prompts.values() for p in some]
    assert len(ids) == len(set(ids))


def test_the_seed_decides_on_everything(parts, texts):
    again = make_texts(parts, TEXT, quiet)
    assert again.prompts == texts.prompts
    other = make_texts(parts, TEXT.model_copy(update={"seed": 1}), quiet)
    assert other.prompts != texts.prompts


def test_what_the_experts_have_read_is_no_prompt(parts):
    copied = dict(parts)
    copied["test"] = [*parts["test"], *parts["experts"]]
    made = make_texts(copied, TEXT.model_copy(update={"test": 60}), quiet)
    sources = {(p.domain, p.source) for p in made.prompts["test"]}
    assert sources <= {(d.domain, d.source) for d in parts["test"]}


def test_kinds_are_told_by_the_words_alone():
    texts = [f"{'doctor pain pills' if n % 3 else 'x = y + 2 ;'} word{n} {n}" for n in range(60)]
    kinds = tell_kinds(["d"] * 60, texts, number=2, seed=0)["d"]
    assert kinds.of(texts).tolist() == [1 if n % 3 else 2 for n in range(60)]  # the larger is 1
    assert "doctor" in kinds.words[0]


def test_kinds_are_balanced_as_far_as_they_go():
    kinds = [*"aaaaaaaa", *"bb", *"aa"]
    chosen = balanced(kinds, 6)
    assert sorted(kinds[at] for at in chosen) == list("aaaabb")
    assert chosen == sorted(chosen)


@pytest.mark.parametrize(
    ("text", "words"),
    [("short. " * 20, "no passage of 32 to 96 tokens"), ("?! ,. ;: " * 300, "can be masked")],
)
def test_text_that_makes_no_prompt_is_named(parts, text, words):
    rng = random.Random(0)

    def poor() -> Document:
        cut = text[: rng.randrange(90, len(text))]
        return Document(domain="poor", source="", licence="", text=cut)

    bad = {part: [*some, poor()] for part, some in parts.items()}
    with pytest.raises(UsageError, match=words) as raised:
        make_texts(bad, TEXT, quiet)
    assert "'poor'" in str(raised.value)


def test_texts_are_kept_whole(tmp_path, texts):
    write_texts(texts, tmp_path)
    assert has_texts(tmp_path)
    assert read_texts(tmp_path) == texts
    (tmp_path / "test.parquet").write_bytes(b"cut off")
    with pytest.raises(CorruptArtifact, match="delete it"):
        read_texts(tmp_path)


def test_parts_are_those_that_prompts_are_made_of():
    assert list(SHARES) == ["experts", *SPLITS]
    assert dataclasses.is_dataclass(Document)
