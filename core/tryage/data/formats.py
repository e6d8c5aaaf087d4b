"""Files of long form, batch by batch, so that only what is asked for is ever in memory."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tryage.errors import InvalidTable, MissingExtra

BATCH_ROWS = 1 << 17

Wanted = Callable[[Sequence[str]], Sequence[str]]
"""From the names of a file's columns to those to read."""


class Batch(Protocol):
    """Consecutive rows of a file."""

    @property
    def names(self) -> Sequence[str]:
        """The columns that were read."""

    def __len__(self) -> int: ...

    def texts(self, name: str) -> tuple[list[str], NDArray[np.intp]]:
        """Return the distinct texts of a column, and each row's number in them; -1 for none."""

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column as floats, NaN where a cell is empty.

        Raises:
            NotANumber: A cell holds something else.
        """

    def values(self, name: str) -> list[Any]:
        """Return a column as it stands."""


@dataclass
class NotANumber(Exception):
    """A cell that is no number: its row in the batch, and what it holds."""

    row: int
    value: object


def batches(path: Path, wanted: Wanted) -> Iterator[Batch]:
    """Yield the rows of a `.parquet`, `.csv` or `.jsonl` file, without the unwanted columns.

    Raises:
        InvalidTable: The file cannot be read.
        MissingExtra: Parquet needs `pip install 'tryage[train]'`.
    """
    readers = {".parquet": _parquet, ".csv": _csv, ".jsonl": _jsonl}
    read = readers.get(path.suffix.lower())
    if read is None:
        raise InvalidTable(f"{path}: cannot read {path.suffix!r}; give {', '.join(readers)}.")
    try:
        yield from read(path, wanted)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidTable(f"{path}: cannot be read: {error}.") from error


@dataclass
class _Lists:
    """A batch of Python values, a list for each column."""

    columns: dict[str, list[Any]]
    rows: int

    @property
    def names(self) -> Sequence[str]:
        return tuple(self.columns)

    def __len__(self) -> int:
        return self.rows

    def texts(self, name: str) -> tuple[list[str], NDArray[np.intp]]:
        numbers: dict[str, int] = {}
        index = np.empty(self.rows, dtype=np.intp)
        for row, value in enumerate(self.columns[name]):
            text = "" if value is None else str(value)
            index[row] = numbers.setdefault(text, len(numbers)) if text else -1
        return list(numbers), index

    def numbers(self, name: str) -> NDArray[np.float64]:
        return _floats(self.columns[name])

    def values(self, name: str) -> list[Any]:
        return self.columns[name]


@dataclass
class _Arrow:
    """A batch of Arrow arrays, which hold each text once."""

    batch: Any

    @property
    def names(self) -> Sequence[str]:
        names: list[str] = self.batch.schema.names
        return names

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    def texts(self, name: str) -> tuple[list[str], NDArray[np.intp]]:
        import pyarrow

        column = self.batch.column(name)
        if not isinstance(column, pyarrow.DictionaryArray):
            column = column.dictionary_encode()
        index = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return [str(text) for text in column.dictionary.to_pylist()], index.astype(np.intp)

    def numbers(self, name: str) -> NDArray[np.float64]:
        import pyarrow

        column = self.batch.column(name)
        try:
            floats: NDArray[np.float64] = column.cast("float64").to_numpy(zero_copy_only=False)
            return floats
        except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
            return _floats(column.to_pylist())

    def values(self, name: str) -> list[Any]:
        values: list[Any] = self.batch.column(name).to_pylist()
        return values


def _floats(values: Sequence[Any]) -> NDArray[np.float64]:
    floats = np.full(len(values), np.nan)
    for row, value in enumerate(values):
        if value is None or value == "":
            continue
        try:
            floats[row] = float(value)
        except (TypeError, ValueError):
            raise NotANumber(row, value) from None
    return floats


def _parquet(path: Path, wanted: Wanted) -> Iterator[Batch]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("reading Parquet needs pyarrow: pip install 'tryage[train]'.") from error
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            names = list(wanted(schema.names))
            texts = (pyarrow.types.is_string, pyarrow.types.is_large_string)
            coded = [n for n in names if any(is_text(schema.field(n).type) for is_text in texts)]
        # Texts that stand in many rows stay what they are in the file: written once.
        with pyarrow.parquet.ParquetFile(path, read_dictionary=coded) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=names):
                yield _Arrow(batch)
            if not file.metadata.num_rows:
                yield _Lists({name: [] for name in names}, 0)
    except pyarrow.ArrowInvalid as error:
        raise InvalidTable(f"{path}: not a complete Parquet file: {error}.") from error


def _csv(path: Path, wanted: Wanted) -> Iterator[Batch]:
    # Responses may be longer than the module's default of 128 KiB a field.
    csv.field_size_limit(2**31 - 1)
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        if len(set(header)) != len(header):
            raise InvalidTable(f"{path}: a column name stands twice in {', '.join(header)}.")
        places = [(name, header.index(name)) for name in wanted(header)]
        columns: dict[str, list[Any]] = {name: [] for name, _ in places}
        row = 0
        for row, cells in enumerate(reader, start=1):
            if len(cells) != len(header):
                raise InvalidTable(
                    f"{path}, row {row}: {len(cells)} cells under {len(header)} column names."
                )
            for name, place in places:
                columns[name].append(cells[place])
            if row % BATCH_ROWS == 0:
                yield _Lists(columns, BATCH_ROWS)
                columns = {name: [] for name, _ in places}
        if row % BATCH_ROWS or not row:
            yield _Lists(columns, row % BATCH_ROWS)


def _jsonl(path: Path, wanted: Wanted) -> Iterator[Batch]:
    records: list[dict[str, Any]] = []
    done = False
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
            if len(records) == BATCH_ROWS:
                yield _of_records(records, wanted)
                records, done = [], True
    if records or not done:
        yield _of_records(records, wanted)


def _of_records(records: list[dict[str, Any]], wanted: Wanted) -> _Lists:
    names = wanted(list(dict.fromkeys(name for record in records for name in record)))
    return _Lists({name: [record.get(name) for record in records] for name in names}, len(records))
