"""What the record says: the latest entries, sums over them, and scores given to answers."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal

import numpy as np
from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, or_, select, update

from tryage.cards import ModelCard
from tryage.errors import UsageError
from tryage.gateway.entry import Entry, Try
from tryage.gateway.record import tables
from tryage.gateway.record.database import writing
from tryage.spend import Usage
from tryage.spend import cost_usd as cost_of

By = Literal["model", "key", "day", "hour"]
_ROWS = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Which entries of the record; all of them by default.

    Attributes:
        since: Those that arrived then or later.
        model: Those that this model answered.
        key: Those of this key, by its name or its id.
        errors: Only those that went wrong.
    """

    since: datetime | None = None
    model: str | None = None
    key: str | None = None
    errors: bool = False

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return what holds for their rows."""
        c, found = tables.entries.c, []
        if self.since is not None:
            found.append(c.time >= self.since)
        if self.model is not None:
            found.append(c.model == self.model)
        if self.key is not None:
            named = select(tables.keys.c.id).where(tables.keys.c.name == self.key)
            found.append(or_(c.key == self.key, c.key.in_(named)))
        if self.errors:
            found.append(c.error.is_not(None))
        return found


@dataclass(slots=True)
class Sum:
    """What a group of entries comes to.

    Attributes:
        group: The model's name, the key's name, the day or the hour (UTC); `None` where there is
            none, such as the model of requests that nobody answered.
        requests: All of them.
        errors: Those that went wrong, refused ones among them.
        unpriced: Answers whose cost is not known.
        input_tokens: Of all prompts, as far as they were counted.
        output_tokens: Of all answers, likewise.
        cost_usd: Of all answers of known cost.
        reference_usd: What these answers would have cost on the reference model, if one was named.
        seconds: How long each answer without an error took, to its end.
    """

    group: str | None = None
    requests: int = 0
    errors: int = 0
    unpriced: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    reference_usd: float | None = None
    seconds: array[float] = field(default_factory=lambda: array("d"), repr=False)

    def add(self, row: Row[Any], reference: ModelCard | None) -> None:
        """Add an entry."""
        self.requests += 1
        self.input_tokens += row.input_tokens or 0
        self.output_tokens += row.output_tokens or 0
        if row.error is not None:
            self.errors += 1
        else:
            self.seconds.append(row.seconds)
        if row.cost_usd is None:
            self.unpriced += row.error is None
            return
        self.cost_usd += row.cost_usd
        if reference is not None:
            cached = row.cached_input_tokens or 0
            usage = Usage(row.input_tokens or 0, row.output_tokens or 0, cached)
            self.reference_usd = (self.reference_usd or 0.0) + (cost_of(reference, usage) or 0.0)

    @property
    def saved_usd(self) -> float | None:
        """USD saved against the reference model; below 0 where more was spent."""
        return None if self.reference_usd is None else self.reference_usd - self.cost_usd

    def latency_s(self, share: float) -> float | None:
        """Return the seconds within which this share of the answers came; `None` without any."""
        return float(np.quantile(self.seconds, share)) if self.seconds else None

    def as_json(self) -> dict[str, Any]:
        """Return the sum as plain JSON values."""
        return {
            "group": self.group,
            "requests": self.requests,
            "error_share": self.errors / self.requests if self.requests else 0.0,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": self.cost_usd,
            "unpriced": self.unpriced,
            "saved_usd": self.saved_usd,
            "p50_s": self.latency_s(0.5),
            "p99_s": self.latency_s(0.99),
        }


def latest(engine: Engine, which: Which, limit: int) -> list[dict[str, Any]]:
    """Return the latest entries, the newest first, each as plain JSON values.

    Args:
        engine: From `open_database`.
        which: Which of them.
        limit: How many at most.
    """
    c = tables.entries.c
    rows = select(tables.entries).where(*which.conditions())
    rows = rows.order_by(c.time.desc(), c.id).limit(limit)
    with engine.connect() as connection:
        names = key_names(connection)
        return [
            dict(row._mapping) | {"time": row.time.isoformat(), "key_name": names.get(row.key)}
            for row in connection.execute(rows)
        ]


def past(engine: Engine, since: datetime, limit: int) -> list[Entry]:
    """Return the latest entries as they were, without prompts and answers, the oldest first.

    Args:
        engine: From `open_database`.
        since: Those that arrived then or later.
        limit: How many at most.
    """
    c = tables.entries.c
    columns = [c[one.name] for one in fields(Entry) if one.name not in ("prompt", "response")]
    rows = select(*columns).where(c.time >= since).order_by(c.time.desc(), c.id).limit(limit)
    with engine.connect() as connection:
        found = [dict(row._mapping) for row in stream(connection, rows)]
    return [
        Entry(**row | {"tries": tuple(Try(**tried) for tried in row["tries"])})
        for row in reversed(found)
    ]


def sums(
    engine: Engine, which: Which, by: By | None = None, reference: ModelCard | None = None
) -> list[Sum]:
    """Return what the entries come to, by group, and last of all together.

    Args:
        engine: From `open_database`.
        which: Which entries.
        by: What makes a group; no groups if absent, only the last sum.
        reference: The model to compare the cost with; its card has prices.
    """
    groups: dict[str | None, Sum] = {}
    total = Sum()
    c = tables.entries.c
    tokens = (c.input_tokens, c.cached_input_tokens, c.output_tokens)
    columns = (c.time, c.model, c.key, c.error, c.cost_usd, *tokens)
    with engine.connect() as connection:
        names = key_names(connection)
        chosen = select(*columns, c.seconds).where(*which.conditions())
        for row in stream(connection, chosen):
            total.add(row, reference)
            if by is not None:
                group = _group(row, by, names)
                groups.setdefault(group, Sum(group)).add(row, reference)
    if by in ("model", "key"):
        ordered = sorted(groups.values(), key=lambda one: (-one.requests, one.group or ""))
    else:
        ordered = sorted(groups.values(), key=lambda one: one.group or "")
    return [*ordered, total]


def give_score(engine: Engine, entry: str, score: float) -> None:
    """Write down how good an answer was.

    Args:
        engine: From `open_database`.
        entry: The id of its request, as in the response header `x-tryage-id`, or how it begins.
        score: In [0, 1]; 1 is best.

    Raises:
        UsageError: The score is out of range, or no answer has such an id, or several have.
    """
    if not 0 <= score <= 1:
        raise UsageError(f"the score {score!r} is outside [0, 1]; 1 is best.")
    c = tables.entries.c
    begins = c.id.startswith(entry, autoescape=True)
    answers = select(c.id).where(begins, c.model.is_not(None)).order_by(c.id).limit(2)
    with writing(engine) as connection:
        found = connection.scalars(answers).all()
        if not found:
            raise UsageError(
                f"the record holds no answer {entry!r}; give the id from `tryage log` or from the "
                "response header x-tryage-id."
            )
        if len(found) > 1 and found[0] != entry:
            raise UsageError(f"several ids begin with {entry!r}; give more of it.")
        connection.execute(update(tables.entries).where(c.id == found[0]).values(score=score))


def stream(connection: Connection, rows: Select[Any]) -> Iterator[Row[Any]]:
    """Yield rows, of which only some are in memory at a time."""
    yield from connection.execution_options(yield_per=_ROWS).execute(rows)


def key_names(connection: Connection) -> dict[str | None, str]:
    """Return the name of every key by its id, revoked ones among them."""
    rows = connection.execute(select(tables.keys.c.id, tables.keys.c.name))
    return {row.id: row.name for row in rows}


def _group(row: Row[Any], by: By, names: dict[str | None, str]) -> str | None:
    group: str | None = row.model
    if by == "key":
        group = names.get(row.key, row.key)
    elif by != "model":
        group = row.time.strftime("%Y-%m-%d" if by == "day" else "%Y-%m-%dT%H:00Z")
    return group
