"""What happened, in numbers that Prometheus collects: `GET /metrics`."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from tryage.gateway.entry import Entry
from tryage.gateway.watching import Buffer, Live, add_to
from tryage.library import Library
from tryage.spend import Spend

NONE = "none"
"""The label where there is nothing to name: no model answered, or nothing went wrong."""

_PATHS = {"/v1/chat/completions", "/v1/completions"}
_ANSWER_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_FIRST_TOKEN_S = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_DECISION_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25)


class Metrics:
    """Counts what the gateway does.

    Labels hold only what is known beforehand, such as the names of cards: whatever clients make
    up, as a model's name or a path, adds no series.

    Args:
        registry: Where the metrics are registered.
        record: Asked for what waits to be written at each collection.
        reference: The model that savings are reckoned against, if any.
        library: Where prices are looked up before the bundled library.

    Raises:
        UnknownModel: No library holds the reference model.
        UsageError: The reference model's card has no prices.

    Example:
        >>> from datetime import UTC, datetime
        >>> metrics = Metrics(CollectorRegistry())
        >>> metrics.watch(Entry(id="1", time=datetime.now(UTC), path="/v1/completions", status=200,
        ...                     asked="tryage", model="small", decision={}, seconds=0.5))
        >>> b'tryage_request_seconds_count{model="small",path="/v1/completions"} 1.0' in (
        ...     metrics.exposition()[0])
        True
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        record: Buffer | None = None,
        reference: str | None = None,
        library: Library | None = None,
    ) -> None:
        self._registry = registry
        self._spend = Spend(reference, library)
        self._requests = Counter(
            "tryage_requests", "Requests answered.", ["path", "model", "status"], registry=registry
        )
        self._seconds = Histogram(
            "tryage_request_seconds",
            "From a request's arrival to the end of its response.",
            ["path", "model"],
            buckets=_ANSWER_S,
            registry=registry,
        )
        self._first_token = Histogram(
            "tryage_first_token_seconds",
            "From a request's arrival to the first content for the client.",
            ["model"],
            buckets=_FIRST_TOKEN_S,
            registry=registry,
        )
        self._decision = Histogram(
            "tryage_decision_seconds",
            "Spent on reading a request and deciding.",
            buckets=_DECISION_S,
            registry=registry,
        )
        self._tries = Counter(
            "tryage_upstream_tries",
            "Calls to upstreams, by how they ended.",
            ["model", "error"],
            registry=registry,
        )
        self._tokens = Counter(
            "tryage_tokens",
            "Tokens, as upstreams counted them.",
            ["model", "direction"],
            registry=registry,
        )
        self._cost = Counter(
            "tryage_cost_usd", "USD for answers of known cost.", ["model"], registry=registry
        )
        self._now = _AtCollection(record, self._spend)
        registry.register(self._now)

    def watch(self, entry: Entry) -> None:
        """Count one entry."""
        model = entry.model or NONE
        path = entry.path if entry.path in _PATHS else "other"
        self._requests.labels(path, model, str(entry.status)).inc()
        self._seconds.labels(path, model).observe(entry.seconds)
        if entry.first_token_s is not None:
            self._first_token.labels(model).observe(entry.first_token_s)
        if entry.decision:
            self._decision.observe(entry.decision_s)
        for attempt in entry.tries:
            self._tries.labels(attempt.model, attempt.error or NONE).inc()
        if entry.input_tokens is not None and entry.output_tokens is not None:
            self._tokens.labels(model, "input").inc(entry.input_tokens)
            self._tokens.labels(model, "output").inc(entry.output_tokens)
        if entry.cost_usd is not None:
            self._cost.labels(model).inc(entry.cost_usd)
        add_to(self._spend, entry)

    def exposition(self, live: Live | None = None, accept: str = "") -> tuple[bytes, str]:
        """Return the metrics as they stand, and the media type that they are written in.

        Args:
            live: Tells how the upstreams do right now.
            accept: The `Accept` header of whoever asks, which chooses the format.
        """
        self._now.live = live
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type


class _AtCollection(Collector):
    """What is asked for when it is collected, and stored nowhere."""

    def __init__(self, record: Buffer | None, spend: Spend) -> None:
        self.live: Live | None = None
        self._record, self._spend = record, spend

    def collect(self) -> Iterator[Metric]:
        if self.live is not None:
            yield from _of_models(self.live)
        if self._record is not None:
            yield GaugeMetricFamily(
                "tryage_record_buffered", "Entries that wait.", value=self._record.buffered
            )
            yield CounterMetricFamily(
                "tryage_record_dropped", "Entries lost to the bound.", value=self._record.dropped
            )
        saved = self._spend.saved_usd
        if saved is not None:  # it can also fall, so that it is no counter
            yield GaugeMetricFamily(
                "tryage_saved_usd",
                "USD saved since the start against the reference model.",
                value=saved,
            )


def _of_models(live: Live) -> Iterator[Metric]:
    resting = GaugeMetricFamily(
        "tryage_model_resting_seconds",
        "For how long a model is still left in peace; 0 where it is up.",
        labels=["model"],
    )
    in_flight = GaugeMetricFamily(
        "tryage_model_in_flight", "Calls to a model under way.", labels=["model"]
    )
    for model, state in live.states().items():
        resting.add_metric([model], state.resting_s)
        in_flight.add_metric([model], state.in_flight)
    yield resting
    yield in_flight
