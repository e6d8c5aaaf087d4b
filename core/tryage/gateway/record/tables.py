"""The tables of the gateway's database; `migrations/` is how a database comes to have them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
)


class UtcTime(TypeDecorator[datetime]):
    """A moment; SQLite keeps no zone with a time, so that it goes in and comes out as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the moment in UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Return the moment with its zone."""
        if value is None:
            return None
        moment: datetime = value
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


metadata = MetaData()

entries = Table(
    "tryage_entries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("time", UtcTime, nullable=False, index=True),
    Column("path", Text, nullable=False),
    Column("asked", Text, nullable=False),
    Column("flags", Text, nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("key", Text),
    Column("status", Integer, nullable=False),
    Column("error", Text),
    Column("model", Text),
    Column("decision", JSON, nullable=False),
    Column("tries", JSON, nullable=False),
    Column("decision_s", Double, nullable=False),
    Column("first_token_s", Double),
    Column("seconds", Double, nullable=False),
    Column("input_tokens", BigInteger),
    Column("cached_input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("cost_usd", Double),
    Column("prompt", Text),
    Column("response", Text),
    Column("traceparent", Text),
    Column("score", Double),
)
"""One row per request: the fields of `Entry`, and the score that was given to its answer later."""

keys = Table(
    "tryage_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("models", JSON),
    Column("admin", Boolean, nullable=False),
    Column("requests_per_minute", BigInteger),
    Column("requests_per_day", BigInteger),
    Column("tokens_per_day", BigInteger),
    Column("nano_usd_per_day", BigInteger),
    Column("added", UtcTime, nullable=False),
    Column("revoked", UtcTime),
)
"""The keys of clients; the secret itself stands nowhere."""

Index(
    "tryage_keys_name",
    keys.c.name,
    unique=True,
    sqlite_where=keys.c.revoked.is_(None),
    postgresql_where=keys.c.revoked.is_(None),
)

spent = Table(
    "tryage_spent",
    metadata,
    Column("key", Text, primary_key=True),
    Column("day", Text, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("nano_usd", BigInteger, nullable=False),
    Column("minute", BigInteger, nullable=False),
    Column("in_minute", BigInteger, nullable=False),
)
"""What each key with limits has used on a day, what is reserved for running requests included."""

reserved = Table(
    "tryage_reserved",
    metadata,
    Column("id", Text, primary_key=True),
    Column("key", Text, nullable=False),
    Column("day", Text, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("nano_usd", BigInteger, nullable=False),
    Column("until", Double, nullable=False),
    Index("tryage_reserved_key_day", "key", "day"),
)
"""What running requests hold of `spent`, until they are settled or, at the latest, `until`."""
