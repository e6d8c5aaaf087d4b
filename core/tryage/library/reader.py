"""TOML files to model cards, with errors that name file, line and key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tryage.cards import ModelCard
from tryage.errors import InvalidCard, UsageError, nearest

_HEADER = re.compile(r"^\s*\[\[\s*models\s*\]\]")


def read_cards(path: Path) -> Iterator[ModelCard]:
    """Yield the cards of one TOML file, in its order.

    Raises:
        InvalidCard: A card is at fault; the message starts with `file:line`.
        UsageError: The file is missing, or not TOML.
    """
    text = _read(path)
    for number, facts in enumerate(_tables(path, text)):
        try:
            yield ModelCard(**facts)
        except InvalidCard as error:
            line = _line_of(text, number, str(error))
            raise InvalidCard(f"{path}:{line}: {error}") from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read the library file {str(path)!r}: {error}. Give a TOML file of model cards."
        ) from error


def _tables(path: Path, text: str) -> list[dict[str, Any]]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not valid TOML: {error}.") from None
    for key in document:
        if key != "models":
            hint = nearest(key, ["models"])
            raise InvalidCard(f"{path}: unknown key {key!r}.{hint} Cards stand under [[models]].")
    models = document.get("models", [])
    if not isinstance(models, list):
        raise InvalidCard(
            f"{path}: 'models' is a {type(models).__name__}; write [[models]] tables."
        )
    for number, facts in enumerate(models, start=1):
        if not isinstance(facts, dict):
            raise InvalidCard(f"{path}: card {number} is {facts!r}; write [[models]] tables.")
    return models


def _line_of(text: str, number: int, message: str) -> int:
    """Return the line (from 1) of the key that the message names, in the card of this number."""
    lines = text.splitlines()
    headers = [i for i, line in enumerate(lines) if _HEADER.match(line)]
    if number >= len(headers):  # an inline array of tables has no header to count
        return 1
    start = headers[number]
    end = headers[number + 1] if number + 1 < len(headers) else len(lines)
    for i in range(start, end):
        key = re.match(r"\s*[\"']?([\w-]+)[\"']?\s*[=.]", lines[i])
        named = key and re.search(rf": (?:unknown key '{key[1]}'|{key[1]}\b[^:]* = )", message)
        if named:
            return i + 1
    return start + 1
