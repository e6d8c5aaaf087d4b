"""What `train` and `evaluate` take alike: tables, a predictor and its settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from pydantic import TypeAdapter, ValidationError

from tryage import predictors
from tryage.data.table import PerformanceTable
from tryage.errors import UsageError, nearest
from tryage.predictors.base import Predictor

TableFiles = Annotated[
    list[Path],
    typer.Option("--table", metavar="FILE...", help="Performance tables: .parquet, .csv, .jsonl."),
]
MoreTables = Annotated[list[Path] | None, typer.Argument(metavar="FILE", hidden=True)]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A hyperparameter, such as 'k=20'."),
]


def say(step: str) -> None:
    """Tell whoever sits at a terminal what is being done; a pipe hears nothing."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    if console.is_terminal:
        console.print(step, style="dim")


def tables_from(files: Sequence[Path]) -> dict[str, PerformanceTable]:
    """Return tables by the names of their files, without columns that no predictor reads.

    Raises:
        InvalidTable: A file, a column or a row is at fault.
    """
    stems = [file.stem for file in files]
    names = stems if len(set(stems)) == len(stems) else [str(file) for file in files]
    tables = {}
    for name, file in zip(names, files, strict=True):
        say(f"reading {file}")
        tables[name] = PerformanceTable.read(file, extras=())
    return tables


def predictor_from(name: str, settings: Sequence[str] | None) -> Predictor:
    """Return a predictor that has learned nothing, with hyperparameters as `key=value` texts.

    Raises:
        UnknownPredictor: Nobody registered that name.
        UsageError: A hyperparameter does not exist, or cannot have that value.
    """
    cls = predictors.get(name)
    hints, known = get_type_hints(cls), [field.name for field in fields(cls)]
    parameters: dict[str, Any] = {}
    for setting in settings or ():
        key, equals, text = setting.partition("=")
        if not equals or key not in known:
            raise UsageError(
                f"--set {setting!r}: {name} has no such hyperparameter.{nearest(key, known)} "
                f"Give KEY=VALUE with one of: {', '.join(known) or '(it has none)'}."
            )
        try:
            parameters[key] = TypeAdapter(hints[key]).validate_python(_value(text))
        except ValidationError as error:
            reason = error.errors(include_url=False)[0]["msg"]
            raise UsageError(f"--set {setting!r}: {reason[0].lower()}{reason[1:]}.") from None
    return cls(**parameters)


def _value(text: str) -> Any:
    """Return a number, a list or whatever else JSON can write; a plain word is itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
