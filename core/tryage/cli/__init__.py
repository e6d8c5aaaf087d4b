"""The command line. Exit status: 0 done, 1 it failed, 2 it was asked wrongly."""

from __future__ import annotations

import sys

import typer

from tryage.cli.calibrate import anchors, calibrate
from tryage.cli.demo import demo
from tryage.cli.evaluate import evaluate
from tryage.cli.keys import keys
from tryage.cli.log import log
from tryage.cli.models import models
from tryage.cli.paper import paper
from tryage.cli.route import route
from tryage.cli.serve import serve
from tryage.cli.train import train
from tryage.errors import TryageError, UsageError

app = typer.Typer(
    help="One language model made of many: predict, weigh, call the best.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(route)
app.command()(models)
app.command()(demo)
app.command()(train)
app.command()(evaluate)
app.command()(anchors)
app.command()(calibrate)
app.command()(paper)
app.add_typer(log, name="log")
app.add_typer(keys, name="keys")
app.command()(serve)


def main() -> None:
    """Run the command line; an expected error becomes one line on standard error."""
    try:
        app()
    except TryageError as error:
        print(f"tryage: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        sys.stderr.close()
        sys.exit(0)
