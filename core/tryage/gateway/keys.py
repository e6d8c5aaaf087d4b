"""Keys of clients: made, listed, revoked, and recognised."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy import Engine, Row, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from tryage.errors import UsageError, nearest
from tryage.gateway.record import tables
from tryage.gateway.record.database import writing

PREFIX = "try-"
"""How every secret begins, so that one that leaked into a text is easily found."""

NANO = 10**9
"""Nano-USD in one USD: money is counted in whole numbers, since sums of floats drift."""

_ID_BYTES = 6
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a key may use; `None` is no limit.

    Attributes:
        requests_per_minute: Requests in one minute of the clock.
        requests_per_day: Requests in one day, UTC.
        tokens_per_day: Tokens of prompts and answers in one day, UTC.
        nano_usd_per_day: Money in one day, UTC, in 1e-9 USD.
    """

    requests_per_minute: int | None = None
    requests_per_day: int | None = None
    tokens_per_day: int | None = None
    nano_usd_per_day: int | None = None

    def __bool__(self) -> bool:
        return self != _NO_LIMITS


_NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A client's key, without its secret.

    Attributes:
        id: The part of the secret that it is looked up by; not secret itself.
        name: What people call it.
        hash: SHA-256 of the secret.
        models: What it may ask for, as the client names it; `*` stands for anything. `None` is all.
        admin: Whether it may see the page's data and the metrics.
        limits: What it may use.
        added: When it was made, UTC.
        revoked: When it was revoked, UTC.
    """

    id: str
    name: str
    hash: bytes = field(repr=False)
    models: tuple[str, ...] | None = None
    admin: bool = False
    limits: Limits = Limits()
    added: datetime
    revoked: datetime | None = None

    def may_ask(self, model: str) -> bool:
        """Return whether the key may ask for a model, as the client names it."""
        return self.models is None or any(fnmatchcase(model, allowed) for allowed in self.models)


def add_key(
    engine: Engine,
    name: str,
    *,
    models: Sequence[str] | None = None,
    admin: bool = False,
    limits: Limits = _NO_LIMITS,
) -> tuple[Key, str]:
    """Return a new key and its secret, which nobody can read again.

    Args:
        engine: From `open_database`.
        name: What people will call it; free among the keys that are not revoked.
        models: What it may ask for; all if absent.
        admin: Whether it may see the page's data and the metrics.
        limits: What it may use.

    Raises:
        UsageError: The name is empty or taken.
    """
    if not name.strip():
        raise UsageError("a key needs a name; give one that tells whose it is.")
    identity = secrets.token_hex(_ID_BYTES)
    secret = f"{PREFIX}{identity}-{secrets.token_urlsafe(_SECRET_BYTES)}"
    key = Key(
        id=identity,
        name=name,
        hash=_hash(secret),
        models=None if models is None else tuple(models),
        admin=admin,
        limits=limits,
        added=datetime.now(UTC),
    )
    values = {name: getattr(key, name) for name in ("id", "name", "hash", "admin", "added")}
    values["models"] = None if models is None else list(models)
    values |= {name: getattr(limits, name) for name in Limits.__slots__}
    try:
        with writing(engine) as connection:
            connection.execute(insert(tables.keys).values(values))
    except IntegrityError:
        raise UsageError(
            f"there is a key named {name!r} already; give another name, or revoke that one first: "
            f"tryage keys revoke {name!r}."
        ) from None
    return key, secret


def read_keys(engine: Engine, *, revoked: bool = False) -> list[Key]:
    """Return the keys in the order of their making.

    Args:
        engine: From `open_database`.
        revoked: Whether to return those as well that are no longer good.
    """
    rows = select(tables.keys).order_by(tables.keys.c.added, tables.keys.c.id)
    if not revoked:
        rows = rows.where(tables.keys.c.revoked.is_(None))
    with engine.connect() as connection:
        return [_key(row) for row in connection.execute(rows)]


def revoke_key(engine: Engine, name: str) -> Key:
    """Return a key that is no longer good from now on; gateways see it within seconds.

    Args:
        engine: From `open_database`.
        name: The key's name or its id.

    Raises:
        UsageError: There is no such key, or it is revoked.
    """
    columns = tables.keys.c
    revoked = (
        update(tables.keys)
        .where(or_(columns.name == name, columns.id == name), columns.revoked.is_(None))
        .values(revoked=datetime.now(UTC))
        .returning(tables.keys)
    )
    with writing(engine) as connection:
        row = connection.execute(revoked).first()
    if row is None:
        known = [key.name for key in read_keys(engine)]
        raise UsageError(
            f"there is no key {name!r} to revoke.{nearest(name, known)} "
            f"Keys: {', '.join(known) or 'none'}."
        )
    return _key(row)


def nano_usd(usd: float) -> int:
    """Return an amount in 1e-9 USD.

    >>> nano_usd(0.1) + nano_usd(0.2) == nano_usd(0.3)
    True
    """
    return round(usd * NANO)


def recognise(secret: str, known: Mapping[str, Key]) -> Key | None:
    """Return the key whose secret this is, or `None`.

    Takes as long for a wrong secret as for a right one, whatever part of it is right.

    Args:
        secret: What the client sent.
        known: The keys that are good, by their ids.
    """
    key = known.get(secret[len(PREFIX) : len(PREFIX) + 2 * _ID_BYTES])
    right = hmac.compare_digest(_hash(secret), _NOBODY if key is None else key.hash)
    return key if right else None


def _hash(secret: str) -> bytes:
    # One round of SHA-256 is enough: slow hashes guard passwords that can be guessed, and 256 bits
    # of chance cannot. It is done for each request, so it must be quick.
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


_NOBODY = bytes(32)


def _key(row: Row[Any]) -> Key:
    values = dict(row._mapping)
    limits = Limits(**{name: values.pop(name) for name in Limits.__slots__})
    models = values.pop("models")
    return Key(**values, models=None if models is None else tuple(models), limits=limits)
