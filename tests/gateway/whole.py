"""The whole gateway, as `tryage serve` puts it together: in this process, or in one of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.gateway.serving import Served, until
from tryage.gateway.assembly import assemble
from tryage.gateway.record.database import open_database
from tryage.gateway.record.reading import Which, latest
from tryage.gateway.settings import Settings


class Whole(Served):
    """A gateway with its keys, its record and its page, on a port of its own.

    Args:
        parts: The tables of its settings; `upstreams` and `record` among them.
    """

    def __init__(self, parts: dict[str, Any]) -> None:
        server = {"port": 0, **parts.get("server", {})}
        self._settings = Settings.model_validate({**parts, "server": server})
        self.entries = []
        self._app = assemble(self._settings)
        self.gateway = self._app.state.gateway
        self.gateway.watchers = [*self.gateway.watchers, self.entries.append]

    def recorded(self, count: int) -> dict[str, dict[str, Any]]:
        """Return what the record holds by id, once there are so many."""
        return recorded(self._settings.record.url, lambda rows: len(rows) >= count)


def recorded(
    url: str, enough: Callable[[dict[str, Any]], bool] = lambda rows: True
) -> dict[str, dict[str, Any]]:
    """Return what a record holds by id, once that is enough."""
    engine = open_database(url)
    rows: dict[str, dict[str, Any]] = {}

    def read() -> bool:
        rows.update({row["id"]: row for row in latest(engine, Which(), 10**6)})
        return enough(rows)

    try:
        until(read)
    finally:
        engine.dispose()
    return rows


@contextlib.contextmanager
def process(folder: Path, parts: dict[str, Any]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `tryage serve` on a free port; yields it and the address that it prints."""
    config = folder / "gateway.toml"
    config.write_text(toml(parts))
    command = [sys.executable, "-c", "from tryage.cli import main; main()", "serve"]
    running = subprocess.Popen(
        [*command, "--config", str(config), "--port", "0"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert running.stdout is not None
    try:
        first = running.stdout.readline()
        found = re.search(r"http://\S+", first)
        assert found, first + running.stdout.read()
        until(lambda: _listens(found[0].replace("/v1", "/health")))
        yield running, found[0]
    finally:
        running.kill()
        running.wait()
        running.stdout.close()


def toml(parts: dict[str, Any]) -> str:
    """Return settings as a config file."""
    lines: list[str] = []
    for name, part in parts.items():
        tables = part if isinstance(part, list) else [part]
        for table in tables:
            lines.append(f"[[{name}]]" if isinstance(part, list) else f"[{name}]")
            lines += [f"{key} = {_value(value)}" for key, value in table.items()]
    return "\n".join(lines)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_value(one)}" for key, one in value.items()) + "}"
    return json.dumps(value)


def _listens(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(url, trust_env=False).status_code == 200
    return False
