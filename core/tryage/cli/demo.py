"""`tryage demo`: the main job, on models that run on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tryage.errors import UsageError


def demo(
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the picture of the Pareto front goes.")
    ] = Path("out"),
) -> None:
    """Route typical prompts, then let small models that ship with Tryage answer for real.

    Needs no key and downloads nothing; takes a few minutes on two cores.

    Example: tryage demo --out out
    """
    from rich.console import Console

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # now, and not after minutes of work
        raise UsageError(f"cannot write to --out {str(out)!r}: {error}.") from error
    from tryage.demo.answering import show_answering
    from tryage.demo.routing import show_routing

    console = Console(highlight=False)
    show_routing(console)
    show_answering(console, out)
