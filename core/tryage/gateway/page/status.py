"""What happened of late, in bounded memory: `GET /v1/tryage/status`, which the page shows."""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tryage.gateway.entry import Entry
from tryage.gateway.page.shown import decision_json, shortened, state_json
from tryage.gateway.watching import Buffer, Live, add_to, call_failed, failed
from tryage.library import Library
from tryage.spend import Spend

MINUTES = 60
"""How far back the counts by minute reach."""

_LATENCIES = 1000


class _Latency(NamedTuple):
    minute: int
    seconds: float


@dataclass(slots=True)
class _Minute:
    """The counts of the requests that arrived within one minute, by model where a model counts."""

    requests: int = 0
    errors: int = 0
    refused: int = 0
    cost_usd: float = 0.0
    answered: Counter[str] = field(default_factory=Counter)
    tries: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Total:
    """The counts since the first entry."""

    since: datetime
    requests: int = 0
    errors: int = 0
    unpriced: int = 0
    cost_usd: float = 0.0
    costs: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))


class Recent:
    """Remembers the latest decisions and the last hour's counts, in memory and within bounds.

    It keeps no prompts. To begin with what the record holds, give it those entries first, oldest
    first. For one event loop: it takes no lock.

    Args:
        reference: The model that savings are reckoned against, if any.
        library: Where prices are looked up before the bundled library.
        record: Asked for what waits to be written, where there is a record.
        decisions: The most entries that are kept whole.
        clock: Gives the time, in UTC.

    Raises:
        UnknownModel: No library holds the reference model.
        UsageError: The reference model's card has no prices.

    Example:
        >>> recent = Recent()
        >>> recent.watch(Entry(id="1", time=datetime.now(UTC), path="/v1/completions", status=200,
        ...                    asked="tryage", model="small", decision={}, seconds=0.5))
        >>> recent.as_json()["hour"]["requests"]
        1
    """

    def __init__(
        self,
        *,
        reference: str | None = None,
        library: Library | None = None,
        record: Buffer | None = None,
        decisions: int = 200,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._clock = clock
        self._record = record
        self._spend = Spend(reference, library)
        self._started = clock()
        self._total = _Total(since=self._started)
        self._minutes: dict[int, _Minute] = {}
        self._latest: deque[tuple[int, Entry]] = deque(maxlen=decisions)
        self._latencies: deque[_Latency] = deque(maxlen=_LATENCIES)
        self._model_latencies: dict[str, deque[_Latency]] = {}

    def watch(self, entry: Entry) -> None:
        """Remember one entry."""
        total = self._total
        total.since = min(total.since, entry.time)
        total.requests += 1
        total.errors += failed(entry)
        if entry.model is not None:
            total.unpriced += entry.cost_usd is None
            total.cost_usd += entry.cost_usd or 0.0
            total.costs[entry.model] += entry.cost_usd or 0.0
        for attempt in entry.tries:
            total.costs[attempt.model] += 0.0  # so that it is known, were it never to answer
        add_to(self._spend, entry)
        if entry.status != 401:  # who has no key cannot push out what others look for
            self._latest.append((total.requests, shortened(entry)))
        self._count(entry)

    def _count(self, entry: Entry) -> None:
        minute = _minute_of(entry.time)
        if minute <= self._oldest():
            return
        counts = self._minutes.get(minute)
        if counts is None:
            self._forget()
            counts = self._minutes[minute] = _Minute()
        counts.requests += 1
        counts.errors += failed(entry)
        counts.refused += 400 <= entry.status < 500
        counts.cost_usd += entry.cost_usd or 0.0
        if entry.model is not None:
            counts.answered[entry.model] += 1
        if entry.error is None:
            self._latencies.append(_Latency(minute, entry.seconds))
        for attempt in entry.tries:
            counts.tries[attempt.model] += 1
            counts.failed[attempt.model] += call_failed(attempt)
            if attempt.error is not None:
                continue
            of_model = self._model_latencies.setdefault(attempt.model, deque(maxlen=_LATENCIES))
            of_model.append(_Latency(minute, attempt.seconds))

    def as_json(self, live: Live | None = None, *, after: int = 0) -> dict[str, Any]:
        """Return all of it as plain JSON values.

        Args:
            live: Tells how the upstreams do right now.
            after: Leaves out the decisions up to this number, which the caller has already.
        """
        self._forget()
        hour = list(self._minutes.values())
        return {
            "now": self._clock().isoformat(),
            "started": self._started.isoformat(),
            "total": self._totals(),
            "hour": {
                "requests": sum(counts.requests for counts in hour),
                "errors": sum(counts.errors for counts in hour),
                "refused": sum(counts.refused for counts in hour),
                "cost_usd": sum(counts.cost_usd for counts in hour),
                **_quantiles(self._latencies, self._oldest()),
            },
            "minutes": self._by_minute(),
            "models": self._models(hour, live),
            "record": None
            if self._record is None
            else {"buffered": self._record.buffered, "dropped": self._record.dropped},
            "decisions": [
                decision_json(number, entry)
                for number, entry in reversed(self._latest)
                if number > after
            ],
        }

    def _totals(self) -> dict[str, Any]:
        return {
            "since": self._total.since.isoformat(),
            "requests": self._total.requests,
            "errors": self._total.errors,
            "cost_usd": self._total.cost_usd,
            "unpriced": self._total.unpriced,
            "reference": None if self._spend.reference is None else self._spend.reference.name,
            "reference_usd": self._spend.reference_usd,
            "saved_usd": self._spend.saved_usd,
        }

    def _by_minute(self) -> dict[str, Any]:
        """Return the counts of the last minutes, oldest first, the current one last."""
        last = _minute_of(self._clock())
        window = [self._minutes.get(minute) for minute in range(last - MINUTES + 1, last + 1)]
        models = sorted({model for counts in window if counts for model in counts.answered})
        return {
            "requests": [counts.requests if counts else 0 for counts in window],
            "errors": [counts.errors if counts else 0 for counts in window],
            "answered": {
                model: [counts.answered[model] if counts else 0 for counts in window]
                for model in models
            },
        }

    def _models(self, hour: list[_Minute], live: Live | None) -> list[dict[str, Any]]:
        """Return what each model did: those that are live first, in their order."""
        states = {} if live is None else dict(live.states())
        names = list(dict.fromkeys([*states, *self._total.costs]))
        return [
            {
                "name": name,
                **state_json(states.get(name)),
                "answered": sum(counts.answered[name] for counts in hour),
                "tries": sum(counts.tries[name] for counts in hour),
                "failed": sum(counts.failed[name] for counts in hour),
                "cost_usd": self._total.costs.get(name, 0.0),
                **_quantiles(self._model_latencies.get(name, ()), self._oldest()),
            }
            for name in names
        ]

    def _oldest(self) -> int:
        """Return the last minute that no longer counts."""
        return _minute_of(self._clock()) - MINUTES

    def _forget(self) -> None:
        oldest = self._oldest()
        for minute in [minute for minute in self._minutes if minute <= oldest]:
            del self._minutes[minute]


def _minute_of(time: datetime) -> int:
    return int(time.timestamp() // 60)


def _quantiles(latencies: Iterable[_Latency], oldest: int) -> dict[str, float | None]:
    """Return the median and the 99th percentile of those that still count, by nearest rank."""
    ordered = sorted(latency.seconds for latency in latencies if latency.minute > oldest)
    if not ordered:
        return {"p50_s": None, "p99_s": None}
    return {
        f"p{percent}_s": ordered[math.ceil(len(ordered) * percent / 100) - 1]
        for percent in (50, 99)
    }
