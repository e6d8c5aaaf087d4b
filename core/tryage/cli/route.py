"""`tryage route`: decide for one prompt, and show why."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tryage import predictors
from tryage.cli.options import (
    AsJson,
    FlagTexts,
    LibraryFile,
    flags_from,
    library_from,
    print_json,
    prompt_from,
)
from tryage.decision import Decision
from tryage.library import Library
from tryage.request import Request
from tryage.router import Router

if TYPE_CHECKING:
    from rich.table import Table

SHOWN = 12
"""Ranked models that the table shows; `--json` gives all."""


def route(
    prompt: Annotated[str, typer.Argument(help="The prompt; '-' reads standard input.")],
    flag: FlagTexts = None,
    predictor: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A predictor that `tryage train` saved.")
    ] = None,
    library: LibraryFile = None,
    json: AsJson = False,
) -> None:
    """Decide which model should answer a prompt, and show why.

    With --predictor and no library, the choice is among the models that it learned.

    Example: tryage route "Prove that there are infinitely many primes" --flag cost=0.3
    """
    flags = flags_from(flag)
    router = _router(predictor, library)
    request = Request.from_prompt(prompt_from(prompt), flags=flags)
    router.route("warm up")  # the first decision also fills the library's columns
    start = time.perf_counter()
    decision = router.route(request)
    elapsed_us = (time.perf_counter() - start) * 1e6
    if json:
        print_json(decision.as_json() | {"elapsed_us": round(elapsed_us, 1)})
    else:
        _show(decision, elapsed_us)


def _router(predictor: Path | None, library: Path | None) -> Router:
    if predictor is None:
        return Router(library_from(library))
    trained = predictors.load(predictor)
    return Router(Library.of(trained.models) if library is None else Library.read(library), trained)


def _show(decision: Decision, elapsed_us: float) -> None:
    from rich.console import Console

    console = Console()
    console.print(_ranking(decision))
    hidden = len(decision.ranking) - SHOWN
    if hidden > 0:
        console.print(f"and {hidden} more; --json shows all", style="dim")
    by_reason: dict[str, list[str]] = {}
    for excluded in decision.excluded:
        by_reason.setdefault(excluded.reason, []).append(excluded.model)
    for reason, names in by_reason.items():
        console.print(f"excluded, {reason} ({len(names)}): {', '.join(names)}", style="dim")
    console.print(
        f"\n[bold]{decision.model}[/bold], decided in {elapsed_us:.0f} µs"
        f" among {len(decision.library)} models with {decision.flags}",
        highlight=False,
    )


def _ranking(decision: Decision) -> Table:
    from rich.table import Table

    table = Table(
        padding=(0, 0),
        title="objective = 1 − quality + Σ λ·C, least is best; – is not known",
        title_justify="left",
    )
    table.add_column("rank", justify="right")
    table.add_column("model", no_wrap=True)  # a name is copied from here, so it is never cut
    for column in ("quality", "cost $", "time s", *(f"λ·C {name}" for name in decision.terms)):
        table.add_column(column, justify="right")
    table.add_column("objective", justify="right", overflow="fold")
    for rank, model in enumerate(decision.ranking[:SHOWN], start=1):
        table.add_row(
            str(rank),
            model.model,
            f"{model.quality:.3f}",
            "–" if model.cost_usd is None else f"{model.cost_usd:.5f}",
            "–" if model.latency_s is None else f"{model.latency_s:.1f}",
            *(f"{value:.3f}" for value in model.terms.values()),
            f"{model.objective:.3f}",
        )
    return table
