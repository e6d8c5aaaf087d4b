"""The way to the record: entries are buffered in memory, and written in batches by a thread.

A record is committed when the transaction of its batch is: it then outlives the process, and in
SQLite (`synchronous=FULL`) and PostgreSQL the machine's crash too. What is in the buffer is lost
with the process; under load that is a fraction of a second's worth.

Where the database is lost, entries wait in the buffer, up to its bound. Those that come when it is
full are dropped and counted, so that the record has one gap, at its end, and no holes.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from itertools import islice
from typing import Any

from alembic.util import CommandError
from sqlalchemy import Engine
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError

from tryage.gateway.entry import Entry
from tryage.gateway.record import tables
from tryage.gateway.record.database import LOST, migrate, writing

BATCH = 500
"""Most entries in one transaction."""

MOST_TEXT = 64 * 2**20
"""Most characters of prompts and answers that wait in the buffer, whatever its bound in entries."""

_GATHER_S = 0.1
_RETRY_S = 1.0
_COLUMNS = tuple(field.name for field in fields(Entry))
_log = logging.getLogger("tryage.gateway")


@dataclass(frozen=True, slots=True)
class WriterState:
    """How the record does.

    Attributes:
        written: Entries committed since the start.
        buffered: Entries that wait.
        dropped: Entries lost since the start: the buffer was full, or the database refused them.
        bound: Most entries that may wait.
        lost: Whether the database is lost.
    """

    written: int
    buffered: int
    dropped: int
    bound: int
    lost: bool


class Writer:
    """Writes entries to the record, and never lets anybody wait for it.

    Args:
        engine: From `open_database(url, durable=True)`.
        buffer: Most entries that may wait.

    Example:
        >>> import tempfile
        >>> from tryage.gateway.record.database import open_database
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     writer = Writer(open_database(f"sqlite:///{folder}/tryage.db", durable=True))
        ...     writer.close()
        ...     writer.state().written
        0
    """

    def __init__(self, engine: Engine, *, buffer: int = 10_000) -> None:
        self._engine, self._bound = engine, buffer
        dialect = postgresql if engine.dialect.name == "postgresql" else sqlite
        # A batch whose commit was cut off may stand there already: it is written again, once.
        self._insert = dialect.insert(tables.entries).on_conflict_do_nothing()
        self._changed = threading.Condition()  # guards what follows
        self._buffer: deque[Entry] = deque()
        self._text = self._written = self._dropped = 0
        self._lost = self._closed = False
        self._thread = threading.Thread(target=self._run, name="tryage-record", daemon=True)
        self._thread.start()

    def watch(self, entry: Entry) -> None:
        """Take an entry; it is written soon, or dropped and counted where the buffer is full."""
        text = _text_of(entry)
        with self._changed:
            full = len(self._buffer) >= self._bound or self._text + text > MOST_TEXT
            if full or self._closed:
                self._dropped += 1
                return
            self._buffer.append(entry)
            self._text += text
            if len(self._buffer) in (1, BATCH):  # the thread sleeps through what is between
                self._changed.notify_all()

    def state(self) -> WriterState:
        """Return how the record does right now."""
        with self._changed:
            return WriterState(
                written=self._written,
                buffered=len(self._buffer),
                dropped=self._dropped,
                bound=self._bound,
                lost=self._lost,
            )

    @property
    def buffered(self) -> int:
        """Entries that wait."""
        return self.state().buffered

    @property
    def dropped(self) -> int:
        """Entries lost since the start."""
        return self.state().dropped

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until nothing waits, and return whether that came to be.

        Args:
            timeout_s: Seconds to wait at most.
        """
        with self._changed:
            return self._changed.wait_for(lambda: not self._buffer, timeout_s)

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what waits, and stop; the database stays open.

        Args:
            timeout_s: Seconds to wait at most; what cannot be written by then is lost.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        left = self.state().buffered
        if left:
            _log.error("the database is lost: %d entries are not in the record", left)

    def _run(self) -> None:
        while batch := self._next():
            if self._write(batch):
                self._pause(_GATHER_S, until_full=True)
            elif self._closed:
                return
            else:
                self._pause(_RETRY_S, until_full=False)

    def _next(self) -> list[Entry]:
        """Return the oldest entries, as soon as there are some; none when it is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._buffer or self._closed)
            return list(islice(self._buffer, BATCH))

    def _pause(self, seconds: float, *, until_full: bool) -> None:
        """Let a batch gather, or the database come back."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or (until_full and len(self._buffer) >= BATCH), seconds
            )

    def _write(self, batch: Sequence[Entry]) -> bool:
        """Commit a batch, and take it out of the buffer; return `False` where it must wait."""
        try:
            if self._lost:
                migrate(self._engine)  # a new file may stand where the old one was
            written = self._commit(batch)
        except (*LOST, CommandError) as error:
            self._lose(error)
            return False
        with self._changed:
            for _ in batch:
                self._text -= _text_of(self._buffer.popleft())
            self._written += written
            self._dropped += len(batch) - written
            if self._lost:
                self._lost = False
                _log.warning("the database is back: %d entries wait", len(self._buffer))
            self._changed.notify_all()
        return True

    def _commit(self, batch: Sequence[Entry]) -> int:
        """Write entries in one transaction, and return how many the database took."""
        try:
            with writing(self._engine) as connection:
                connection.execute(self._insert, [_row(entry) for entry in batch])
        except Exception as error:
            if isinstance(error, LOST) and not isinstance(error, DataError | IntegrityError):
                raise
            if len(batch) > 1:  # one entry must not keep the others out
                return sum(self._commit([entry]) for entry in batch)
            _log.error("the database refused an entry (%s)", type(error).__name__)
            return 0
        return len(batch)

    def _lose(self, error: BaseException) -> None:
        if not self._lost:
            self._lost = True
            _log.warning(
                "the database is lost (%s): up to %d entries wait",
                type(error).__name__,
                self._bound,
            )


def _text_of(entry: Entry) -> int:
    return len(entry.prompt or "") + len(entry.response or "")


def _row(entry: Entry) -> dict[str, Any]:
    row = {name: _storable(getattr(entry, name)) for name in _COLUMNS}
    row["tries"] = [asdict(tried) for tried in entry.tries]
    return row


def _storable(value: Any) -> Any:
    """Return a text without what no database stores: NUL and halves of surrogate pairs."""
    if not isinstance(value, str):
        return value
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
