"""`tryage paper`: the paper's experiment, from documents to figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tryage.cli.learning import say
from tryage.cli.options import AsJson, print_json
from tryage.errors import MissingExtra, UsageError


def paper(
    quick: Annotated[bool, typer.Option("--quick", help="All parts, small: minutes.")] = False,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="TOML file of settings.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the report goes.")] = Path(
        "out/paper"
    ),
    json: AsJson = False,
) -> None:
    """Train eleven experts and a router between them, and measure what routing is worth.

    Needs no key and no hub. A run that broke off goes on where it stopped, given the same again.
    FILE names other corpora (folders of text) and other experts (of the Hugging Face hub).

    Example: tryage paper --quick --out out/paper
    """
    if quick and config is not None:
        raise UsageError("--quick and --config exclude each other: FILE says how much is done.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # now, and not after minutes of work
        raise UsageError(f"cannot write to --out {str(out)!r}: {error}.") from error
    from tryage.paper.settings import Settings

    settings = Settings.read(config) if config else Settings.quick() if quick else Settings.full()
    try:
        from tryage.paper.experiment import run
    except ImportError as error:
        if isinstance(error, MissingExtra):
            raise
        raise MissingExtra(
            f"the experiment needs {error.name}: pip install 'tryage[train]'."
        ) from error
    record = run(settings, out, say)
    if json:
        print_json({"results": record["results"], "out": str(out), "files": record["files"]})
        return
    from rich.console import Console

    console = Console(highlight=False)
    found = record["results"]
    for name in ("selection_accuracy", "mean_loss", "best_single_loss", "per_domain_best_loss",
                 "oracle_loss", "oracle_gap_closed"):  # fmt: skip
        console.print(f"{name.replace('_', ' '):24}{found[name]:.4f}")
    console.print(f"the report: {out / record['files']['report']}", soft_wrap=True)
