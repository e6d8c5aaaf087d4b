"""The gateway's database: opened, and brought to the newest form of its tables.

SQLite runs in WAL mode, so that reading the record never waits for the gateway and the gateway
never for a reader.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import alembic.command
    import alembic.config
    import alembic.util
    from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
    from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
    from sqlalchemy.exc import TimeoutError as NoFreeConnection
except ImportError as error:
    from tryage.errors import MissingExtra

    raise MissingExtra("the gateway's database needs pip install 'tryage[gateway]'.") from error

from tryage.errors import TryageError, UsageError

DEFAULT_URL = "sqlite:///tryage.db"
"""Where the record is if nobody says otherwise."""

LOST = (DBAPIError, NoFreeConnection, TimeoutError)
"""What is raised where the database does not answer."""

_LOCK = 0x7472_7961_6765  # "tryage" in ASCII: PostgreSQL names advisory locks by numbers
_CONNECT_S = 3
_BUSY_MS = 2_000
_SCRIPTS = Path(__file__).with_name("migrations")
_one_at_a_time = threading.Lock()  # alembic keeps what it is doing in globals


class DatabaseFailed(TryageError):
    """The database cannot be reached, or does not hold what it should."""


def open_database(url: str, *, create: bool = True, durable: bool = False) -> Engine:
    """Return the database at a URL, its tables made or migrated where they are missing or old.

    Args:
        url: `sqlite:///FILE` or `postgresql+psycopg://USER:PASSWORD@HOST/NAME`.
        create: Whether a SQLite file that is not there is made.
        durable: Whether SQLite waits for the disc at each commit. Without, a commit outlives the
            process in any case, and the machine's crash within moments. PostgreSQL always waits.

    Raises:
        UsageError: The URL is not of such a database, or the file is not there.
        DatabaseFailed: The database cannot be reached, or was made by a newer Tryage.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     engine = open_database(f"sqlite:///{folder}/tryage.db")
        ...     engine.dispose()
        ...     engine.dialect.name
        'sqlite'
    """
    try:
        parts = make_url(url)
    except (ArgumentError, ValueError):  # which quote the URL, and a password may stand in it
        raise UsageError(f"not the URL of a database; {_ALLOWED}") from None
    if parts.drivername in ("postgres", "postgresql"):
        parts = parts.set(drivername="postgresql+psycopg")
    if parts.drivername == "sqlite" and parts.database and parts.database != ":memory:":
        if not create and not Path(parts.database).is_file():
            raise UsageError(
                f"there is no database {parts.database!r}; `tryage serve` makes it. "
                "Give --config FILE or --db URL."
            )
        engine = create_engine(parts, hide_parameters=True)
        _prepare_sqlite(engine, "FULL" if durable else "NORMAL")
    elif parts.drivername == "postgresql+psycopg":
        # A server that is gone must be noticed while a request waits, not after minutes.
        patience = {"connect_timeout": _CONNECT_S, "tcp_user_timeout": 1000 * _CONNECT_S}
        given = {name: value for name, value in patience.items() if name not in parts.query}
        engine = create_engine(parts, hide_parameters=True, connect_args=given, pool_timeout=1)
    else:
        raise UsageError(f"not a database for the record: {parts.drivername!r}; {_ALLOWED}")
    try:
        migrate(engine)
    except alembic.util.CommandError as error:
        engine.dispose()
        raise DatabaseFailed(
            f"{_shown(engine)} was made by a newer Tryage ({error}); upgrade this one."
        ) from None
    except SQLAlchemyError as error:
        engine.dispose()
        raise unusable(engine, error) from None
    return engine


def unusable(engine: Engine, error: Exception) -> DatabaseFailed:
    """Return what to raise where the gateway cannot begin with a database.

    Args:
        engine: The database.
        error: What it raised.
    """
    return DatabaseFailed(
        f"{_shown(engine)} cannot be used: {_cause(error)}. Check that it is there and may be "
        "written, or give another database."
    )


def migrate(engine: Engine, revision: str = "head") -> None:
    """Bring the tables up to a revision, if they are older; of several gateways one does it.

    Args:
        engine: The database.
        revision: Of those in `migrations/versions`.
    """
    config = alembic.config.Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    with _one_at_a_time, writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, revision)


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that writes: on SQLite it takes the one writer's place at once."""
    with engine.execution_options(begin="IMMEDIATE").begin() as connection:
        yield connection


def _prepare_sqlite(engine: Engine, synchronous: str) -> None:
    def connected(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # the driver begins nothing on its own; `begun` does
        connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        _switch_to_wal(connection)

    def begun(connection: Connection) -> None:
        # A transaction that began by reading may find the writer's place taken when it writes.
        mode = connection.get_execution_options().get("begin", "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {mode}")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Switch a new file to WAL; of two that do so at once SQLite lets one fail, and not wait."""
    deadline = time.monotonic() + _BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _shown(engine: Engine) -> str:
    return f"the database {engine.url.render_as_string(hide_password=True)!r}"


def _cause(error: Exception) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    return " ".join(str(cause).split()) or type(cause).__name__


_ALLOWED = "give sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/NAME."
