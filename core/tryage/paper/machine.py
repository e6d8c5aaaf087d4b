"""Text that every machine with Python and this package's dependencies has, by domain."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from collections.abc import Callable, Iterator
from pathlib import Path

from tryage.training.expert_text import Document, split_docstrings, standard_library

_TEST_FOLDERS = {"test", "tests", "testing"}
_LICENCE_FILES = ("licen", "copying", "notice", "copyright")
_LEAST = 400
"""Characters of a document at least."""


def documents_of(domain: str) -> Iterator[Document]:
    """Yield the documents of one of `DOMAINS`, in an order that hangs on their names alone.

    Those of the standard library come first, and then those of the installed packages.
    """
    yield from DOMAINS[domain]()


def _code() -> Iterator[Document]:
    yield from (document for document in standard_library() if document.domain == "code")
    for name, path in _installed(".py"):
        if _TEST_FOLDERS.isdisjoint(Path(name).parts):
            yield from _part_of_module(name, path, "code")


def _docs() -> Iterator[Document]:
    yield from (document for document in standard_library() if document.domain == "docs")
    for name, path in _installed(".py"):
        yield from _part_of_module(name, path, "docs")


def _part_of_module(name: str, path: Path, domain: str) -> Iterator[Document]:
    try:
        code, docs = split_docstrings(_read(path))
    except (SyntaxError, ValueError):  # not of this Python
        return
    yield from _document(name, code if domain == "code" else docs, domain)


def _tests() -> Iterator[Document]:
    for name, path in _installed(".py"):
        if not _TEST_FOLDERS.isdisjoint(Path(name).parts):
            yield from _document(name, _read(path), "tests")


def _whole(domain: str, suffix: str) -> Iterator[Document]:
    for name, path in _installed(suffix):
        yield from _document(name, _read(path), domain)


def _readmes() -> Iterator[Document]:
    for name, path in _installed(".dist-info/METADATA"):
        # Fields, an empty line, and then the project's own description of itself.
        yield from _document(name, _read(path).partition("\n\n")[2], "readmes")


def _licences() -> Iterator[Document]:
    for name, path in _installed(""):
        if ".dist-info" in name and path.name.lower().startswith(_LICENCE_FILES):
            yield from _document(name, _read(path), "licences")


DOMAINS: dict[str, Callable[[], Iterator[Document]]] = {
    "code": _code,
    "docs": _docs,
    "tests": _tests,
    "stubs": functools.partial(_whole, "stubs", ".pyi"),
    "headers": functools.partial(_whole, "headers", ".h"),
    "readmes": _readmes,
    "licences": _licences,
}
"""Kinds of text that need no folder."""


def _installed(suffix: str) -> Iterator[tuple[str, Path]]:
    for name, path in _files():
        if name.endswith(suffix):
            yield name, path


@functools.cache
def _files() -> tuple[tuple[str, Path], ...]:
    """Return the files of all installed packages with their names, in the order of a hash."""
    found = {
        str(file): Path(str(file.locate()))
        for distribution in importlib.metadata.distributions()
        for file in distribution.files or ()
        if "__pycache__" not in file.parts and ".." not in file.parts
    }
    return tuple(sorted(found.items(), key=lambda item: hashlib.sha256(item[0].encode()).digest()))


def _read(path: Path) -> str:
    """Return the text of a file, empty if it is not there or no text."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _document(name: str, text: str, domain: str) -> Iterator[Document]:
    if len(text) >= _LEAST:
        licence = f"that of {Path(name).parts[0]}"
        yield Document(domain=domain, source=name, licence=licence, text=text)
