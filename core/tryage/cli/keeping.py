"""What `tryage log` and `tryage keys` take alike: where the gateway's database is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tryage.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table
    from sqlalchemy import Engine

    from tryage.gateway.settings import Settings

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The gateway's config file; its database."),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--db", metavar="URL", help="Or the database itself; by default sqlite:///tryage.db here."
    ),
]


def settings_from(config: Path | None) -> Settings | None:
    """Return the settings of the gateway's config file, if one was given."""
    if config is None:
        return None
    from tryage.gateway.config import read_settings

    return read_settings(config)


@contextmanager
def database_from(config: Path | None, db: str | None, *, create: bool = False) -> Iterator[Engine]:
    """Open the database of a config file, of a URL, or of this folder.

    Args:
        config: The gateway's config file.
        db: The URL of its database instead.
        create: Whether a SQLite file that is not there is made.

    Raises:
        UsageError: Both are given, or there is no such database.
        DatabaseFailed: It cannot be reached.
        MissingExtra: SQLAlchemy is not installed.
    """
    if config is not None and db is not None:
        raise UsageError("give --config FILE or --db URL, not both.")
    from tryage.gateway.record.database import DEFAULT_URL, open_database

    settings = settings_from(config)
    url = db or (DEFAULT_URL if settings is None else settings.record.url)
    engine = open_database(url, create=create)
    try:
        yield engine
    finally:
        engine.dispose()


def narrow_table(
    title: str | None, short: Sequence[str], texts: Sequence[str], numbers: Sequence[str]
) -> Table:
    """Return an empty table that can be read in a narrow window: only its long texts are folded.

    Args:
        title: What stands above it.
        short: The names of its first columns.
        texts: The names of the next ones, which are folded.
        numbers: The names of the last ones.
    """
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    for name in short:
        table.add_column(name, no_wrap=True)
    for name in texts:
        table.add_column(name, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table
