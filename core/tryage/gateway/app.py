"""The gateway as an application: which path does what."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

import tryage
from tryage import predictors
from tryage.cards import ModelCard
from tryage.errors import UsageError
from tryage.gateway import description
from tryage.gateway.asked import PRESETS, ROUTER, named
from tryage.gateway.config import keys_of, library_of
from tryage.gateway.connection import session
from tryage.gateway.entry import Watcher
from tryage.gateway.exchange import Exchange
from tryage.gateway.guard import Guard
from tryage.gateway.handling import Gateway
from tryage.gateway.keeping import Keeper, OpenDoor
from tryage.gateway.live import Live
from tryage.gateway.refusals import Refused
from tryage.gateway.settings import Settings
from tryage.gateway.upstream import Upstream
from tryage.health import CircuitBreaker
from tryage.router import Router

Extra = Callable[[Gateway], Sequence[BaseRoute]]


def create_app(
    settings: Settings,
    *,
    keeper: Keeper | None = None,
    watchers: Sequence[Watcher] = (),
    routes: Extra | None = None,
    resources: Sequence[AbstractAsyncContextManager[object]] = (),
    environment: Mapping[str, str] = os.environ,
    clock: Callable[[], float] = time.monotonic,
) -> FastAPI:
    """Return the gateway as an ASGI application; `app.state.gateway` is what answers.

    Args:
        settings: What `tryage serve` was told.
        keeper: Who may call; everybody without one, which is for this machine alone.
        watchers: Told of every request when it is over.
        routes: Gives more routes, such as those of the page.
        resources: Entered when the server starts, and left when the last request is over.
        environment: Holds the keys of the upstreams.
        clock: Gives the time in seconds; never runs backwards.

    Raises:
        UsageError: The settings do not fit together, or a key is missing.
    """
    if keeper is None and settings.keys_required:
        raise UsageError(
            f"host {settings.server.host!r} can be reached from elsewhere, and no keys are kept; "
            "listen on 127.0.0.1, or set [keys] required = false."
        )
    gateway = _gateway(settings, keeper or OpenDoor(), watchers, environment, clock)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for resource in resources:
                await stack.enter_async_context(resource)
            gateway.session = await stack.enter_async_context(session())
            yield

    app = FastAPI(
        title="Tryage",
        summary="One language model made of many, behind OpenAI's API.",
        version=tryage.__version__,
        docs_url=None,  # that page would load its script from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        routes=list(routes(gateway)) if routes else None,
    )
    app.state.gateway = gateway
    app.add_middleware(Guard, settings=settings)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _not_served)
    _add_routes(app, gateway)
    return app


def _gateway(
    settings: Settings,
    keeper: Keeper,
    watchers: Sequence[Watcher],
    environment: Mapping[str, str],
    clock: Callable[[], float],
) -> Gateway:
    keys = keys_of(settings, environment)
    learned = settings.routing.predictor
    router = Router(
        library_of(settings),
        None if learned == "default" else predictors.load(learned),
        settings.routing.flags,
    )
    breaker = CircuitBreaker(
        first_rest_s=settings.breaker.first_rest_s,
        longest_rest_s=settings.breaker.longest_rest_s,
        clock=clock,
    )
    upstreams = {
        upstream.name: Upstream(
            name=upstream.name,
            served_as=upstream.served_as,
            base_url=upstream.base_url,
            timeouts=settings.timeouts.but(upstream.timeouts),
            key=keys.get(upstream.name),
        )
        for upstream in settings.upstreams
    }
    limits = {upstream.name: upstream for upstream in settings.upstreams}
    live = Live(router, breaker, limits, clock)
    return Gateway(settings, live, upstreams, keeper, watchers, clock=clock)


def _add_routes(app: FastAPI, gateway: Gateway) -> None:
    async def complete(request: Request) -> Response:
        return _Straight(gateway.answer)

    async def decide(request: Request) -> Response:
        return _Straight(gateway.decide)

    async def models(request: Request) -> Response:
        gateway.admit(request.headers, "look")
        names = [ROUTER, *(f"{ROUTER}:{wish}" for wish in PRESETS)]
        listed = [_model(name) for name in names] + [_model(c.name, c) for c in gateway.library]
        return JSONResponse({"object": "list", "data": listed})

    async def model(request: Request) -> Response:
        gateway.admit(request.headers, "look")
        asked = request.path_params["name"]
        name, _ = named(asked, gateway.library)
        return JSONResponse(
            _model(asked) if name is None else _model(name, gateway.library.find(name))
        )

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def ready(request: Request) -> Response:
        gateway.check_ready()
        return JSONResponse({"status": "ready"})

    for path, endpoint, method, told in (
        ("/v1/chat/completions", complete, "POST", description.CHAT),
        ("/v1/completions", complete, "POST", description.COMPLETION),
        ("/v1/tryage/route", decide, "POST", description.ROUTE),
        ("/v1/models", models, "GET", description.MODELS),
        ("/v1/models/{name:path}", model, "GET", description.MODEL),
        ("/health", health, "GET", description.HEALTH),
        ("/ready", ready, "GET", description.READY),
    ):
        app.add_api_route(path, endpoint, methods=[method], response_model=None, **told)


class _Straight(Response):
    """A response that is sent by whoever reads the request, without anything in between."""

    def __init__(self, handle: Callable[[Exchange], Awaitable[None]]) -> None:
        super().__init__()
        self._handle = handle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._handle(Exchange(scope, receive, send))


def _model(name: str, card: ModelCard | None = None) -> dict[str, Any]:
    """Return a model as OpenAI's API lists it."""
    released = card.released if card else None
    created = 0 if released is None else (released.toordinal() - 719_163) * 86_400
    owner = (card.provider if card else None) or ROUTER
    return {"id": name, "object": "model", "created": created, "owned_by": owner}


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return JSONResponse(error.as_json(), error.status, error.headers())


async def _not_served(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = "method_not_allowed" if error.status_code == 405 else "not_found"
    refused = Refused(
        error.status_code, code, f"{request.method} {request.url.path[:200]} is not served."
    )
    return JSONResponse(refused.as_json(), error.status_code, error.headers)
