"""What a key may use: the rule, in words of Python, and the figures that it is about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from tryage.gateway.keys import Limits

NO_LIMIT = 2**62
"""Stands for no limit where only a number can stand."""

LimitName = Literal["requests_per_minute", "requests_per_day", "tokens_per_day", "nano_usd_per_day"]


class Use(NamedTuple):
    """Requests, tokens, and money in 1e-9 USD."""

    requests: int = 0
    tokens: int = 0
    nano_usd: int = 0

    def plus(self, other: Use) -> Use:
        """Return the sum of both."""
        return Use(*(mine + its for mine, its in zip(self, other, strict=True)))


class Spent(NamedTuple):
    """What a key has used on a day.

    Attributes:
        day: Such as `2026-11-22`, UTC.
        use: In that day, what is reserved for running requests included.
        minute: The minute of its last request, counted from 1970.
        in_minute: Requests in that minute.
    """

    day: str
    use: Use = Use()
    minute: int = 0
    in_minute: int = 0


class Over(Exception):
    """A limit does not leave room for a request: which, and what is used so far."""

    def __init__(self, limit: LimitName, spent: Spent) -> None:
        super().__init__(limit)
        self.limit: LimitName = limit
        self.spent = spent


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a running request may use.

    Attributes:
        id: Of its row in `reserved`; `None` where the database was lost.
        key: The key's id.
        day: The day that it counts for, even if it ends on the next.
        use: What was expected.
    """

    id: str | None
    key: str
    day: str
    use: Use


def day_of(now: float) -> str:
    """Return the UTC day of a time in seconds since 1970.

    >>> day_of(86400.0)
    '1970-01-02'
    """
    return datetime.fromtimestamp(now, UTC).date().isoformat()


def admitted(spent: Spent, use: Use, limits: Limits, now: float) -> Spent:
    """Return what is used once one more request is admitted; the rule, in words of Python.

    A request is admitted where its expected use fits, and at least something is left.

    Args:
        spent: What was used so far.
        use: What the request is expected to use.
        limits: Of its key.
        now: Seconds since 1970.

    Raises:
        Over: A limit is in the way.
    """
    day, minute = day_of(now), int(now // 60)
    so_far = spent if spent.day == day else Spent(day)
    # Another gateway's clock may be a minute ahead: its minute is then the one that counts.
    in_minute = so_far.in_minute + 1 if so_far.minute >= minute else 1
    after = so_far.use.plus(use)
    if in_minute > most(limits.requests_per_minute):
        raise Over("requests_per_minute", so_far)
    if after.requests > most(limits.requests_per_day):
        raise Over("requests_per_day", so_far)
    if not _fits(so_far.use.tokens, after.tokens, limits.tokens_per_day):
        raise Over("tokens_per_day", so_far)
    if not _fits(so_far.use.nano_usd, after.nano_usd, limits.nano_usd_per_day):
        raise Over("nano_usd_per_day", so_far)
    return Spent(day, after, max(minute, so_far.minute), in_minute)


def most(limit: int | None) -> int:
    """Return a limit as a number, also where there is none."""
    return NO_LIMIT if limit is None else limit


def _fits(before: int, after: int, limit: int | None) -> bool:
    return limit is None or (before < limit and after <= limit)
