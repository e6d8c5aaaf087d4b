"""The keeper of `tryage serve`: keys and budgets in the database, and what holds without it.

The keys that are good, and what each has spent today, are read every two seconds. A key without
limits is admitted from memory. One with limits asks the database, where several gateways meet.

Where the database is lost, keys that are known go on working, and a key with limits is measured by
what this gateway knows: what was spent when it last saw the database, and what went through it
since. So each gateway spends at most what was left; *n* of them up to *n* times that. What was used
meanwhile is added to the database when it is back.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from sqlalchemy import Engine

from tryage.gateway.budgets import HOLD_S, Budgets, Over, Reservation, Spent, Use, admitted, day_of
from tryage.gateway.keeping import Expected, Pass
from tryage.gateway.keys import NANO, PREFIX, Key, nano_usd, read_keys, recognise
from tryage.gateway.record.database import LOST, unusable
from tryage.gateway.refusals import Refused
from tryage.spend import Usage

REFRESH_S = 2.0
"""Seconds after which a key that was added or revoked is seen, at the latest."""

PATIENCE_S = 2.0
"""Seconds after which a database that does not answer is taken for lost."""

_log = logging.getLogger("tryage.gateway")
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Admitted(Pass):
    """The pass of a key, and what was reserved for the request, if the key has limits."""

    reservation: Reservation | None = None


class DatabaseKeeper:
    """Keeps keys and budgets in the database; a `Keeper` for `create_app`.

    Args:
        engine: From `open_database`.
        required: Whether everybody needs a key. Otherwise those without one may do anything.
        clock: Seconds since 1970.
        hold_s: Seconds for which a running request holds what it reserved; more than any takes.
        refresh_s: Seconds between two looks at the keys.
        patience_s: Seconds that a request waits for the database before it is taken for lost.

    Raises:
        DatabaseFailed: The database cannot be read at the start.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        required: bool = True,
        clock: Callable[[], float] = time.time,
        hold_s: float = HOLD_S,
        refresh_s: float = REFRESH_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._engine, self._required, self._clock = engine, required, clock
        self._patience_s = patience_s
        self._budgets = Budgets(engine, hold_s)
        self._lock = threading.Lock()  # of what follows
        self._keys: dict[str, Key] = {}
        self._seen: dict[str, Spent] = {}
        self._owed: dict[tuple[str, str], Use] = {}
        self.lost = True  # until it has been seen
        try:
            self._refresh()
        except LOST as error:
            raise unusable(engine, error) from None
        # SQLite has one writer at a time: more threads would only wait for each other.
        workers = 1 if engine.dialect.name == "sqlite" else 8
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="tryage-budgets")
        self._closing = threading.Event()
        self._refresher = threading.Thread(
            target=self._keep_refreshing, args=(refresh_s,), name="tryage-keys", daemon=True
        )
        self._refresher.start()

    async def admit(self, secret: str | None, expected: Expected) -> Pass:
        """Return the pass of a request, or raise `Refused`; see `Keeper`."""
        key = self._identify(secret)
        if key is None:
            return Pass()
        _check_scope(key, expected)
        if not key.limits or expected.scope != "call":
            return Admitted(key.id, key.name)
        use = Use(
            1, expected.input_tokens + expected.output_tokens, nano_usd(expected.cost_usd or 0.0)
        )
        try:
            reservation = await self._reserve(key, use)
        except Over as over:
            _refuse(key, over, self._clock())
        return Admitted(key.id, key.name, reservation)

    async def settle(self, admitted: Pass, usage: Usage | None, cost_usd: float | None) -> None:
        """Count what a request came to; see `Keeper`. A request that failed counts as a request."""
        reservation = admitted.reservation if isinstance(admitted, Admitted) else None
        if reservation is None:
            return
        tokens = 0 if usage is None else usage.input_tokens + usage.output_tokens
        use = Use(0, tokens, nano_usd(cost_usd or 0.0))
        if self.lost:
            self._owe(reservation, use)
            return
        # The thread does it even where nobody waits for it any more.
        done = self._threads.submit(self._settle, reservation, use)
        await asyncio.wait([asyncio.wrap_future(done)], timeout=self._patience_s)

    def close(self) -> None:
        """Finish what is being settled, and stop; the database stays open."""
        self._closing.set()
        self._threads.shutdown(wait=True)
        self._refresher.join()
        try:
            self._refresh()  # what is owed
        except LOST as error:
            _log.warning(
                "the database is lost (%s): what was spent since is in no budget",
                type(error).__name__,
            )

    def _identify(self, secret: str | None) -> Key | None:
        if not self._required and not (secret or "").startswith(PREFIX):
            return None  # clients of OpenAI's API always send a key, if only `none`
        if secret is None:
            raise Refused(
                401,
                "invalid_api_key",
                "no key was given; send the header 'Authorization: Bearer try-...'. Whoever runs "
                "this gateway can make one: tryage keys add NAME.",
            )
        key = recognise(secret, self._keys)
        if key is None:
            raise Refused(
                401,
                "invalid_api_key",
                "the key is not known here, or was revoked; ask whoever runs this gateway for "
                "another.",
            )
        return key

    async def _reserve(self, key: Key, use: Use) -> Reservation:
        if self.lost:
            return self._reserve_here(key, use)
        asked = self._threads.submit(self._budgets.reserve, key, use, self._clock())
        try:
            reservation, spent = await asyncio.wait_for(
                asyncio.wrap_future(asked), self._patience_s
            )
        except LOST as error:
            self._lose(error)
            asked.add_done_callback(self._give_back)
            return self._reserve_here(key, use)
        except asyncio.CancelledError:  # the client has left
            asked.add_done_callback(self._give_back)
            raise
        with self._lock:
            self._seen[key.id] = spent
        return reservation

    def _reserve_here(self, key: Key, use: Use) -> Reservation:
        """Reserve by what this gateway knows, since the database is lost."""
        now = self._clock()
        day = day_of(now)
        with self._lock:
            seen = admitted(self._seen.get(key.id, Spent(day)), use, key.limits, now)
            self._seen[key.id] = seen
            owed = self._owed.get((key.id, day), Use())
            self._owed[key.id, day] = owed.plus(Use(requests=1))
        return Reservation(None, key.id, day, use)

    def _give_back(self, asked: Future[tuple[Reservation, Spent]]) -> None:
        """Let go of a reservation that came too late for its request."""
        if not asked.cancelled() and asked.exception() is None:
            with suppress(RuntimeError):  # the gateway is closing: it expires instead
                self._threads.submit(self._settle, asked.result()[0], Use())

    def _settle(self, reservation: Reservation, use: Use) -> None:
        try:
            self._budgets.settle(reservation, use)
        except LOST as error:
            self._lose(error)
            self._owe(reservation, use)

    def _owe(self, reservation: Reservation, use: Use) -> None:
        """Remember what was used; what was reserved in the database expires there."""
        where = reservation.key, reservation.day
        with self._lock:
            self._owed[where] = self._owed.get(where, Use()).plus(use)
            seen = self._seen.get(reservation.key)
            if seen is not None and seen.day == reservation.day:
                back = Use(0, use.tokens - reservation.use.tokens,
                           use.nano_usd - reservation.use.nano_usd)  # fmt: skip
                self._seen[reservation.key] = seen._replace(use=seen.use.plus(back))

    def _lose(self, error: BaseException) -> None:
        if not self.lost:
            self.lost = True
            _log.warning(
                "the database is lost (%s): keys and budgets hold by what this gateway knows",
                type(error).__name__,
            )

    def _keep_refreshing(self, refresh_s: float) -> None:
        while not self._closing.wait(refresh_s):
            try:
                self._refresh()
            except LOST as error:
                self._lose(error)

    def _refresh(self) -> None:
        """Post what is owed, and read what is known; that it works says that the database is up."""
        with self._lock:
            owed, self._owed = self._owed, {}
        if owed or self.lost:
            try:
                self._budgets.owe(owed, self._clock())
            except BaseException:
                with self._lock:
                    for where, use in owed.items():
                        self._owed[where] = self._owed.get(where, Use()).plus(use)
                raise
        known = {key.id: key for key in read_keys(self._engine)}
        seen = self._budgets.read(self._clock())
        with self._lock:
            self._keys, self._seen = known, seen
        if self.lost:
            self.lost = False
            _log.info("the database is there")


def _check_scope(key: Key, expected: Expected) -> None:
    if expected.scope == "admin":
        if not key.admin:
            raise Refused(
                403,
                "admin_needed",
                f"the key {key.name!r} may call models, and not see how the gateway does; use a "
                "key that was made with --admin.",
            )
    elif expected.scope == "call" and not key.may_ask(expected.model):
        raise Refused(
            403,
            "model_not_allowed",
            f"the key {key.name!r} may not ask for {expected.model!r}; it may ask for "
            f"{', '.join(key.models or ())}.",
            param="model",
        )


def _refuse(key: Key, over: Over, now: float) -> NoReturn:
    """Raise what a request is told that a limit leaves no room for."""
    limits, use = key.limits, over.spent.use
    to_midnight = _DAY_S - now % _DAY_S
    if over.limit == "nano_usd_per_day":
        raise Refused(
            402,
            "budget_used_up",
            f"the key {key.name!r} has used ${use.nano_usd / NANO:.6g} of its "
            f"${(limits.nano_usd_per_day or 0) / NANO:.6g} for today, running requests included; "
            f"the next day begins in {to_midnight / 3600:.1f} h (00:00 UTC).",
        )
    so_far, unit, wait = {
        "requests_per_minute": (limits.requests_per_minute, "requests a minute", 60 - now % 60),
        "requests_per_day": (limits.requests_per_day, "requests a day", to_midnight),
        "tokens_per_day": (limits.tokens_per_day, "tokens a day", to_midnight),
    }[over.limit]
    used = f", {use.tokens} of them used," if over.limit == "tokens_per_day" else ""
    raise Refused(
        429,
        "rate_limit_exceeded",
        f"the key {key.name!r} has a limit of {so_far} {unit}{used} which leaves no room for this "
        f"request; ask again in {wait:.0f} s.",
        retry_after_s=wait,
    )
