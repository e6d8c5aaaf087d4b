"""`tryage evaluate`: how well a predictor routes, beside the baselines."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tryage import predictors
from tryage.cli.learning import (
    MoreTables,
    Settings,
    TableFiles,
    predictor_from,
    say,
    tables_from,
)
from tryage.cli.options import AsJson, LibraryFile, print_json
from tryage.data.merge import merged
from tryage.data.split import Split, split_by_domain, split_by_model, split_by_prompt
from tryage.errors import UsageError
from tryage.evaluation import Evaluation, Measures
from tryage.evaluation import evaluate as judge
from tryage.evaluation.plot import check_plot
from tryage.evaluation.plot import plot as draw
from tryage.library import Library
from tryage.training.provenance import seen_prompts

if TYPE_CHECKING:
    from rich.table import Table

SPLITS: dict[str, Callable[..., Split]] = {
    "random": split_by_prompt,
    "domain": split_by_domain,
    "model": split_by_model,
}
SHORT = {
    "selection_accuracy": "accuracy",
    "oracle_gap_closed": "of gap",
    "headroom_captured": "headroom",
    "cost_at_parity": "parity $",
    "parity_gain": "parity ±",
    "calibration_error": "ece",
    "seconds_per_1k": "s / 1k",
}


def evaluate(
    table: TableFiles,
    predictor: Annotated[
        str, typer.Option(metavar="NAME|DIR", help="What to train and judge, or a trained one.")
    ],
    more: MoreTables = None,
    split: Annotated[
        Literal["random", "domain", "model"],
        typer.Option(help="What the test part has that training lacks."),
    ] = "random",
    seed: Annotated[int, typer.Option(min=0, help="Of the split and of the intervals.")] = 0,
    strong: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Of APGR and CPT; else the best.")
    ] = None,
    weak: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Of APGR and CPT; else the cheapest.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Picture of quality over cost.")
    ] = None,
    settings: Settings = None,
    library: LibraryFile = None,
    json: AsJson = False,
) -> None:
    """Judge a predictor on prompts that it did not learn from, beside the baselines.

    70 % of the prompts are the training part, from which a predictor named by NAME and every
    baseline learn; the rest is the test part. A trained one in DIR is taken as it is. Intervals
    are 95 % bootstrap, over prompts. A folder that is called like a predictor is ./NAME.

    Example: tryage evaluate --table scores.csv --predictor default --json
    """
    if plot is not None:
        check_plot(plot)
    cards = None if library is None else Library.read(library)
    trained = predictor not in predictors.names() and Path(predictor).is_dir()
    if trained and settings:
        raise UsageError("--set goes with a predictor that is to be trained; this one is.")
    learner = predictors.load(predictor) if trained else predictor_from(predictor, settings)
    tables = tables_from([*table, *(more or ())])
    parts = SPLITS[split](merged(tables), seed=seed)
    leaked = _leaked(Path(predictor), parts) if trained else 0
    judged = judge(
        learner, parts.train, parts.test, library=cards, strong=strong, weak=weak, seed=seed,
        progress=say,
    )  # fmt: skip
    if json:
        given = {"tables": list(tables), "split": split, "seed": seed, "leaked_prompts": leaked}
        print_json(judged.as_json() | given)
    else:
        _show(judged)
    if plot is not None:
        draw(judged, plot)


def _leaked(directory: Path, parts: Split) -> int | None:
    """Return how many test prompts a trained predictor learned from, and warn of them."""
    seen = seen_prompts(directory, parts.test)
    if seen is None:
        warning = f"{directory} does not say what it learned from; the measures may flatter it"
    elif len(seen):
        warning = (
            f"{directory} learned from {len(seen):,} of the {len(parts.test):,} test prompts; the "
            "measures flatter it. Judge it on another table, or give --predictor its NAME"
        )
    else:
        return 0
    print(f"tryage: warning: {warning}.", file=sys.stderr)  # noqa: T201
    return None if seen is None else len(seen)


def _show(judged: Evaluation) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    console.print(_measures(judged))
    prompts, pair = judged.prompts, judged.pair
    console.print(
        f"{judged.n_test:,} test prompts, {judged.n_train:,} to learn from; {len(judged.models)} "
        f"models: all are right on {prompts.all_right:,}, some on {prompts.some_right:,}, none on "
        f"{prompts.none_right:,}\nstrong: {pair.strong}, weak: {pair.weak}",
        soft_wrap=True,
    )
    if judged.unknown:
        console.print(f"not known to it, never chosen: {', '.join(judged.unknown)}")
    reasons: dict[str, list[str]] = {}
    for measure, reason in judged.notes.items():
        reasons.setdefault(reason, []).append(measure)
    for reason, measures in reasons.items():
        console.print(f"– {', '.join(measures)}: {reason}", soft_wrap=True, style="dim")


def _measures(judged: Evaluation) -> Table:
    """Return measures by row and contenders by column, the predictor's with its interval."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(
        title=f"{judged.name} with 95 % intervals, beside the baselines",
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=0,
    )
    table.add_column("", no_wrap=True)
    table.add_column(judged.name.replace("_", " "), justify="right", style="bold", overflow="fold")
    table.add_column("", justify="right", no_wrap=True)
    for name in judged.baselines:
        widest = max(map(len, name.split("_")))
        table.add_column(name.replace("_", " "), justify="right", min_width=widest)
    contenders = (judged.predictor, *judged.baselines.values())
    for field in fields(Measures):
        if field.name == "intervals":
            continue
        own, *others = (_number(getattr(measures, field.name)) for measures in contenders)
        interval = judged.predictor.intervals.get(field.name)
        shown = "" if interval is None else rf"\[{','.join(map(_number, interval))}]"
        table.add_row(SHORT.get(field.name, field.name), own, shown, *others)
    return table


def _number(value: float | None) -> str:
    """Return three figures, without the nought before the point: .821, -1.84, 12.5."""
    if value is None:
        return "–"
    text = f"{value:.3f}" if abs(value) < 1 else f"{value:.3g}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text
