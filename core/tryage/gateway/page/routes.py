"""What is served to those who watch: the page and its files, its figures, and the metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tryage.gateway.metrics import Metrics
from tryage.gateway.page.status import Recent
from tryage.gateway.watching import Live

Admit = Callable[[Request], Awaitable[object]]
"""Raises what the server refuses with, unless the request may see how the gateway does."""

Endpoint = Callable[[Request], Awaitable[Response]]

_SCRIPTS = ("page", "dom", "figures", "gateway", "overview", "decisions", "trying")
_FILES = {
    "/": ("page.html", "text/html"),
    "/page/style.css": ("style.css", "text/css"),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
    **{f"/page/{name}.js": (f"{name}.js", "text/javascript") for name in _SCRIPTS},
}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def routes(
    recent: Recent | None,
    live: Live | None,
    metrics: Metrics | None,
    admit: Admit | None = None,
) -> list[Route]:
    """Return the routes of the page and of the metrics, those that are switched on.

    The page itself is open to all, since it holds no data.

    Args:
        recent: What the page shows; no page without.
        live: Tells how the upstreams do right now.
        metrics: What `/metrics` answers; no such route without.
        admit: Asked before any figure is given; everybody may see them without.
    """
    served: list[Route] = []
    if recent is not None:
        served += [Route(path, _file(*file), methods=["GET"]) for path, file in _FILES.items()]
        served.append(Route("/v1/tryage/status", _guarded(_status(recent, live), admit)))
    if metrics is not None:
        served.append(Route("/metrics", _guarded(_exposition(metrics, live), admit)))
    return served


def _file(name: str, media_type: str) -> Endpoint:
    content = files(__package__).joinpath(name).read_bytes()

    async def serve(request: Request) -> Response:
        return Response(content, media_type=media_type, headers=_HEADERS)

    return serve


def _status(recent: Recent, live: Live | None) -> Endpoint:
    async def status(request: Request) -> Response:
        after = request.query_params.get("after", "")
        known = int(after) if after.isdecimal() and len(after) < 16 else 0
        return JSONResponse(
            recent.as_json(live, after=known), headers={"Cache-Control": "no-store"}
        )

    return status


def _exposition(metrics: Metrics, live: Live | None) -> Endpoint:
    async def exposition(request: Request) -> Response:
        content, media_type = metrics.exposition(live, request.headers.get("accept", ""))
        return Response(content, headers={"Content-Type": media_type})

    return exposition


def _guarded(endpoint: Endpoint, admit: Admit | None) -> Endpoint:
    if admit is None:
        return endpoint

    async def guarded(request: Request) -> Response:
        await admit(request)
        return await endpoint(request)

    return guarded
