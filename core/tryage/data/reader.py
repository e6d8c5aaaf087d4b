"""Long-form tables from Parquet, CSV and JSONL, checked row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tryage.data.formats import Batch, NotANumber, batches
from tryage.errors import InvalidTable, nearest

REQUIRED = ("prompt_id", "prompt", "model", "score")
RESPONSE = "response"


@dataclass(frozen=True)
class Texts:
    """A column of texts, each kept once.

    Attributes:
        distinct: The texts, in the order of first sight; an empty cell is "".
        codes: int32 (n_rows,), each row's number in them.
    """

    distinct: Sequence[str]
    codes: NDArray[np.int32]


@dataclass(frozen=True)
class Rows:
    """The columns of a long-form table, one entry per prompt and model."""

    path: Path
    prompt_ids: Texts
    prompts: Texts
    models: Texts
    domains: Texts
    scores: NDArray[np.float32]
    measures: Mapping[str, NDArray[np.float64]]
    extras: Mapping[str, NDArray[np.object_]]


def read_rows(path: Path, measures: Sequence[str], extras: Sequence[str] | None) -> Rows:
    """Return the rows of a `.parquet`, `.csv` or `.jsonl` file.

    Args:
        path: The file.
        measures: Optional columns of numbers.
        extras: The other columns to keep; every one but `response` if absent.

    Raises:
        InvalidTable: The file, a column or a row is at fault.
        MissingExtra: Parquet needs `pip install 'tryage[train]'`.
    """
    known = (*REQUIRED, "domain", *measures)

    def wanted(names: Sequence[str]) -> list[str]:
        reading.refuse_missing(names, () if reading.rows else extras or ())
        kept = [n for n in names if n not in known and n != RESPONSE] if extras is None else extras
        return [name for name in names if name in known or name in kept]

    reading = _Reading(path, measures)
    for batch in batches(path, wanted):
        reading.take(batch)
    if not reading.rows:
        raise InvalidTable(f"{path}: the table has no rows.")
    return reading.finish()


class _Coder:
    """Numbers texts in the order of first sight."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.codes: list[NDArray[np.int32]] = []

    def take(self, distinct: list[str], index: NDArray[np.intp]) -> None:
        numbers = self.numbers
        if (index < 0).any():
            index, distinct = np.where(index < 0, len(distinct), index), [*distinct, ""]
        # In the order of the rows, which a file's own dictionary need not keep.
        present, first = np.unique(index, return_index=True)
        code_of = np.zeros(len(distinct), dtype=np.int32)
        for at in present[np.argsort(first)].tolist():
            code_of[at] = numbers.setdefault(distinct[at], len(numbers))
        self.codes.append(code_of[index])

    def finish(self) -> Texts:
        return Texts(tuple(self.numbers), _joined(self.codes))


@dataclass
class _Reading:
    """What was read of a file so far."""

    path: Path
    measures: Sequence[str]
    rows: int = 0
    texts: dict[str, _Coder] = field(default_factory=dict)
    scores: list[NDArray[np.float32]] = field(default_factory=list)
    numbers: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict)
    extras: dict[str, list[Any]] = field(default_factory=dict)

    def refuse_missing(self, names: Sequence[str], extras: Sequence[str]) -> None:
        """Raise an error that names the first column that is required and not there."""
        for name in (*REQUIRED, *extras):
            if name not in names:
                raise InvalidTable(
                    f"{self.path}: the column {name!r} is missing.{nearest(name, names)} "
                    f"Required: {', '.join((*REQUIRED, *extras))}."
                )

    def take(self, batch: Batch) -> None:
        """Check a batch and keep its rows."""
        for name in (*REQUIRED[:3], "domain"):
            coder = self.texts.setdefault(name, _Coder())
            if name not in batch.names:
                coder.take([], np.full(len(batch), -1))
                continue
            distinct, index = batch.texts(name)
            if name != "domain":
                self._refuse_empty(name, distinct, index)
            coder.take(distinct, index)
        self.scores.append(self._checked_scores(batch).astype(np.float32))
        for name in [name for name in self.measures if name in batch.names]:
            self._padded(self.numbers, name, np.nan).append(self._numbers(batch, name))
        for name in batch.names:
            if name not in self.texts and name != "score" and name not in self.measures:
                self._padded(self.extras, name, None).append(_objects(batch.values(name)))
        self.rows += len(batch)
        for column, nothing in ((self.numbers, np.nan), (self.extras, None)):
            for name in column:  # a column that this batch has not
                self._padded(column, name, nothing)

    def finish(self) -> Rows:
        """Return all rows."""
        return Rows(
            path=self.path,
            prompt_ids=self.texts["prompt_id"].finish(),
            prompts=self.texts["prompt"].finish(),
            models=self.texts["model"].finish(),
            domains=self.texts["domain"].finish(),
            scores=_joined(self.scores),
            measures={name: _joined(parts) for name, parts in self.numbers.items()},
            extras={name: _joined(parts) for name, parts in self.extras.items()},
        )

    def _padded(self, columns: dict[str, list[Any]], name: str, nothing: object) -> list[Any]:
        """Return the parts of a column, filled up to the rows read before."""
        parts = columns.setdefault(name, [])
        missing = self.rows - sum(map(len, parts))
        if missing:
            parts.append(np.full(missing, nothing))
        return parts

    def _refuse_empty(self, name: str, distinct: list[str], index: NDArray[np.intp]) -> None:
        blank = [number for number, text in enumerate(distinct) if not text.strip()]
        for row in np.flatnonzero(np.isin(index, [-1, *blank]))[:1].tolist():
            raise InvalidTable(f"{self.path}, row {self.rows + row + 1}: {name} is empty.")

    def _checked_scores(self, batch: Batch) -> NDArray[np.float64]:
        scores = self._numbers(batch, "score")
        for row in np.flatnonzero(~((scores >= 0) & (scores <= 1)))[:1].tolist():
            raise InvalidTable(
                f"{self.path}, row {self.rows + row + 1}: score {batch.values('score')[row]!r} is "
                "not a number in [0, 1]; 1 is best. Scale the scores, and leave out rows without."
            )
        return scores

    def _numbers(self, batch: Batch, name: str) -> NDArray[np.float64]:
        try:
            return batch.numbers(name)
        except NotANumber as cell:
            raise InvalidTable(
                f"{self.path}, row {self.rows + cell.row + 1}: {name} {cell.value!r} "
                "is not a number."
            ) from None


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Return the parts as one array, and let go of them: no column is in memory twice for long."""
    whole = np.concatenate(parts)
    parts.clear()
    return whole


def _objects(values: list[Any]) -> NDArray[np.object_]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
