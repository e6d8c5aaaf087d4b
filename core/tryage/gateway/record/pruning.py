"""The end of entries: what the record no longer keeps."""

from __future__ import annotations

import time
from datetime import datetime

from sqlalchemy import Engine, delete, select

from tryage.gateway.record import tables
from tryage.gateway.record.database import LOST, unusable, writing

_ROWS = 2_000
_PAUSE_S = 0.05


def prune(engine: Engine, before: datetime) -> int:
    """Delete the entries that arrived before a moment, and return how many they were.

    A gateway may go on writing meanwhile: few rows go at a time, and in between it has its turn.

    Args:
        engine: From `open_database`.
        before: Entries of this moment or later stay.

    Raises:
        DatabaseFailed: The database is lost, or somebody holds it; what is deleted so far is gone.
    """
    c, pruned = tables.entries.c, 0
    old = select(c.id).where(c.time < before).order_by(c.time).limit(_ROWS)
    while True:
        try:
            with writing(engine) as connection:
                gone = connection.execute(delete(tables.entries).where(c.id.in_(old))).rowcount
        except LOST as error:
            raise unusable(engine, error) from None
        pruned += gone
        if gone < _ROWS:
            return pruned
        time.sleep(_PAUSE_S)
