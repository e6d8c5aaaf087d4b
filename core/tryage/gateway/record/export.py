"""From the record to a performance table: what was asked, who answered, and how good that was."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, func, select

from tryage.errors import MissingExtra, SaveFailed, UsageError
from tryage.gateway.record import tables
from tryage.gateway.record.reading import Which, stream

_C = tables.entries.c
_COLUMNS = {
    "prompt_id": (_C.id, "string"),
    "prompt": (_C.prompt, "string"),
    "model": (_C.model, "string"),
    "score": (_C.score, "float64"),
    "cost_usd": (_C.cost_usd, "float64"),
    "latency_s": (_C.seconds, "float64"),
    "input_tokens": (_C.input_tokens, "int64"),
    "output_tokens": (_C.output_tokens, "int64"),
    "response": (_C.response, "string"),
}
_BATCH = 5_000

Rows = Iterable[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        rows: Answers in the file.
        left_out: Answers that are not in it, since they have no score, or have one already.
    """

    rows: int
    left_out: int


def export(engine: Engine, which: Which, out: Path, *, unscored: bool = False) -> Exported:
    """Write the answers of the record as a performance table, one row each.

    Args:
        engine: From `open_database`.
        which: Which entries; those without an answer are never in.
        out: `.parquet`, `.csv` or `.jsonl`.
        unscored: Write the answers that nobody has scored yet, with an empty `score` to fill in,
            instead of those that have one. Only the latter can be read as a performance table.

    Raises:
        UsageError: The file's name ends otherwise, or there is nothing to write.
        MissingExtra: Parquet needs `pip install 'tryage[train]'`.
        SaveFailed: The file cannot be written.
    """
    writers: dict[str, Callable[[Path, Rows], None]] = {
        ".parquet": _parquet,
        ".csv": _csv,
        ".jsonl": _jsonl,
    }
    write = writers.get(out.suffix.lower())
    if write is None:
        raise UsageError(f"--out {str(out)!r}: give a file that ends in {', '.join(writers)}.")
    wanted = _C.score.is_(None) if unscored else _C.score.is_not(None)
    # A table refuses a prompt without a character; the record may hold one.
    prompted = func.trim(_C.prompt, " \n\t\r") != ""
    answered = [_C.model.is_not(None), _C.error.is_(None), prompted, *which.conditions()]
    columns = [column.label(name) for name, (column, _) in _COLUMNS.items()]
    with engine.connect() as connection:
        of_all = select(func.count(), func.count(_C.prompt)).where(*which.conditions())
        everything, prompts = connection.execute(of_all).one()
        of_answers = select(func.count(), func.count(_C.score)).where(*answered)
        answers, scored = connection.execute(of_answers).one()
        rows = answers - scored if unscored else scored
        if not rows:
            raise UsageError(_nothing(everything, prompts, answers, unscored))
        chosen = select(*columns).where(*answered, wanted).order_by(_C.time, _C.id)
        part = out.with_name(f".{out.name}.part")
        try:
            write(part, (dict(row._mapping) for row in stream(connection, chosen)))
            os.replace(part, out)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise SaveFailed(f"--out {str(out)!r} cannot be written: {error}.") from error
    return Exported(rows, answers - rows)


def _nothing(everything: int, prompts: int, answers: int, unscored: bool) -> str:
    if not everything:
        return "the record holds no such request; nothing to export."
    if not prompts:
        return (
            f"none of the {everything} requests in the record has its prompt; prompts are kept "
            "from now on with prompts = true under [record] in the gateway's config file."
        )
    if not answers or unscored:
        return f"the record holds {answers} answers with their prompts, none without a score."
    return (
        f"none of the {answers} answers has a score, which the gateway cannot know; give some with "
        "`tryage log score ID 0.9`, or write them all with an empty score to fill in: --unscored."
    )


def _csv(path: Path, rows: Rows) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def _jsonl(path: Path, rows: Rows) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _parquet(path: Path, rows: Rows) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("writing Parquet needs pyarrow: pip install 'tryage[train]'.") from error
    schema = pyarrow.schema([(name, kind) for name, (_, kind) in _COLUMNS.items()])
    with pyarrow.parquet.ParquetWriter(path, schema) as file:
        batch: list[dict[str, Any]] = []
        for row in rows:
            batch.append(row)
            if len(batch) == _BATCH:
                file.write_table(pyarrow.Table.from_pylist(batch, schema))
                batch = []
        file.write_table(pyarrow.Table.from_pylist(batch, schema))
