"""The page over a fake gateway on loopback: real routes and a real router, made-up traffic."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Self

import uvicorn
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.gateway.watched import LARGE, QUALITY, FakeBuffer, FakeLive, library
from tryage import Flags, Router
from tryage.errors import TryageError
from tryage.gateway.metrics import Metrics
from tryage.gateway.page.routes import routes
from tryage.gateway.page.status import Recent
from tryage.testing import FunctionPredictor


@dataclass
class Gateway:
    """Serves while the `with` block lasts.

    Attributes:
        key: The key that is asked for, if any.
        port: Where it listens; one that is free, chosen at the first start.
        asked: The bodies that came to `/v1/tryage/route`.
    """

    key: str | None = None
    port: int = 0
    live: FakeLive = field(default_factory=FakeLive)
    buffer: FakeBuffer = field(default_factory=FakeBuffer)
    asked: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.recent = Recent(reference=LARGE, library=library(), record=self.buffer)
        self.metrics = Metrics(CollectorRegistry())
        self.router = Router(library(), FunctionPredictor(lambda prompt, model: QUALITY[model]))
        self.app = Starlette(
            routes=[
                *routes(self.recent, self.live, self.metrics, self._admit),
                Route("/v1/tryage/route", self._route, methods=["POST"]),
            ],
            exception_handlers={HTTPException: self._refused},
        )

    async def _admit(self, request: Request) -> None:
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            raise HTTPException(401, "that key is not known; ask for one.")

    async def _refused(self, request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return JSONResponse({"error": {"message": error.detail}}, error.status_code)

    async def _route(self, request: Request) -> JSONResponse:
        await self._admit(request)
        body = await request.json()
        self.asked.append(body)
        try:
            flags = Flags.parse(body.get("tryage", {}).get("flags", ""))
            decision = self.router.route(body["messages"][0]["content"], flags)
        except TryageError as error:
            return JSONResponse({"error": {"message": str(error)}}, 400)
        return JSONResponse(decision.as_json())

    def __enter__(self) -> Self:
        self._socket = socket.create_server(("127.0.0.1", self.port))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        config = uvicorn.Config(self.app, log_level="critical", ws="none", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()
