"""`tryage log`: what the gateway's record says."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tryage.cli.keeping import ConfigFile, DatabaseUrl, database_from, settings_from
from tryage.cli.log_tables import show_entries, show_sums
from tryage.cli.options import AsJson, print_json
from tryage.errors import UsageError

if TYPE_CHECKING:
    from tryage.cards import ModelCard
    from tryage.gateway.record.reading import Which

log = typer.Typer(
    help="What went through the gateway: list it, sum it, score it, export it, prune it.\n\n"
    "Example: tryage log --since 1h --errors",
    invoke_without_command=True,
    rich_markup_mode=None,
)
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Such as 30m, 1h, 7d, or 2026-01-31 (UTC)."),
]
Model = Annotated[str | None, typer.Option("--model", metavar="NAME", help="Answered by it.")]
OfKey = Annotated[str | None, typer.Option("--key", metavar="NAME", help="Asked with this key.")]
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@log.callback()
def entries(
    context: typer.Context,
    since: Since = None,
    model: Model = None,
    key: OfKey = None,
    errors: Annotated[bool, typer.Option("--errors", help="Only what went wrong.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="At most.")] = 20,
    config: ConfigFile = None,
    db: DatabaseUrl = None,
    json: AsJson = False,
) -> None:
    """List the latest requests, or see the commands below."""
    if context.invoked_subcommand is not None:
        return
    wanted = _which(since, model, key, errors)
    from tryage.gateway.record.reading import latest

    with database_from(config, db) as database:
        found = latest(database, wanted, limit)
    if json:
        print_json({"entries": found})
    else:
        show_entries(found)


@log.command("sum")
def summed(
    by: Annotated[
        Literal["model", "key", "day", "hour"] | None,
        typer.Option("--by", help="One sum for each."),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="MODEL",
            help="Show the saving against this model; else config's.",
        ),
    ] = None,
    since: Since = None,
    model: Model = None,
    key: OfKey = None,
    config: ConfigFile = None,
    db: DatabaseUrl = None,
    json: AsJson = False,
) -> None:
    """Sum requests, tokens, USD, savings, errors and latency.

    The saving compares what was paid with what the same tokens would have cost on the reference
    model; another model would have used somewhat other tokens. Latency is to the end of the answer.

    Example: tryage log sum --by model --since 7d --reference gpt-4o
    """
    wanted = _which(since, model, key)
    card = _reference(reference, config)
    from tryage.gateway.record.reading import sums

    with database_from(config, db) as database:
        *groups, total = sums(database, wanted, by, card)
    if json:
        print_json(
            {
                "by": by,
                "reference": None if card is None else card.name,
                "sums": [group.as_json() for group in groups],
                "total": total.as_json(),
            }
        )
    else:
        show_sums(groups, total, by, card)


@log.command()
def score(
    entry: Annotated[
        str, typer.Argument(metavar="ID", help="As in `tryage log`, or the header x-tryage-id.")
    ],
    score: Annotated[float, typer.Argument(metavar="SCORE", help="In [0, 1]; 1 is best.")],
    config: ConfigFile = None,
    db: DatabaseUrl = None,
) -> None:
    """Write down how good an answer was, which the gateway cannot know.

    Example: tryage log score 5f2c0a 0.9
    """
    from tryage.gateway.record.reading import give_score

    with database_from(config, db) as database:
        give_score(database, entry, score)


@log.command()
def export(
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Ends in .parquet, .csv or .jsonl.")
    ],
    unscored: Annotated[
        bool,
        typer.Option("--unscored", help="The answers without a score, to be scored in the file."),
    ] = False,
    since: Since = None,
    model: Model = None,
    key: OfKey = None,
    config: ConfigFile = None,
    db: DatabaseUrl = None,
    json: AsJson = False,
) -> None:
    """Write the answers as a performance table, for `tryage evaluate` and `tryage train`.

    A table needs a score in [0, 1] for each answer, and the gateway does not know it: only answers
    that were given one by `tryage log score` are in the file. With --unscored it holds the others,
    with an empty score; once you have filled that in, it is a performance table too. Prompts must
    be kept: prompts = true under [record] in the config file.

    Example: tryage log export --out traffic.parquet --since 7d
    """
    wanted = _which(since, model, key)
    from tryage.gateway.record.export import export as write

    with database_from(config, db) as database:
        done = write(database, wanted, out, unscored=unscored)
    if json:
        print_json({"out": str(out), "rows": done.rows, "left_out": done.left_out})
    else:
        left = "with a score" if unscored else "without a score"
        print(f"{done.rows} answers in {out}; left out {done.left_out} {left}")  # noqa: T201


@log.command()
def prune(
    before: Annotated[
        str,
        typer.Option("--before", metavar="TIME", help="Such as 30d (ago), or 2026-01-31 (UTC)."),
    ],
    config: ConfigFile = None,
    db: DatabaseUrl = None,
    json: AsJson = False,
) -> None:
    """Delete the requests that arrived before a time, for good; the gateway may go on meanwhile.

    Keys, and what they have spent, stay. A SQLite file does not shrink: its room is used again.

    Example: tryage log prune --before 30d
    """
    moment = _moment(before, datetime.now(UTC), "--before")
    from tryage.gateway.record.pruning import prune as delete

    with database_from(config, db) as database:
        pruned = delete(database, moment)
    if json:
        print_json({"before": moment.isoformat(), "pruned": pruned})
    else:
        print(f"{pruned:,} requests from before {moment:%Y-%m-%d %H:%M} UTC are deleted")  # noqa: T201


def _which(since: str | None, model: str | None, key: str | None, errors: bool = False) -> Which:
    moment = None if since is None else _moment(since, datetime.now(UTC), "--since")
    from tryage.gateway.record.reading import Which

    return Which(since=moment, model=model, key=key, errors=errors)


def _moment(text: str, now: datetime, option: str) -> datetime:
    """Return the moment that a text such as `1h` or `2026-01-31` stands for."""
    ago = re.fullmatch(r"(\d{1,6})([smhdw])", text.strip())
    try:
        if ago:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        moment = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise UsageError(
            f"{option} {text!r} is not a time; give 30m, 1h, 7d, or a date such as 2026-01-31."
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _reference(name: str | None, config: Path | None) -> ModelCard | None:
    """Return the card to compare with, from the gateway's own library or the bundled one."""
    settings = settings_from(config)
    name = name or (None if settings is None else settings.server.reference)
    if name is None:
        return None
    from tryage.gateway.config import library_of
    from tryage.spend import Spend

    return Spend(name, None if settings is None else library_of(settings)).reference
