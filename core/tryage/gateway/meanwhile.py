"""What one gateway knows of the keys' budgets, by which it goes while the database is lost."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from tryage.gateway.allowance import Reservation, Spent, Use, admitted, day_of
from tryage.gateway.keys import Key, Limits

Owed = dict[tuple[str, str], Use]
"""What was used and stands in no database yet, by key and day."""


class Meanwhile:
    """What was spent when the database was last seen, and what went through here since.

    Safe to share between threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # of what follows
        self._seen: dict[str, Spent] = {}
        self._owed: Owed = {}

    def check(self, key: Key, use: Use, limits: Limits, now: float) -> None:
        """Return where a request fits, as far as is known here.

        Args:
            key: Whose request it is.
            use: What it is expected to use.
            limits: Those of the key that are to be looked at.
            now: Seconds since 1970.

        Raises:
            Over: A limit is in the way.
        """
        with self._lock:
            seen = self._seen.get(key.id, Spent(day_of(now)))
        admitted(seen, use, limits, now)

    def reserve(self, key: Key, use: Use, now: float) -> Reservation:
        """Return what a request may use, by what is known here; what it uses is owed.

        Raises:
            Over: A limit is in the way.
        """
        day = day_of(now)
        with self._lock:
            spent = self._seen.get(key.id, Spent(day))
            self._seen[key.id] = admitted(spent, use, key.limits, now)
            self._owed[key.id, day] = self._owed.get((key.id, day), Use()).plus(Use(requests=1))
        return Reservation(None, key.id, day, use)

    def owe(self, reservation: Reservation, use: Use) -> None:
        """Remember what was used; what was reserved in the database expires there."""
        where = reservation.key, reservation.day
        with self._lock:
            self._owed[where] = self._owed.get(where, Use()).plus(use)
            seen = self._seen.get(reservation.key)
            if seen is not None and seen.day == reservation.day:
                back = Use(0, use.tokens - reservation.use.tokens,
                           use.nano_usd - reservation.use.nano_usd)  # fmt: skip
                self._seen[reservation.key] = seen._replace(use=seen.use.plus(back))

    def saw(self, key: str, spent: Spent) -> None:
        """Remember what the database said of a key."""
        with self._lock:
            self._seen[key] = spent

    def saw_all(self, spent: Mapping[str, Spent]) -> None:
        """Remember what the database said of all keys."""
        with self._lock:
            self._seen = dict(spent)

    def take_owed(self) -> Owed:
        """Return what is owed; from now on it is not."""
        with self._lock:
            owed, self._owed = self._owed, {}
        return owed

    def put_back(self, owed: Owed) -> None:
        """Owe again what could not be added to the database."""
        with self._lock:
            for where, use in owed.items():
                self._owed[where] = self._owed.get(where, Use()).plus(use)
