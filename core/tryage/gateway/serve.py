"""The server: listens, and ends when what runs has been finished."""

from __future__ import annotations

import socket
import time
from types import FrameType

import uvicorn
from fastapi import FastAPI

from tryage.errors import TryageError
from tryage.gateway.handling import Gateway
from tryage.gateway.protocol import protocol
from tryage.gateway.settings import Server


class CannotListen(TryageError):
    """The address cannot be listened on."""


def listen(server: Server) -> socket.socket:
    """Return the socket that the gateway listens on.

    Raises:
        CannotListen: The port is taken, or the host is not of this machine.
    """
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    try:
        return socket.create_server((server.host, server.port), family=family, backlog=2048)
    except OSError as error:
        raise CannotListen(
            f"cannot listen on {server.host}:{server.port}: {error.strerror or error}. "
            "Give another --port, or 0 for a free one."
        ) from None


def server_of(app: FastAPI, server: Server) -> Graceful:
    """Return what serves the gateway; `run([socket])` serves until a signal says to end.

    Args:
        app: The gateway, as `create_app` makes it.
        server: The bounds of requests.
    """
    config = uvicorn.Config(
        app,
        http=protocol(server),
        ws="none",
        loop="auto",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,  # what is left after the grace is cut off
        lifespan="on",
    )
    return Graceful(config, app.state.gateway, server.grace_s)


class Graceful(uvicorn.Server):
    """A server that goes on listening while it finishes what runs, and refuses what is new.

    A client that connects in the meantime is told to come back, instead of finding nobody. A
    second signal ends it at once.
    """

    def __init__(self, config: uvicorn.Config, gateway: Gateway, grace_s: float) -> None:
        super().__init__(config)
        self._gateway = gateway
        self._grace_s = grace_s
        self._until = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end."""
        if self._gateway.draining:
            self.should_exit = True
        self._gateway.draining = True
        self._until = time.monotonic() + self._grace_s

    async def on_tick(self, counter: int) -> bool:
        """Return whether it is time to end."""
        idle = self._gateway.in_flight == 0 or time.monotonic() >= self._until
        return await super().on_tick(counter) or (self._gateway.draining and idle)
