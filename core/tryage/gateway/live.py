"""How every upstream does right now, and what follows for routing and for calling."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tryage.cards import ModelCard
from tryage.gateway.settings import UpstreamSettings
from tryage.gateway.speed import Speed
from tryage.gateway.upstream_errors import NoRoom
from tryage.health import CircuitBreaker
from tryage.library import Library
from tryage.router import Router

NEWS = 1.25
"""The router is told of a new speed once it has changed by this factor."""

PAUSE_S = 0.25
"""Least seconds between two looks at all upstreams."""

_MOST_WAITING = 16


@dataclass(frozen=True, slots=True)
class State:
    """How one upstream does right now.

    Attributes:
        resting_s: Seconds for which it is still left in peace; 0 where it is up.
        latency_s: Seconds that an ordinary answer takes of late; `None` before the first.
        error_rate: The share of its calls that fail of late, in [0, 1].
        in_flight: Calls to it that are under way.
    """

    resting_s: float
    latency_s: float | None
    error_rate: float
    in_flight: int


class Ticket:
    """One call that is under way; `Live.begin` gives it, and it ends in one of three ways."""

    def __init__(self, live: Live, place: _Place, stream: bool) -> None:
        self._live = live
        self._place = place
        self.stream = stream
        self.started = live.clock()
        self.waits = True  # nothing has come yet, and it has not been held against the upstream

    def showed(self) -> None:
        """Say that a stream's first content has arrived."""
        self.waits = False
        now = self._live.clock()
        if self._place.speed.started(now - self.started, now):
            self._live.breaker.failed(self._place.name)

    def answered(self, tokens: int) -> None:
        """Say that the answer has come to its end, and how many tokens it was."""
        self._leave()
        now = self._live.clock()
        if self._place.speed.answered(now - self.started, tokens, now):
            self._live.breaker.failed(self._place.name)

    def failed(self) -> None:
        """Say that the call failed by the upstream's fault."""
        self._leave()
        self._place.speed.failed(self._live.clock())

    def dropped(self) -> None:
        """Say that the call ended by nobody's fault: the client went away, another was faster."""
        self._leave()

    def _leave(self) -> None:
        self._place.calls.pop(self, None)


class _Place:
    """One upstream: its speed, its limits, and the calls to it that are under way."""

    def __init__(self, card: ModelCard, limits: UpstreamSettings | None) -> None:
        self.name = card.name
        self.speed = Speed(card)
        self.calls: dict[Ticket, None] = {}
        self._most = limits.max_concurrent if limits else None
        self._per_minute = limits.requests_per_minute if limits else None
        self._starts: deque[float] = deque()

    def enter(self, now: float) -> None:
        """Count one more call, or raise `NoRoom`."""
        if self._most is not None and len(self.calls) >= self._most:
            raise NoRoom(1.0)
        if self._per_minute is None:
            return
        while self._starts and self._starts[0] <= now - 60:
            self._starts.popleft()
        if len(self._starts) >= self._per_minute:
            raise NoRoom(self._starts[0] + 60 - now)
        self._starts.append(now)

    def is_late(self, now: float) -> bool:
        """Return whether the calls that wait show that it is slow; each tells it once."""
        waiting = [call for call in self.calls if call.waits][:_MOST_WAITING]
        if not waiting:
            return False
        streams = [now - call.started for call in waiting if call.stream]
        others = [now - call.started for call in waiting if not call.stream]
        late = self.speed.is_late(streams, others, now)
        for call in waiting:
            call.waits = not late
        return late


class Live:
    """How every upstream does right now.

    A failing upstream is rested by the breaker; so is one that has become much slower than it
    usually is, before its calls run into a timeout. Smaller changes of speed go into the cards
    that the router decides with, so that expected latency is that of the last seconds.

    Args:
        router: Decides; its library holds the upstreams' cards.
        breaker: Told of upstreams that have become slow.
        limits: The upstreams' settings by name, for their limits.
        clock: Gives the time in seconds; never runs backwards.
    """

    def __init__(
        self,
        router: Router,
        breaker: CircuitBreaker,
        limits: Mapping[str, UpstreamSettings] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.breaker = breaker
        self.clock = clock
        limits = limits or {}
        self._places = {card.name: _Place(card, limits.get(card.name)) for card in router.library}
        self._router = router
        self._looked = -math.inf

    def begin(self, model: str, *, stream: bool) -> Ticket:
        """Return the ticket of a new call.

        Raises:
            NoRoom: It would be beyond the upstream's limits.
        """
        place = self._places[model]
        place.enter(self.clock())
        ticket = Ticket(self, place, stream)
        place.calls[ticket] = None
        return ticket

    def router(self) -> Router:
        """Return the router, with the speed of late in its cards."""
        now = self.clock()
        if now - self._looked >= PAUSE_S:
            self._looked = now
            self._look(now)
        return self._router

    def states(self) -> dict[str, State]:
        """Return the state of each upstream, by the card's name."""
        now, resting = self.clock(), self.breaker.resting()
        return {
            name: State(
                resting_s=resting.get(name, 0.0),
                latency_s=place.speed.latency_s(now),
                error_rate=place.speed.error_rate(now),
                in_flight=len(place.calls),
            )
            for name, place in self._places.items()
        }

    def _look(self, now: float) -> None:
        for place in self._places.values():
            if place.is_late(now):
                self.breaker.failed(place.name)
        cards = [place.speed.card(now) for place in self._places.values()]
        if any(_is_news(*pair) for pair in zip(self._router.library, cards, strict=True)):
            # Quality does not depend on speed: the predictor is handed on as it is.
            old = self._router
            self._router = Router(Library(cards), old.predictor, old.flags, old.lengths)


def _is_news(old: ModelCard, new: ModelCard) -> bool:
    pairs = (
        (old.first_token_s, new.first_token_s),
        (old.output_tokens_per_s, new.output_tokens_per_s),
    )
    return any(
        after is not None
        and (before is None or max(before, after) > NEWS * max(min(before, after), 1e-3))
        for before, after in pairs
    )
