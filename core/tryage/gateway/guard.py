"""What is refused before any of the application looks at a request."""

from __future__ import annotations

import re
from urllib.parse import unquote_plus, urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from tryage.gateway.exchange import Exchange
from tryage.gateway.refusals import Refused
from tryage.gateway.settings import Settings, is_loopback

_KEY_NAMES = re.compile(
    r"(?:^|&)((?:[\w.-]*[_-])?(?:api[_-]?key|key|token|secret|password|authorization))=",
    re.IGNORECASE,
)
_KEY_VALUES = re.compile(r"(?:^|&)([^=&]*)=(?:sk-|bearer )", re.IGNORECASE)


class Guard:
    """Refuses requests with too large a head, from web pages elsewhere, or with a key in the URL.

    Where nobody needs a key, the browser of whoever sits at this machine is the way in: any page
    can have it send requests here. It tells whose page that was in `Origin`. A page whose name was
    made to point at this machine (DNS rebinding) has that name in `Host`.

    Servers, proxies and browsers write addresses down, so a key in one is no longer a secret.

    Args:
        app: What answers the others.
        settings: The bounds, whether keys are required, and the names that the gateway goes by.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._max_header_bytes = int(settings.server.max_header_kb * 1e3)
        self._is_open = not settings.keys_required
        self._is_local = settings.server.is_loopback
        self._names = {name.lower() for name in settings.server.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        refused = self._judge(scope) if scope["type"] == "http" else None
        if refused is None:
            await self._app(scope, receive, send)
        else:
            await Exchange(scope, receive, send).refuse(refused)

    def _judge(self, scope: Scope) -> Refused | None:
        query = scope["query_string"]
        size = len(query) + sum(len(name) + len(value) + 4 for name, value in scope["headers"])
        if size > self._max_header_bytes:
            return head_too_large(self._max_header_bytes)
        if self._is_open and (refused := self._from_elsewhere(scope)):
            return refused
        return _key_in(unquote_plus(query.decode("latin-1"))) if query else None

    def _from_elsewhere(self, scope: Scope) -> Refused | None:
        """Return why a request may be a web page's that is not the gateway's own, if so."""
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
        for host in hosts if self._is_local else ():
            name = _name_in(f"//{host}")
            if not (is_loopback(name) or name in self._names):
                return _not_allowed("host", host)
        for origin in origins:
            own = origin.lower().partition("://")[2] in [host.lower() for host in hosts]
            if not (own or _name_in(origin) in self._names):
                return _not_allowed("origin", origin)
        return None


def head_too_large(limit: int) -> Refused:
    """Return what is told to those whose headers are larger than so many bytes."""
    message = f"the headers are larger than {limit / 1e3:g} kB, the most allowed."
    return Refused(431, "headers_too_large", message)


def _key_in(query: str) -> Refused | None:
    found = _KEY_NAMES.search(query) or _KEY_VALUES.search(query)
    if found is None:
        return None
    name = found[1][:40]
    message = (
        f"{name!r} in the address looks like a key, and addresses are written down in many "
        "places. Send it as the header Authorization: Bearer, and have a new one made."
    )
    return Refused(400, "key_in_url", message, param=name)


def _name_in(address: str) -> str:
    """Return the name of the host in an address, in lower case; empty where there is none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _not_allowed(what: str, value: str) -> Refused:
    message = (
        f"the {what} {value[:100]!r} is not this gateway's own: a web page elsewhere may be behind "
        "this request, and no key is asked for. Name it in hosts under [server], or require keys."
    )
    return Refused(403, f"{what}_not_allowed", message)
