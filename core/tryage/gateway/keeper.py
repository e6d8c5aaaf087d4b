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
from dataclasses import dataclass, replace

from sqlalchemy import Engine

from tryage.gateway import denials
from tryage.gateway.allowance import Over, Reservation, Spent, Use
from tryage.gateway.budgets import HOLD_S, Budgets
from tryage.gateway.keeping import Expected, Pass, Scope
from tryage.gateway.keys import PREFIX, Key, nano_usd, read_keys, recognise
from tryage.gateway.meanwhile import Meanwhile
from tryage.gateway.record.database import LOST, unusable
from tryage.spend import Usage

REFRESH_S = 2.0
"""Seconds after which a key that was added or revoked is seen, at the latest."""

PATIENCE_S = 2.0
"""Seconds after which a database that does not answer is taken for lost."""

_log = logging.getLogger("tryage.gateway")


@dataclass(frozen=True, slots=True)
class KeyPass(Pass):
    """The pass of a key, and what was reserved for its request, where the key has limits."""

    whose: Key | None = None
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
        self._known = Meanwhile()
        self._keys: dict[str, Key] = {}
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

    def identify(self, secret: str | None) -> Pass:
        """Return who asks, or raise `Refused`; see `Keeper`."""
        if not self._required and not (secret or "").startswith(PREFIX):
            return Pass()  # clients of OpenAI's API always send a key, if only `none`
        if secret is None:
            raise denials.no_key()
        key = recognise(secret, self._keys)
        if key is None:
            raise denials.unknown_key()
        return KeyPass(key.id, key.name, key)

    def check(self, caller: Pass, scope: Scope, model: str | None = None) -> None:
        """Return where the request may go on, or raise `Refused`; see `Keeper`."""
        key = _key_of(caller)
        if key is None or scope == "look":
            return
        if scope == "admin":
            if not key.admin:
                raise denials.no_admin(key)
        elif model is None:
            self._check_requests(key)
        elif not key.may_ask(model):
            raise denials.no_such_model(key, model)

    async def admit(self, caller: Pass, expected: Expected) -> Pass:
        """Return the pass of a request, or raise `Refused`; see `Keeper`."""
        key = _key_of(caller)
        if key is None or not key.limits:
            return caller
        use = Use(
            1, expected.input_tokens + expected.output_tokens, nano_usd(expected.cost_usd or 0.0)
        )
        try:
            reservation = await self._reserve(key, use)
        except Over as over:
            raise denials.used_up(key, over, self._clock()) from None
        return KeyPass(key.id, key.name, key, reservation)

    async def settle(self, admitted: Pass, usage: Usage | None, cost_usd: float | None) -> None:
        """Count what a request came to; see `Keeper`. A request that failed counts as a request."""
        reservation = admitted.reservation if isinstance(admitted, KeyPass) else None
        if reservation is None:
            return
        tokens = 0 if usage is None else usage.input_tokens + usage.output_tokens
        use = Use(0, tokens, nano_usd(cost_usd or 0.0))
        if self.lost:
            self._known.owe(reservation, use)
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

    def _check_requests(self, key: Key) -> None:
        """Refuse a key that has no request left: those are known beforehand, and never come back.

        What another gateway admitted within the last seconds is not known here; `admit` knows it.
        """
        if not key.limits:
            return
        now, limits = self._clock(), replace(key.limits, tokens_per_day=None, nano_usd_per_day=None)
        try:
            self._known.check(key, Use(1), limits, now)
        except Over as over:
            raise denials.used_up(key, over, now) from None

    async def _reserve(self, key: Key, use: Use) -> Reservation:
        if self.lost:
            return self._known.reserve(key, use, self._clock())
        asked = self._threads.submit(self._budgets.reserve, key, use, self._clock())
        try:
            reservation, spent = await asyncio.wait_for(
                asyncio.wrap_future(asked), self._patience_s
            )
        except LOST as error:
            self._lose(error)
            asked.add_done_callback(self._give_back)
            return self._known.reserve(key, use, self._clock())
        except asyncio.CancelledError:  # the client has left
            asked.add_done_callback(self._give_back)
            raise
        self._known.saw(key.id, spent)
        return reservation

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
            self._known.owe(reservation, use)

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
        owed = self._known.take_owed()
        if owed or self.lost:
            try:
                self._budgets.owe(owed, self._clock())
            except BaseException:
                self._known.put_back(owed)
                raise
        keys = {key.id: key for key in read_keys(self._engine)}
        self._known.saw_all(self._budgets.read(self._clock()))
        self._keys = keys
        if self.lost:
            self.lost = False
            _log.info("the database is there")


def _key_of(caller: Pass) -> Key | None:
    return caller.whose if isinstance(caller, KeyPass) else None
