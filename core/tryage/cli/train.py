"""`tryage train`: a predictor that learns from tables of one's own."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from tryage.cli.learning import (
    MoreTables,
    Settings,
    TableFiles,
    predictor_from,
    say,
    tables_from,
)
from tryage.cli.options import AsJson, LibraryFile, library_from, print_json
from tryage.data.merge import merged
from tryage.data.table import PerformanceTable
from tryage.errors import InvalidTable, SaveFailed, UsageError
from tryage.library import Library
from tryage.predictors.base import Predictor
from tryage.predictors.default import DefaultPredictor
from tryage.predictors.staging import staged
from tryage.predictors.transformer import TransformerPredictor
from tryage.training.provenance import write_provenance


def train(
    table: TableFiles,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the trained predictor goes.")],
    more: MoreTables = None,
    predictor: Annotated[
        str, typer.Option(metavar="NAME", help="What to train; 'default' is the kind that ships.")
    ] = "default",
    settings: Settings = None,
    library: LibraryFile = None,
    json: AsJson = False,
) -> None:
    """Train a predictor on performance tables, and save it.

    A table has one row per prompt and model, with the columns prompt_id, prompt, model and score
    in [0, 1], and domain, cost_usd and output_tokens where known. Several tables need the same
    models, but for the default predictor. What stood in DIR stays whole until all is written.
    The training of a transformer that was interrupted goes on where it was, given the same again.

    Example: tryage train --table scores.csv --predictor knn --set k=20 --out trained
    """
    learner = predictor_from(predictor, settings)
    cards = library_from(library)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # now, and not after minutes of work
        raise UsageError(f"cannot write to --out {str(out)!r}: {error}.") from error
    tables = tables_from([*table, *(more or ())])
    start = time.perf_counter()
    checkpoints = out / "checkpoints"
    _fit(learner, tables, cards, checkpoints)
    seconds = time.perf_counter() - start
    _save(learner, tables, out)
    shutil.rmtree(checkpoints, ignore_errors=True)
    n_prompts = sum(map(len, tables.values()))
    if json:
        sizes = {name: len(part) for name, part in tables.items()}
        print_json(
            {"predictor": predictor, "out": str(out), "tables": sizes, "n_prompts": n_prompts,
             "models": list(learner.models), "seconds": round(seconds, 3)}
        )  # fmt: skip
        return
    from rich.console import Console

    Console(highlight=False).print(
        f"[bold]{predictor}[/bold] learned {len(learner.models)} models from {n_prompts:,} prompts "
        f"in {seconds:.1f} s; saved in {out}\n"
        f"decide with it: tryage route --predictor {out} PROMPT",
        soft_wrap=True,
    )


def _fit(
    learner: Predictor,
    tables: Mapping[str, PerformanceTable],
    cards: Library,
    checkpoints: Path,
) -> None:
    for name, table in tables.items():
        if len(table.models) < 2 or len(table) < 2:
            raise InvalidTable(
                f"{name} has {len(table)} prompt(s) and {len(table.models)} model(s); "
                "a router learns from two or more of each."
            )
    say(f"{learner.name} learns from {sum(map(len, tables.values())):,} prompts")
    if isinstance(learner, DefaultPredictor):
        learner.fit_tables(tables, cards)
    elif isinstance(learner, TransformerPredictor):
        learner.fit(merged(tables), checkpoints=checkpoints)
    else:
        learner.fit(merged(tables))


def _save(learner: Predictor, tables: Mapping[str, PerformanceTable], out: Path) -> None:
    from safetensors import SafetensorError

    say(f"saving in {out}")
    try:
        with staged(out) as fresh:
            learner.save(fresh)
            write_provenance(fresh, tables)
    except (OSError, SafetensorError) as error:
        raise SaveFailed(
            f"--out {str(out)!r} cannot be written: {error}. What stood there is unchanged; "
            "make room, or give another folder."
        ) from error
