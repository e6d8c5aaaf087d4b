"""`tryage keys`: who may call the gateway, and how much."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tryage.cli.keeping import ConfigFile, DatabaseUrl, database_from, narrow_table
from tryage.cli.options import AsJson, print_json
from tryage.errors import UsageError

if TYPE_CHECKING:
    from tryage.gateway.allowance import Spent
    from tryage.gateway.keys import Key

keys = typer.Typer(
    help="The keys of the gateway's clients. A running gateway sees a change within seconds.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
_MOST_USD = 1e9
Count = Annotated[int | None, typer.Option(min=0, max=10**15, metavar="N")]


@keys.command()
def add(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--models",
            metavar="NAME",
            help="What it may ask for, such as 'tryage' or 'gpt-*'; again for more. Else all.",
        ),
    ] = None,
    requests_per_minute: Count = None,
    requests_per_day: Count = None,
    tokens_per_day: Count = None,
    usd_per_day: Annotated[float | None, typer.Option(metavar="USD")] = None,
    admin: Annotated[
        bool, typer.Option("--admin", help="It may see the page's data and the metrics too.")
    ] = False,
    config: ConfigFile = None,
    db: DatabaseUrl = None,
    json: AsJson = False,
) -> None:
    """Make a key and print its secret, once: only a hash of it is kept. Days are UTC.

    Example: tryage keys add alice --usd-per-day 5 --requests-per-minute 60
    """
    if usd_per_day is not None and not 0 <= usd_per_day <= _MOST_USD:
        raise UsageError(f"--usd-per-day {usd_per_day:g}: give 0 to {_MOST_USD:g} USD.")
    from tryage.gateway.keys import Limits, add_key, nano_usd

    limits = Limits(
        requests_per_minute=requests_per_minute,
        requests_per_day=requests_per_day,
        tokens_per_day=tokens_per_day,
        nano_usd_per_day=None if usd_per_day is None else nano_usd(usd_per_day),
    )
    with database_from(config, db, create=True) as database:
        key, secret = add_key(database, name, models=models, admin=admin, limits=limits)
    if json:
        print_json(_as_json(key, None) | {"secret": secret})
        return
    from rich.console import Console

    Console(stderr=True, highlight=False).print(
        f"the key of {key.name}; it is shown this once:", style="dim", markup=False
    )
    print(secret)  # noqa: T201


@keys.command("list")
def list_keys(
    revoked: Annotated[bool, typer.Option("--revoked", help="Revoked ones too.")] = False,
    config: ConfigFile = None,
    db: DatabaseUrl = None,
    json: AsJson = False,
) -> None:
    """List the keys with their limits, and what those with limits have used today (UTC).

    Example: tryage keys list --json
    """
    from tryage.gateway.budgets import Budgets
    from tryage.gateway.keys import read_keys

    with database_from(config, db) as database:
        found = read_keys(database, revoked=revoked)
        spent = Budgets(database).read(time.time())
    if json:
        print_json({"keys": [_as_json(key, spent.get(key.id)) for key in found]})
    else:
        _show(found, spent)


@keys.command()
def revoke(
    name: Annotated[str, typer.Argument(help="The key's name or its id.")],
    config: ConfigFile = None,
    db: DatabaseUrl = None,
    json: AsJson = False,
) -> None:
    """Revoke a key: a running gateway refuses it within seconds.

    Example: tryage keys revoke alice
    """
    from tryage.gateway.keys import revoke_key

    with database_from(config, db) as database:
        key = revoke_key(database, name)
    if json:
        print_json(_as_json(key, None))
    else:
        print(f"the key of {key.name} ({key.id}) is revoked")  # noqa: T201


def _as_json(key: Key, spent: Spent | None) -> dict[str, Any]:
    from tryage.gateway.allowance import Use
    from tryage.gateway.keys import NANO

    limits, use = key.limits, Use() if spent is None else spent.use
    nano = limits.nano_usd_per_day
    return {
        "id": key.id,
        "name": key.name,
        "models": None if key.models is None else list(key.models),
        "admin": key.admin,
        "requests_per_minute": limits.requests_per_minute,
        "requests_per_day": limits.requests_per_day,
        "tokens_per_day": limits.tokens_per_day,
        "usd_per_day": None if nano is None else nano / NANO,
        "today": {
            "requests": use.requests,
            "tokens": use.tokens,
            "usd": use.nano_usd / NANO,
        }
        if limits
        else None,
        "added": key.added.isoformat(),
        "revoked": None if key.revoked is None else key.revoked.isoformat(),
    }


def _show(found: list[Key], spent: dict[str, Spent]) -> None:
    from rich.console import Console
    from rich.text import Text

    table = narrow_table(
        f"{len(found)} keys; used today / limit",
        ["id", "added"],
        ["name", "may ask for"],
        ["a minute", "requests", "tokens", "USD"],
    )
    for key in found:
        shown = _as_json(key, spent.get(key.id))
        today = shown["today"] or {"requests": "–", "tokens": "–", "usd": "–"}
        scopes = "all" if key.models is None else " ".join(key.models)
        table.add_row(
            key.id,
            f"{key.added:%Y-%m-%d}",
            Text(key.name + (f", revoked {key.revoked:%Y-%m-%d}" if key.revoked else "")),
            Text(f"{scopes}, admin" if key.admin else scopes),
            _limit(shown["requests_per_minute"]),
            f"{today['requests']} / {_limit(shown['requests_per_day'])}",
            f"{today['tokens']} / {_limit(shown['tokens_per_day'])}",
            f"{_short(today['usd'])} / {_limit(shown['usd_per_day'])}",
        )
    Console(highlight=False).print(table)


def _limit(value: float | None) -> str:
    return "–" if value is None else _short(value)


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
