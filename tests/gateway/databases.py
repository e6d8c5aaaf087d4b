"""Databases for tests; a module that wants them names this one in `pytest_plugins`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.postgres_server import NoPostgres, PostgresServer
from tryage.gateway.record import database as sqlite


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of the tests' own; whoever stops it starts it again."""
    try:
        server = PostgresServer()
    except NoPostgres as reason:
        pytest.skip(f"no PostgreSQL: {reason}")
    yield server
    server.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name it first: SQLite then waits for its turn as long as a busy machine may take."""
    monkeypatch.setattr(sqlite, "_BUSY_MS", 60_000)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/tryage.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database()
