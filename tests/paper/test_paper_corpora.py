"""From folders to documents and parts."""

from __future__ import annotations

import json

import pytest

from tests.paper.paper_folders import WORDS, write_corpora
from tryage.errors import UsageError
from tryage.paper.corpora import SHARES, read_corpus, read_parts
from tryage.paper.machine import DOMAINS, documents_of
from tryage.paper.settings import EVERYWHERE, Corpus, Text
from tryage.training.expert_text import Document, fingerprint, split_documents

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

LONG = "A sentence that is long enough to be a document of its own, number {0} of those. " * 4


def quiet(step: str) -> None:
    """Hear nothing."""


def test_parts_share_no_document_and_leave_none_out(tmp_path):
    corpora = write_corpora(tmp_path)
    parts = read_parts(corpora, Text(), quiet)
    assert list(parts) == list(SHARES)
    texts = [d.text for some in parts.values() for d in some]
    assert len(texts) == len(set(texts)) == 8 * len(WORDS)
    assert all({d.domain for d in some} == set(WORDS) for some in parts.values())
    assert max(parts, key=lambda part: len(parts[part])) == "experts"


def test_every_format_is_read_alike(tmp_path):
    texts = [LONG.format(n) for n in range(4)]
    for suffix in ("txt", "md", "rst"):
        (tmp_path / f"a.{suffix}").write_text(texts[0])
    (tmp_path / "b.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in texts))
    parquet.write_table(pyarrow.table({"text": texts}), tmp_path / "c.parquet")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0")  # not asked for
    found = [d.text for d in read_corpus(Corpus(domain="x", path=tmp_path))]
    assert sorted(found) == sorted([texts[0]] * 3 + texts * 2)


def test_a_document_counts_once(tmp_path):
    for n in range(5):
        (tmp_path / f"{n}.txt").write_text(f"{WORDS['code'][n:]} {LONG.format(n)}")
    (tmp_path / "again.txt").write_text(f"{WORDS['code']}: {LONG.format(0)}!".upper())
    found = read_parts([Corpus(domain="x", path=tmp_path)], Text(), quiet)
    assert sum(map(len, found.values())) == 5


def bad_folder(tmp_path, case):
    folder = tmp_path / "folder"
    if case != "missing":
        folder.mkdir()
    if case == "binary":
        (folder / "a.txt").write_bytes(b"text\0and more")
    if case == "bytes":
        (folder / "a.md").write_bytes(b"\xff\xfe\x00")
    if case == "one":
        (folder / "a.txt").write_text(LONG)
    if case == "column":
        (folder / "a.jsonl").write_text('{"words": "x"}')
    if case == "json":
        (folder / "a.jsonl").write_text("{")
    if case == "parquet":
        (folder / "a.parquet").write_bytes(b"PAR1")
    return folder


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("missing", "there is no"),
        ("empty", "no file of"),
        ("binary", "a.txt: a binary file"),
        ("bytes", "a.md: not UTF-8 text (byte 0)"),
        ("one", "1 document(s)"),
        ("column", "a.jsonl, row 1: no column 'text'"),
        ("json", "a.jsonl, line 1: not JSON"),
        ("parquet", "a.parquet: not a Parquet file"),
    ],
)
def test_a_bad_corpus_is_named_in_one_line(tmp_path, case, words):
    folder = bad_folder(tmp_path, case)
    with pytest.raises(UsageError) as raised:
        read_parts([Corpus(domain="x", path=folder)], Text(), quiet)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_domain_without_a_path_must_be_known():
    with pytest.raises(UsageError, match="Did you mean 'code'"):
        read_parts([Corpus(domain="coed")], Text(), quiet)


@pytest.mark.parametrize("domain", EVERYWHERE)
def test_every_machine_has_seven_domains(domain):
    assert domain in DOMAINS
    found = [document for document, _ in zip(documents_of(domain), range(6), strict=False)]
    assert len(found) == 6
    assert all(document.domain == domain and document.text for document in found)


def test_what_a_base_has_learned_stays_with_the_experts():
    documents = [
        Document(domain="x", source=f"{n}", licence="", text=f"{'abcdefghij'[n] * 70} {n}")
        for n in range(10)
    ]
    seen = {fingerprint(document) for document in documents[:7]}
    parts = split_documents(documents, SHARES, seen)
    assert {d.source for d in documents[:7]} <= {d.source for d in parts["experts"]}
    assert all(parts[part] for part in SHARES)
