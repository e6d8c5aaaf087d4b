"""What tests of keys, budgets and the record share."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import create_engine

from tests.servers.postgres_server import PostgresServer
from tryage.gateway.entry import Entry, Try
from tryage.gateway.keeping import Expected, Keeper, Pass, Scope

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def entry(number: int, **fields: Any) -> Entry:
    """Return the entry of an ordinary request, a second after the one before."""
    given: dict[str, Any] = {
        "id": f"e{number:06d}",
        "time": NOON + timedelta(seconds=number),
        "path": "/v1/chat/completions",
        "asked": "tryage:cheapest",
        "status": 200,
        "model": "small",
        "decision": {"model": "small", "quality": 0.5},
        "tries": (Try("small", 0.01, 0.2),),
        "seconds": 0.25,
        "input_tokens": 100,
        "output_tokens": 10,
        "cost_usd": 0.001,
    }
    return Entry(**(given | fields))


async def admit(
    keeper: Keeper,
    secret: str | None,
    *,
    model: str = "tryage",
    scope: Scope = "call",
    **expected: Any,
) -> Pass:
    """Return the pass of a request, as the server has it admitted."""
    caller = keeper.identify(secret)
    keeper.check(caller, scope)
    if scope != "call":
        return caller
    keeper.check(caller, scope, model)
    return await keeper.admit(caller, Expected(**expected))


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a program beside this one."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so; generous, since the machine may be busy."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.01)


@contextmanager
def gone(url: str, request: Any) -> Iterator[None]:
    """Take a database away: PostgreSQL is stopped, the SQLite file is locked by somebody else."""
    if url.startswith("sqlite"):
        other = create_engine(url)
        with other.connect() as connection:
            connection.exec_driver_sql("BEGIN EXCLUSIVE")
            yield
            connection.rollback()
        other.dispose()
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        server.stop()
        try:
            yield
        finally:
            server.start()
