"""The gateway as its clients meet it: on a port, before scripted upstreams."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Any, Self

import httpx
from openai import OpenAI

from tests.servers.scripted_upstream import ScriptedUpstream
from tryage.gateway.app import create_app
from tryage.gateway.entry import Entry
from tryage.gateway.handling import Gateway
from tryage.gateway.serve import listen, server_of
from tryage.gateway.settings import Settings

ACCURACY = {"first": 0.9, "second": 0.7, "third": 0.5}
"""What makes `first` the best model for every prompt, and `third` the last."""


def upstreams(
    base_url: str, names: Sequence[str] = ("first", "second", "third"), **more: Any
) -> list[dict[str, Any]]:
    """Return the settings of models that are chosen in this order."""
    return [
        {
            "name": name,
            "base_url": base_url,
            "card": {
                "benchmarks": {"mmlu": ACCURACY.get(name, 0.4)},
                "input_usd_per_mtok": 1.0,
                "output_usd_per_mtok": 2.0,
            },
            **more,
        }
        for name in names
    ]


class Served:
    """A gateway on a port of its own, while the `with` block lasts.

    Args:
        parts: The tables of its settings; `upstreams` among them.
        options: For `create_app`.

    Attributes:
        base_url: Where clients connect, with the `/v1`.
        gateway: What answers.
        entries: What its watchers were told.
    """

    def __init__(self, parts: dict[str, Any], **options: Any) -> None:
        parts = {**parts, "server": {"port": 0, **parts.get("server", {})}}
        self._settings = Settings.model_validate(parts)
        self.entries: list[Entry] = []
        self._app = create_app(self._settings, watchers=[self.entries.append], **options)
        self.gateway: Gateway = self._app.state.gateway

    def __enter__(self) -> Self:
        bound = listen(self._settings.server)
        self.url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        self.base_url = f"{self.url}/v1"
        self.http = httpx.Client(trust_env=False, timeout=60)
        self.server = server_of(self._app, self._settings.server)
        self.thread = threading.Thread(target=self.server.run, args=([bound],), daemon=True)
        self.thread.start()
        _until(lambda: self.server.started)
        return self

    def __exit__(self, *exception: object) -> None:
        self.http.close()
        self.server.should_exit = True
        self.thread.join()

    def client(self, **options: Any) -> OpenAI:
        """Return the official client, which does not retry."""
        return OpenAI(base_url=self.base_url, api_key="none", max_retries=0, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        """Return the raw response to a POST."""
        return self.http.post(self.base_url + path, **options)

    def idle(self) -> None:
        """Wait until every request is over: a client has its answer a moment before."""
        _until(lambda: self.gateway.in_flight == 0)

    def entry(self) -> Entry:
        """Return the entry of the latest request, once all are over."""
        self.idle()
        return self.entries[-1]

    def wait_for(self, count: int) -> list[Entry]:
        """Return the entries once there are so many."""
        _until(lambda: len(self.entries) >= count)
        return self.entries


def _until(ready: Any, timeout_s: float = 60.0) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + timeout_s
    while not ready():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


until = _until

__all__ = ["ACCURACY", "ScriptedUpstream", "Served", "asyncio", "until", "upstreams"]
