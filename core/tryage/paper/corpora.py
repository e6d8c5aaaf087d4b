"""From folders to documents, by domain, and to parts that share no document.

Documents that begin alike fall into one part, and so do all parts of one file; what is left of
repetition between the parts is taken out prompt by prompt (see `tryage.paper.prompts`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tryage.data.text import normalise
from tryage.errors import UsageError, nearest
from tryage.paper.bases import learned_documents
from tryage.paper.machine import DOMAINS, documents_of
from tryage.paper.settings import Corpus, Text
from tryage.training.expert_text import Document, clean, split_documents

SHARES = {"experts": 0.80, "router": 0.11, "validation": 0.03, "test": 0.06}
"""What documents are for, and the share of each."""

_LEAST_CHARACTERS = 100
_PLAIN = (".txt", ".md", ".rst")


def read_parts(
    corpora: Sequence[Corpus], text: Text, progress: Callable[[str], None]
) -> dict[str, list[Document]]:
    """Return the documents of each part, those of all domains together.

    Args:
        corpora: One for each domain.
        text: Says how much is read.
        progress: Called with what is being done.

    Raises:
        UsageError: A corpus has no text, less than four documents, or a file that is not text.
    """
    documents = []
    for corpus in corpora:
        progress(f"reading {corpus.domain}")
        documents += _distinct(corpus, text.max_characters)
    parts = split_documents(documents, SHARES, learned_documents())
    for part, some in parts.items():
        for domain in {corpus.domain for corpus in corpora} - {d.domain for d in some}:
            raise UsageError(
                f"corpus {domain!r}: its documents are so few or so alike that none is left for "
                f"the part {part!r}; give more, or cut them into files of their own."
            )
    return parts


def _distinct(corpus: Corpus, max_characters: int) -> list[Document]:
    """Return a corpus's documents up to a number of characters, each text once."""
    found: dict[str, Document] = {}
    total = 0
    for document in read_corpus(corpus):
        text = clean(document.text, domain=document.domain)
        key = normalise(text)
        if len(text) >= _LEAST_CHARACTERS and key not in found:
            found[key] = replace(document, text=text)
            total += len(text)
        if total >= max_characters:
            break
    if len(found) < len(SHARES):
        raise UsageError(
            f"corpus {corpus.domain!r}: {len(found)} document(s) of {_LEAST_CHARACTERS} characters "
            f"or more in {_named(corpus)}; at least {len(SHARES)} are needed, one for each of "
            f"{', '.join(SHARES)}: give more, or cut it into files of their own."
        )
    return list(found.values())


def read_corpus(corpus: Corpus) -> Iterator[Document]:
    """Yield the documents of one corpus.

    Raises:
        UsageError: There is no such folder, nothing to read in it, or a file that is not text.
    """
    if corpus.path is None:
        if corpus.domain not in DOMAINS:
            raise UsageError(
                f"corpus {corpus.domain!r} has no path, and no machine has it by itself."
                f"{nearest(corpus.domain, DOMAINS)} Give a path, or one of {', '.join(DOMAINS)}."
            )
        yield from documents_of(corpus.domain)
        return
    if not corpus.path.exists():
        raise UsageError(f"corpus {corpus.domain!r}: there is no {str(corpus.path)!r}.")
    files = sorted(corpus.path.rglob("*")) if corpus.path.is_dir() else [corpus.path]
    read = {".parquet": _read_parquet, ".jsonl": _read_jsonl} | dict.fromkeys(_PLAIN, _read_plain)
    files = [file for file in files if file.suffix.lower() in read and file.is_file()]
    if not files:
        raise UsageError(
            f"corpus {corpus.domain!r}: no file of {', '.join(read)} in {str(corpus.path)!r}; "
            "give a folder that holds some."
        )
    for file in files:
        for source, licence, text in read[file.suffix.lower()](file):
            yield Document(domain=corpus.domain, source=source, licence=licence, text=text)


Texts = Iterator[tuple[str, str, str]]
"""Source, licence and text of each document."""


def _read_plain(file: Path) -> Texts:
    yield file.name, "", _text_of(file)


def _read_jsonl(file: Path) -> Texts:
    for number, line in enumerate(_text_of(file).splitlines(), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise UsageError(f"{file}, line {number}: not JSON ({error}).") from error
            yield _row(file, number, row if isinstance(row, dict) else {})


def _read_parquet(file: Path) -> Texts:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(file)
    except (OSError, pyarrow.ArrowException) as error:
        raise UsageError(f"{file}: not a Parquet file ({error}).") from error
    for number, row in enumerate(table.to_pylist(), start=1):
        yield _row(file, number, row)


def _row(file: Path, number: int, row: dict[str, object]) -> tuple[str, str, str]:
    text = row.get("text")
    if not isinstance(text, str):
        raise UsageError(f"{file}, row {number}: no column 'text' that holds a text.")
    return str(row.get("source") or file.name), str(row.get("licence") or ""), text


def _text_of(file: Path) -> str:
    try:
        text = file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{file}: not UTF-8 text (byte {error.start}); convert it or take it out."
        ) from error
    if "\0" in text:
        raise UsageError(f"{file}: a binary file, not text; take it out.")
    return text


def _named(corpus: Corpus) -> str:
    return "this machine" if corpus.path is None else repr(str(corpus.path))
