"""Metrics: what is counted, under which labels, and that clients cannot make more of them."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from tests.gateway.watched import (
    LARGE,
    SMALL,
    FakeBuffer,
    FakeLive,
    FakeState,
    entry,
    library,
)
from tryage import Library, UsageError
from tryage.gateway.entry import Try
from tryage.gateway.metrics import Metrics

CHAT = "/v1/chat/completions"


@pytest.fixture
def metrics():
    return Metrics(CollectorRegistry(), reference=LARGE, library=library())


def samples(metrics: Metrics, live: FakeLive | None = None) -> dict[tuple[str, ...], float]:
    """Return what Prometheus would read: values by name and labels, in the labels' order."""
    text, media_type = metrics.exposition(live)
    assert media_type.startswith("text/plain")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_an_answer_is_counted_under_its_model_path_and_status(metrics):
    metrics.watch(entry(seconds=0.7, first_token_s=0.3, decision_s=0.0004))
    found = samples(metrics)
    assert found["tryage_requests_total", SMALL, CHAT, "200"] == 1
    assert found["tryage_request_seconds_sum", SMALL, CHAT] == pytest.approx(0.7)
    assert found["tryage_first_token_seconds_sum", SMALL] == pytest.approx(0.3)
    assert found["tryage_decision_seconds_sum",] == pytest.approx(0.0004)
    assert found["tryage_upstream_tries_total", "none", SMALL] == 1


def test_tokens_cost_and_saving_add_up(metrics):
    for _ in range(2):
        metrics.watch(entry(input_tokens=1000, output_tokens=200, cost_usd=0.00027))
    found = samples(metrics)
    assert found["tryage_tokens_total", "input", SMALL] == 2000
    assert found["tryage_tokens_total", "output", SMALL] == 400
    assert found["tryage_cost_usd_total", SMALL] == pytest.approx(0.00054)
    assert found["tryage_saved_usd",] == pytest.approx(2 * (0.0045 - 0.00027))


def test_a_failover_counts_both_tries(metrics):
    tries = (Try(LARGE, 0.0, 0.2, "InternalServerError", 503), Try(SMALL, 0.2, 0.5, status=200))
    metrics.watch(entry(tries=tries))
    found = samples(metrics)
    assert found["tryage_upstream_tries_total", "InternalServerError", LARGE] == 1
    assert found["tryage_upstream_tries_total", "none", SMALL] == 1


def test_what_has_no_answer_no_decision_and_no_cost_is_still_counted(metrics):
    metrics.watch(
        entry(
            model=None,
            status=404,
            error="ModelNotFound",
            decision={},
            first_token_s=None,
            input_tokens=None,
            output_tokens=None,
            cost_usd=None,
        )
    )
    found = samples(metrics)
    assert found["tryage_requests_total", "none", CHAT, "404"] == 1
    assert found["tryage_decision_seconds_count",] == 0
    assert not any(name == "tryage_cost_usd_total" for name, *_ in found)


def test_what_clients_make_up_makes_no_series(metrics):
    def series():
        return {key for key in samples(metrics) if not key[0].endswith("_created")}

    metrics.watch(entry(model=None, status=404, path="/v1/nothing"))
    before = series()
    for number in range(50):
        made_up = f"made-up-{number}"
        metrics.watch(
            entry(model=None, status=404, path=f"/v1/{made_up}", asked=made_up, flags=made_up)
        )
    assert series() == before


def test_the_state_of_upstreams_and_record_is_asked_at_each_collection():
    live = FakeLive({SMALL: FakeState(in_flight=3), LARGE: FakeState(resting_s=12.5)})
    record = FakeBuffer()
    metrics = Metrics(CollectorRegistry(), record=record)
    record.buffered, record.dropped = 7, 2
    found = samples(metrics, live)
    assert found["tryage_model_resting_seconds", SMALL] == 0
    assert found["tryage_model_resting_seconds", LARGE] == 12.5
    assert found["tryage_model_in_flight", SMALL] == 3
    assert found["tryage_record_buffered",] == 7
    assert found["tryage_record_dropped_total",] == 2
    assert ("tryage_saved_usd",) not in found
    live.now[LARGE].resting_s = 0
    assert samples(metrics, live)["tryage_model_resting_seconds", LARGE] == 0


def test_openmetrics_is_given_to_whom_it_is_known(metrics):
    metrics.watch(entry())
    text, media_type = metrics.exposition(accept="application/openmetrics-text; version=1.0.0")
    assert media_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")


def test_a_reference_without_prices_is_refused_at_the_start():
    unpriced = Library.of(["unpriced"])
    with pytest.raises(UsageError, match="no prices"):
        Metrics(CollectorRegistry(), reference="unpriced", library=unpriced)
