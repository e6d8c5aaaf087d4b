"""Budgets of keys: what is reserved before a call, and what it came to.

A key has one row of `spent` for each day. One statement adds a request's expected use to it where
that keeps within the limits, and otherwise does nothing; so that however many requests and
gateways ask at once, a limit is never passed by what was expected. What was expected is exchanged
for the truth when the request is over. What a gateway that crashed had reserved is given back when
its time is up.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    and_,
    bindparam,
    case,
    delete,
    insert,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from tryage.gateway.allowance import Reservation, Spent, Use, admitted, day_of, most
from tryage.gateway.keys import Key, Limits
from tryage.gateway.record import tables
from tryage.gateway.record.database import writing

HOLD_S = 900.0
"""Seconds for which a running request holds what it reserved, if nobody settles it."""


class Budgets:
    """What every key has spent, in the database; safe to share between threads.

    Args:
        engine: From `open_database`.
        hold_s: Seconds after which a reservation that nobody settled is given back.
    """

    def __init__(self, engine: Engine, hold_s: float = HOLD_S) -> None:
        self._engine = engine
        self._hold_s = hold_s
        self._take = _take_statement(engine.dialect.name)
        self._add = _add_statement(engine.dialect.name)

    def reserve(self, key: Key, use: Use, now: float) -> tuple[Reservation, Spent]:
        """Return what a request may use, and what its key has used with it.

        Args:
            key: Whose request it is.
            use: What it is expected to use.
            now: Seconds since 1970.

        Raises:
            Over: A limit of the key is in the way.
            sqlalchemy.exc.DBAPIError: The database is lost.
        """
        admitted(Spent(day_of(now)), use, key.limits, now)  # more than a whole day's worth
        with writing(self._engine) as connection:
            spent = self._taken(connection, key, use, now)
            if spent is None and self._expire(connection, key.id, now):
                spent = self._taken(connection, key, use, now)
            if spent is None:
                so_far = _spent(connection, key.id, day_of(now))
                admitted(so_far, use, key.limits, now)
                raise AssertionError("the statement and the rule disagree")
            reservation = Reservation(secrets.token_hex(8), key.id, spent.day, use)
            held = insert(tables.reserved).values(
                id=reservation.id,
                key=key.id,
                day=spent.day,
                tokens=use.tokens,
                nano_usd=use.nano_usd,
                until=now + self._hold_s,
            )
            connection.execute(held)
        return reservation, spent

    def settle(self, reservation: Reservation, use: Use) -> None:
        """Exchange what was reserved for what was used.

        Args:
            reservation: From `reserve`; one without an id has nothing in the database to give back.
            use: Tokens and money that were really used. Its request is counted already.
        """
        key, day, back = reservation.key, reservation.day, Use()
        with writing(self._engine) as connection:
            if reservation.id is not None:
                _lock(connection, key, day)
                held = delete(tables.reserved).where(tables.reserved.c.id == reservation.id)
                # Where its time was up and it has been given back, all of the use is new.
                if connection.execute(held).rowcount:
                    back = reservation.use
            more = Use(0, use.tokens - back.tokens, use.nano_usd - back.nano_usd)
            connection.execute(self._add, _row(key, day, more))

    def owe(self, owed: Mapping[tuple[str, str], Use], now: float) -> None:
        """Add what was used while the database was lost, and sweep out what is long over.

        Args:
            owed: What was used, by key and day.
            now: Seconds since 1970.
        """
        # One order for all gateways, against deadlocks.
        rows = [_row(key, day, use) for (key, day), use in sorted(owed.items())]
        held = tables.reserved.c
        with writing(self._engine) as connection:
            if rows:
                connection.execute(self._add, rows)
            past = delete(tables.reserved).where(held.day < day_of(now), held.until < now)
            connection.execute(past)

    def read(self, now: float) -> dict[str, Spent]:
        """Return what each key has used today, by its id."""
        today = select(tables.spent).where(tables.spent.c.day == day_of(now))
        with self._engine.connect() as connection:
            return {row.key: _from_row(row) for row in connection.execute(today)}

    def _taken(self, connection: Connection, key: Key, use: Use, now: float) -> Spent | None:
        limits = {f"max_{name}": most(getattr(key.limits, name)) for name in Limits.__slots__}
        values = _row(key.id, day_of(now), use) | {"minute": int(now // 60), "in_minute": 1}
        row = connection.execute(self._take, values | limits).first()
        return None if row is None else _from_row(row)

    def _expire(self, connection: Connection, key: str, now: float) -> bool:
        """Give back what others reserved for this key and never settled."""
        held = tables.reserved.c
        gone = (
            delete(tables.reserved)
            .where(held.key == key, held.day == day_of(now), held.until < now)
            .returning(held.tokens, held.nano_usd)
        )
        _lock(connection, key, day_of(now))
        rows = connection.execute(gone).all()
        if rows:
            back = Use(0, -sum(row.tokens for row in rows), -sum(row.nano_usd for row in rows))
            connection.execute(self._add, _row(key, day_of(now), back))
        return bool(rows)


def _take_statement(dialect: str) -> Any:
    """Return the statement that adds a request to its key's day, where `admitted` allows it."""
    new, c = _upsert(dialect)(tables.spent), tables.spent.c
    this_minute = c.minute >= new.excluded.minute
    in_minute = case((this_minute, c.in_minute + 1), else_=1)
    after = {name: c[name] + new.excluded[name] for name in Use._fields}
    fits = and_(
        in_minute <= bindparam("max_requests_per_minute"),
        after["requests"] <= bindparam("max_requests_per_day"),
        c.tokens < bindparam("max_tokens_per_day"),
        after["tokens"] <= bindparam("max_tokens_per_day"),
        c.nano_usd < bindparam("max_nano_usd_per_day"),
        after["nano_usd"] <= bindparam("max_nano_usd_per_day"),
    )
    return new.on_conflict_do_update(
        index_elements=["key", "day"],
        set_={
            **after,
            "minute": case((this_minute, c.minute), else_=new.excluded.minute),
            "in_minute": in_minute,
        },
        where=fits,
    ).returning(tables.spent)


def _add_statement(dialect: str) -> Any:
    """Return the statement that adds to a key's day, whatever its limits."""
    new, c = _upsert(dialect)(tables.spent), tables.spent.c
    return new.on_conflict_do_update(
        index_elements=["key", "day"],
        set_={name: c[name] + new.excluded[name] for name in Use._fields},
    )


def _row(key: str, day: str, use: Use) -> dict[str, Any]:
    return {"key": key, "day": day, **use._asdict(), "minute": 0, "in_minute": 0}


def _upsert(dialect: str) -> Any:
    return postgresql.insert if dialect == "postgresql" else sqlite.insert


def _lock(connection: Connection, key: str, day: str) -> None:
    """Lock a key's day before its reservations: in one order everywhere, against deadlocks."""
    connection.execute(_day(key, day).with_for_update())


def _spent(connection: Connection, key: str, day: str) -> Spent:
    row = connection.execute(_day(key, day)).first()
    return Spent(day) if row is None else _from_row(row)


def _day(key: str, day: str) -> Any:
    return select(tables.spent).where(tables.spent.c.key == key, tables.spent.c.day == day)


def _from_row(row: Any) -> Spent:
    use = Use(row.requests, row.tokens, row.nano_usd)
    return Spent(row.day, use, row.minute, row.in_minute)
