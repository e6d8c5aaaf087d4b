"""What several commands take and print alike."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tryage.errors import UsageError
from tryage.flags import Flags
from tryage.library import Library

LibraryFile = Annotated[
    Path | None,
    typer.Option("--library", metavar="FILE", help="TOML file of model cards to choose from."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]
FlagTexts = Annotated[
    list[str] | None,
    typer.Option("--flag", metavar="TEXT", help="A wish, such as 'cheapest' or 'cost=0.3'."),
]


def library_from(file: Path | None) -> Library:
    """Return the library of a file, or the bundled one."""
    return Library.bundled() if file is None else Library.read(file)


def flags_from(texts: Sequence[str] | None) -> Flags:
    """Return the flags of all texts together; a later text is the stronger."""
    flags = Flags()
    for text in texts or ():
        flags = flags.merged(Flags.parse(text))
    return flags


def prompt_from(argument: str) -> str:
    """Return the prompt, read from standard input where the argument is `-`."""
    if argument != "-":
        return argument
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise UsageError(f"standard input is not UTF-8 text: {error}.") from error


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object on standard output."""
    print(json.dumps(value, ensure_ascii=False))  # noqa: T201
