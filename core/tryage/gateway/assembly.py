"""The whole gateway: the server with its keys, its record and its page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

from fastapi import FastAPI
from sqlalchemy import Engine

from tryage.gateway.app import create_app
from tryage.gateway.budgets import HOLD_S
from tryage.gateway.entry import Entry
from tryage.gateway.keeper import DatabaseKeeper
from tryage.gateway.record.database import LOST, open_database, unusable
from tryage.gateway.record.reading import past
from tryage.gateway.record.writer import Writer
from tryage.gateway.settings import Settings
from tryage.gateway.watchers import Watching

PAST = timedelta(days=1)
"""What the page begins with: so much of the record, so that it is not empty after a restart."""

MOST_PAST = 10_000
"""The most entries of it, so that a start takes no longer than a second or two."""


def assemble(settings: Settings) -> FastAPI:
    """Return the gateway that `tryage serve` runs: it opens the database that the settings name.

    Raises:
        UsageError: The settings do not fit together, or a key of an upstream is missing.
        DatabaseFailed: The database cannot be reached.
    """
    budgets = open_database(settings.record.url)
    record = open_database(settings.record.url, durable=True)
    writer = Writer(record, buffer=settings.record.buffer)
    keeper = DatabaseKeeper(
        budgets,
        required=settings.keys_required,
        hold_s=max(HOLD_S, 2 * settings.timeouts.whole_s),
    )
    watching = Watching(settings, record=writer, past=lambda: _past(record))
    closing = (keeper.close, writer.close, budgets.dispose, record.dispose)
    return create_app(
        settings,
        keeper=keeper,
        watchers=[writer.watch, *watching.watchers],
        routes=watching.routes,
        resources=[_closed_at_the_end(closing), *watching.resources],
    )


def _past(record: Engine) -> list[Entry]:
    try:
        return past(record, datetime.now(UTC) - PAST, MOST_PAST)
    except LOST as error:
        raise unusable(record, error) from None


@asynccontextmanager
async def _closed_at_the_end(closing: Sequence[Callable[[], object]]) -> AsyncIterator[None]:
    """Close things one after the other when the server ends; in a thread, since each may wait."""
    async with AsyncExitStack() as stack:  # one that fails keeps no other open
        for close in reversed(closing):
            stack.push_async_callback(asyncio.to_thread, close)
        yield
