"""What a run is told."""

from __future__ import annotations

import pytest

from tests.paper.paper_folders import WORDS, tiny_settings, write_corpora
from tryage.errors import UsageError
from tryage.paper import settings
from tryage.paper.settings import EVERYWHERE, Corpus, Settings, default_experts

SHARED = ("clinical", "code", "docs", "legal", "math", "papers", "patents")


@pytest.mark.parametrize("domains", [EVERYWHERE, SHARED], ids=["everywhere", "shared"])
def test_defaults_are_eleven_experts_that_compete_in_every_domain(domains):
    experts = default_experts(domains)
    assert len(experts) == 11
    assert len({expert.base for expert in experts}) >= 3
    for domain in domains:
        told = [{wish for wish in e.text if wish.split("/")[0] == domain} for e in experts]
        assert {f"{domain}/1", f"{domain}/2"} <= set().union(*told)
        assert not any({f"{domain}/1", f"{domain}/2"} <= some and len(told) == 1 for some in told)
        assert sum(bool(some) for some in told) >= 2


def test_default_corpora_need_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    full = Settings.full()
    assert len(full.corpora) >= 7
    assert all(corpus.path is None for corpus in full.corpora)


def test_default_corpora_take_the_folder_of_texts_where_it_is(tmp_path, monkeypatch):
    for name in ("math", "legal"):
        (tmp_path / f"{name}.parquet").touch()
    monkeypatch.setattr(settings, "TEXT", tmp_path)
    domains = [corpus.domain for corpus in settings.default_corpora()]
    assert domains == ["legal", "math", "code", "docs"]


@pytest.mark.parametrize("kinds", [1, 3])
def test_the_default_experts_learn_the_kinds_that_there_are(tmp_path, kinds):
    file = tmp_path / "mine.toml"
    domains = "".join(f'[[corpora]]\ndomain = "{name}"\n' for name in SHARED)
    file.write_text(f"text = {{kinds = {kinds}}}\n{domains}", encoding="utf-8")
    wanted = {wish for expert in Settings.read(file).experts for wish in expert.text}
    assert wanted == {f"{name}/{kind}" for name in SHARED for kind in range(1, kinds + 1)}


def test_paths_of_a_file_are_read_from_its_folder(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(
        '[[corpora]]\ndomain = "law"\npath = "texts"\n[[corpora]]\ndomain = "code"\n'
        '[[experts]]\nname = "a"\nmodel = "google-bert/bert-base-uncased"\n'
        '[[experts]]\nname = "b"\nbase = "small"\n[text]\nrouter = 7\n'
    )
    read = Settings.read(file)
    assert read.corpora[0].path == tmp_path / "texts"
    assert (read.text.router, read.experts[0].model) == (7, "google-bert/bert-base-uncased")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seeds = [", "cannot read --config"),
        ("stepz = 1", "stepz: there is no such setting"),
        ("[text]\ntokens = [64, 4096]", "from 16 to 256"),
        ("[text]\nmasked = 2", "text.masked = 2"),
        ('[[corpora]]\ndomain = "a"', "two or more"),
        ('[[experts]]\nname = "a"\n[[experts]]\nname = "a"', "of different names"),
        (
            '[[experts]]\nname = "a"\ntext = {cod = 1}\n[[experts]]\nname = "b"',
            "'cod', which no corpus is. Did you mean 'code'?",
        ),
    ],
)
def test_a_bad_file_is_named_in_one_line(tmp_path, monkeypatch, text, words):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "run.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as raised:
        Settings.read(file)
    message = str(raised.value)
    assert words in message
    assert "run.toml" in message
    assert "\n" not in message


def test_the_digest_changes_with_settings_and_with_text(tmp_path):
    tiny = tiny_settings(write_corpora(tmp_path))
    other = tiny.model_copy(update={"seeds": (1,)})
    assert tiny.digest == tiny_settings(tiny.corpora).digest
    assert tiny.digest != other.digest
    assert tiny.text_digest == other.text_digest  # the texts need not be made again
    before = tiny.digest
    (tmp_path / next(iter(WORDS)) / "more.txt").write_text("more")
    assert tiny.digest != before


def test_a_corpus_needs_a_plain_name():
    with pytest.raises(ValueError, match="pattern"):
        Corpus(domain="a/b")
