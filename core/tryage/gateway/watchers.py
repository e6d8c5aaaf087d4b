"""What `[watch]` switches on, put together: the page, the metrics and the traces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.process_collector import ProcessCollector
from starlette.requests import Request
from starlette.routing import BaseRoute

from tryage.gateway.config import library_of
from tryage.gateway.entry import Entry, Watcher
from tryage.gateway.handling import Gateway
from tryage.gateway.metrics import Metrics
from tryage.gateway.page.routes import routes
from tryage.gateway.page.status import Recent
from tryage.gateway.settings import Settings
from tryage.gateway.watching import Buffer

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider


class Watching:
    """The watchers that the settings ask for, as `create_app` takes them.

    Args:
        settings: Which of them, and the model that savings are reckoned against.
        record: Asked for what waits to be written, where there is a record.
        past: Gives what the record holds of late, oldest first, for the page to begin with.

    Attributes:
        watchers: To be told of every request.
        resources: To be entered when the server starts.

    Raises:
        UnknownModel: No library holds the reference model.
        UsageError: The reference model's card has no prices.
        MissingExtra: Traces are asked for, and OpenTelemetry is not installed.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        record: Buffer | None = None,
        past: Callable[[], Iterable[Entry]] = tuple,
    ) -> None:
        self.watchers: list[Watcher] = []
        self.resources: list[AbstractAsyncContextManager[None]] = []
        self._recent: Recent | None = None
        self._metrics: Metrics | None = None
        library, reference = library_of(settings), settings.server.reference
        if settings.watch.page:
            self._recent = Recent(reference=reference, library=library, record=record)
            for entry in past():
                self._recent.watch(entry)
            self.watchers.append(self._recent.watch)
        if settings.watch.metrics:
            self._metrics = Metrics(
                _registry(), record=record, reference=reference, library=library
            )
            self.watchers.append(self._metrics.watch)
        if settings.watch.otlp_endpoint is not None:
            from tryage.gateway.tracing import Tracer, over_otlp

            provider = over_otlp(settings.watch.otlp_endpoint)
            self.watchers.append(Tracer(provider, library).watch)
            self.resources.append(_sent_at_the_end(provider))

    def routes(self, gateway: Gateway) -> list[BaseRoute]:
        """Return the routes of the page and the metrics, over a gateway."""

        async def admit(request: Request) -> None:
            gateway.admit(request.headers, "admin")

        return [*routes(self._recent, gateway.live, self._metrics, admit)]


def _registry() -> CollectorRegistry:
    """Return a registry that also tells of this process: its memory, time and open files."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


@asynccontextmanager
async def _sent_at_the_end(provider: TracerProvider) -> AsyncIterator[None]:
    """Send what spans still wait when the server ends; in a thread, since a collector may hang."""
    try:
        yield
    finally:
        await asyncio.to_thread(provider.shutdown)
