"""Long-form tables from Parquet, CSV and JSONL, checked row by row."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tryage.errors import InvalidTable, MissingExtra, nearest

REQUIRED = ("prompt_id", "prompt", "model", "score")


@dataclass(frozen=True)
class Rows:
    """The columns of a long-form table, one entry per prompt and model."""

    path: Path
    prompt_ids: Sequence[str]
    prompts: Sequence[str]
    models: Sequence[str]
    scores: NDArray[np.float64]
    domains: Sequence[str]
    measures: Mapping[str, NDArray[np.float64]]
    extras: Mapping[str, NDArray[np.object_]]


def read_rows(path: Path, measures: Sequence[str]) -> Rows:
    """Return the rows of a `.parquet`, `.csv` or `.jsonl` file.

    Raises:
        InvalidTable: The file, a column or a row is at fault.
        MissingExtra: Parquet needs `pip install 'tryage[train]'`.
    """
    readers = {".parquet": _parquet, ".csv": _csv, ".jsonl": _jsonl}
    read = readers.get(path.suffix.lower())
    if read is None:
        raise InvalidTable(f"{path}: cannot read {path.suffix!r}; give {', '.join(readers)}.")
    try:
        columns = read(path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidTable(f"{path}: cannot be read: {error}.") from error
    for name in REQUIRED:
        if name not in columns:
            raise InvalidTable(
                f"{path}: the column {name!r} is missing.{nearest(name, columns)} "
                f"Required: {', '.join(REQUIRED)}."
            )
    if not columns["score"]:
        raise InvalidTable(f"{path}: the table has no rows.")
    return _check(path, columns, measures)


def _check(path: Path, columns: dict[str, list[Any]], measures: Sequence[str]) -> Rows:
    for name in ("prompt_id", "prompt", "model"):
        for row, value in enumerate(columns[name]):
            if value is None or (isinstance(value, str) and not value.strip()):
                raise InvalidTable(f"{path}, row {row + 1}: {name} is empty.")
    scores = _numbers(path, "score", columns["score"])
    for row in np.flatnonzero(~((scores >= 0) & (scores <= 1))).tolist():
        given = columns["score"][row]
        raise InvalidTable(
            f"{path}, row {row + 1}: score {given!r} is not a number in [0, 1]; 1 is best."
        )
    known = {*REQUIRED, "domain", *measures}
    return Rows(
        path=path,
        prompt_ids=[str(v) for v in columns["prompt_id"]],
        prompts=[str(v) for v in columns["prompt"]],
        models=[str(v) for v in columns["model"]],
        scores=scores,
        domains=["" if v is None else str(v) for v in columns.get("domain", [""] * len(scores))],
        measures={m: _numbers(path, m, columns[m]) for m in measures if m in columns},
        extras={name: _objects(v) for name, v in columns.items() if name not in known},
    )


def _numbers(path: Path, name: str, values: list[Any]) -> NDArray[np.float64]:
    """Return a column as floats, NaN where a cell is empty."""
    numbers = np.full(len(values), np.nan)
    for row, value in enumerate(values):
        if value is None or value == "":
            continue
        try:
            numbers[row] = float(value)
        except (TypeError, ValueError):
            raise InvalidTable(
                f"{path}, row {row + 1}: {name} {value!r} is not a number."
            ) from None
    return numbers


def _objects(values: list[Any]) -> NDArray[np.object_]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _parquet(path: Path) -> dict[str, list[Any]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("reading Parquet needs pyarrow: pip install 'tryage[train]'.") from error
    try:
        table = pyarrow.parquet.read_table(path)
    except pyarrow.ArrowInvalid as error:
        raise InvalidTable(f"{path}: not a complete Parquet file: {error}.") from error
    return {name: table.column(name).to_pylist() for name in table.column_names}


def _csv(path: Path) -> dict[str, list[Any]]:
    # Responses may be longer than the module's default of 128 KiB a field.
    csv.field_size_limit(2**31 - 1)
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        if len(set(header)) != len(header):
            raise InvalidTable(f"{path}: a column name stands twice in {', '.join(header)}.")
        columns: dict[str, list[Any]] = {name: [] for name in header}
        for row, cells in enumerate(reader, start=1):
            if len(cells) != len(header):
                raise InvalidTable(
                    f"{path}, row {row}: {len(cells)} cells under {len(header)} column names."
                )
            for name, cell in zip(header, cells, strict=True):
                columns[name].append(cell)
    return columns


def _jsonl(path: Path) -> dict[str, list[Any]]:
    records: list[dict[str, Any]] = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise InvalidTable(f"{path}, row {number}: not JSON: {error}.") from None
            if not isinstance(record, dict):
                raise InvalidTable(f"{path}, row {number}: {record!r} is not a JSON object.")
            records.append(record)
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}
