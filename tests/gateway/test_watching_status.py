"""The figures of the page: what is counted, for how long, how much is kept, and who may see it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient

from tests.gateway.page_server import Gateway
from tests.gateway.watched import (
    LARGE,
    MIDDLE,
    SMALL,
    FakeBuffer,
    FakeLive,
    FakeState,
    entry,
    library,
)
from tryage import Library, ModelCard
from tryage.gateway.entry import Try
from tryage.gateway.page.routes import routes
from tryage.gateway.page.status import MINUTES, Recent

NOON = datetime(2026, 5, 1, 12, 0, 30, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def on(self, **passed: float) -> None:
        self.now += timedelta(**passed)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def recent(clock):
    return Recent(reference=LARGE, library=library(), clock=clock)


def at(time, **fields):
    return entry(**fields | {"time": time})


def of_model(status, name):
    (found,) = [model for model in status["models"] if model["name"] == name]
    return found


def test_nothing_happened_yet(recent):
    status = recent.as_json()
    assert status["hour"] == {
        "requests": 0,
        "errors": 0,
        "refused": 0,
        "cost_usd": 0,
        "p50_s": None,
        "p99_s": None,
    }
    assert status["minutes"]["requests"] == [0] * MINUTES
    assert (status["models"], status["decisions"], status["record"]) == ([], [], None)


def test_requests_count_in_the_minute_of_their_arrival(recent, clock):
    recent.watch(at(clock.now - timedelta(minutes=2)))
    recent.watch(at(clock.now))
    recent.watch(at(clock.now, model=MIDDLE))
    minutes = recent.as_json()["minutes"]
    assert minutes["requests"][-3:] == [1, 0, 2]
    assert minutes["answered"] == {
        SMALL: [0] * 57 + [1, 0, 1],
        MIDDLE: [0] * 59 + [1],
    }


def test_after_an_hour_only_totals_remain(recent, clock):
    recent.watch(at(clock.now))
    clock.on(minutes=59)
    assert recent.as_json()["hour"]["requests"] == 1
    clock.on(minutes=1)
    status = recent.as_json()
    assert status["hour"]["requests"] == 0
    assert status["hour"]["p50_s"] is None
    assert of_model(status, SMALL)["p50_s"] is None
    assert status["total"]["requests"] == 1
    assert len(status["decisions"]) == 1


def test_the_record_can_come_first(recent, clock):
    days = timedelta(days=3)
    recent.watch(at(clock.now - days))
    recent.watch(at(clock.now - timedelta(minutes=5)))
    status = recent.as_json()
    assert status["total"]["since"] == (NOON - days).isoformat()
    assert status["total"]["requests"] == 2
    assert status["hour"]["requests"] == 1


def test_memory_is_bounded(recent, clock):
    for number in range(2500):
        clock.on(seconds=30)
        recent.watch(at(clock.now, number=number))
    assert len(recent._minutes) <= MINUTES
    status = recent.as_json()
    assert len(status["decisions"]) == 200
    assert status["hour"]["requests"] == 2 * MINUTES
    assert len(recent._latencies) == len(recent._model_latencies[SMALL]) == 1000


def test_those_without_a_key_push_nothing_out(recent, clock):
    recent.watch(at(clock.now))
    for _ in range(300):
        recent.watch(at(clock.now, model=None, status=401, error="invalid_api_key", decision={}))
    status = recent.as_json()
    assert [decision["status"] for decision in status["decisions"]] == [200]
    assert status["hour"]["refused"] == 300


def test_no_prompt_is_kept_and_long_names_are_cut(recent, clock):
    recent.watch(
        at(clock.now, prompt="secret", response="answer", asked="x" * 10_000, error="y" * 10_000)
    )
    text = json.dumps(recent.as_json())
    assert "secret" not in text
    assert 'answer"' not in text
    assert len(recent.as_json()["decisions"][0]["asked"]) == 200
    assert len(recent.as_json()["decisions"][0]["error"]) == 200
    assert all(kept.prompt is None for _, kept in recent._latest)


def test_what_a_cache_held_is_reckoned_at_its_price():
    card = ModelCard(
        name="m", input_usd_per_mtok=2, cached_input_usd_per_mtok=1, output_usd_per_mtok=2
    )
    status = Recent(reference="m", library=Library([card]))
    status.watch(entry(model="m", input_tokens=100, cached_input_tokens=90, output_tokens=10))
    assert status.as_json()["total"]["reference_usd"] == pytest.approx(0.00013)


def test_spend_and_saving_against_the_reference(recent, clock):
    for _ in range(2):
        recent.watch(at(clock.now, input_tokens=1000, output_tokens=200, cost_usd=0.00027))
    total = recent.as_json()["total"]
    assert total["cost_usd"] == pytest.approx(0.00054)
    assert (total["reference"], total["reference_usd"]) == (LARGE, pytest.approx(0.009))
    assert total["saved_usd"] == pytest.approx(0.009 - 0.00054)
    assert of_model(recent.as_json(), SMALL)["cost_usd"] == pytest.approx(0.00054)


def test_without_a_reference_nothing_is_said_of_savings(clock):
    recent = Recent(clock=clock)
    recent.watch(at(clock.now))
    total = recent.as_json()["total"]
    assert (total["reference"], total["saved_usd"]) == (None, None)


def test_an_answer_of_unknown_cost_is_said_to_be(recent, clock):
    recent.watch(at(clock.now, cost_usd=None, input_tokens=None, output_tokens=None))
    total = recent.as_json()["total"]
    assert (total["cost_usd"], total["unpriced"], total["saved_usd"]) == (0, 1, 0)


def test_latency_by_nearest_rank(recent, clock):
    for number in range(1, 101):
        recent.watch(at(clock.now, seconds=number / 100))
    hour = recent.as_json()["hour"]
    assert (hour["p50_s"], hour["p99_s"]) == (0.5, 0.99)


def test_a_models_latency_is_that_of_its_own_calls(recent, clock):
    tries = (Try(LARGE, 0.0, 5.0, "TimeoutError"), Try(SMALL, 5.0, 0.4, status=200))
    recent.watch(at(clock.now, seconds=5.4, tries=tries))
    status = recent.as_json()
    assert status["hour"]["p50_s"] == 5.4
    assert of_model(status, SMALL)["p50_s"] == 0.4
    assert of_model(status, LARGE)["p50_s"] is None


def test_errors_of_requests_and_of_calls(recent, clock):
    failed = Try(LARGE, 0.0, 0.2, "InternalServerError", 503)
    recent.watch(at(clock.now, tries=(failed, Try(SMALL, 0.2, 0.5))))
    recent.watch(at(clock.now, model=None, status=503, error="AllModelsFailed", tries=(failed,)))
    recent.watch(at(clock.now, error="StreamBroken"))  # a 200 that was cut off
    recent.watch(at(clock.now, model=None, status=401, error="invalid_api_key", tries=()))
    status = recent.as_json()
    assert status["hour"]["errors"] == 2
    assert status["hour"]["refused"] == 1
    assert status["minutes"]["errors"][-1] == 2
    large = of_model(status, LARGE)
    assert (large["tries"], large["failed"], large["answered"]) == (2, 2, 0)


@pytest.mark.parametrize("error", ["ClientGone", "Cancelled", "CancelledError"])
@pytest.mark.parametrize("status", [200, 499])
def test_a_call_that_nobody_waits_for_any_more_is_no_failure(recent, clock, error, status):
    recent.watch(at(clock.now, status=status, error=error, tries=(Try(SMALL, 0.0, 0.1, error),)))
    found = recent.as_json()
    assert (found["hour"]["errors"], of_model(found, SMALL)["failed"]) == (0, 0)
    assert (found["hour"]["p50_s"], of_model(found, SMALL)["p50_s"]) == (None, None)


def test_states_come_from_who_is_live_in_its_order(recent, clock):
    live = FakeLive(
        {
            LARGE: FakeState(resting_s=12.0),
            MIDDLE: FakeState(resting_s=3.0, in_flight=1),
            SMALL: FakeState(in_flight=2),
        }
    )
    recent.watch(at(clock.now))
    recent.watch(at(clock.now, model="gone"))
    models = recent.as_json(live)["models"]
    assert [(model["name"], model["state"]) for model in models] == [
        (LARGE, "resting"),
        (MIDDLE, "trying"),
        (SMALL, "up"),
        ("gone", "unknown"),
    ]
    assert [model["in_flight"] for model in models] == [0, 1, 2, 0]


def test_only_later_decisions_are_given_again(recent, clock):
    for number in range(5):
        recent.watch(at(clock.now, number=number))
    first = recent.as_json()["decisions"]
    assert [decision["number"] for decision in first] == [5, 4, 3, 2, 1]
    assert [decision["id"] for decision in recent.as_json(after=3)["decisions"]] == [
        "req-0004",
        "req-0003",
    ]
    assert recent.as_json(after=5)["decisions"] == []


def test_the_record_tells_what_waits(clock):
    record = FakeBuffer(buffered=3, dropped=1)
    status = Recent(record=record, clock=clock).as_json()
    assert status["record"] == {"buffered": 3, "dropped": 1}


# Over HTTP.


@pytest.fixture
def gateway():
    return Gateway()


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/page/style.css", "text/css; charset=utf-8"),
        ("/page/page.js", "text/javascript; charset=utf-8"),
        ("/page/dom.js", "text/javascript; charset=utf-8"),
        ("/page/icon.svg", "image/svg+xml"),
    ],
)
def test_the_page_is_open_and_may_load_nothing_from_elsewhere(gateway, path, media_type):
    gateway.key = "k"
    response = TestClient(gateway.app).get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == media_type
    assert response.headers["content-security-policy"].startswith("default-src 'self';")
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/v1/tryage/status", "/metrics"])
def test_figures_need_the_key_where_keys_are_required(gateway, path):
    gateway.key = "k"
    client = TestClient(gateway.app)
    assert client.get(path).status_code == 401
    assert client.get(path, headers={"authorization": "Bearer k"}).status_code == 200


def test_the_status_takes_up_where_the_page_is(gateway):
    for number in range(3):
        gateway.recent.watch(entry(number))
    client = TestClient(gateway.app)

    def numbers(query):
        response = client.get(f"/v1/tryage/status{query}")
        assert response.headers["cache-control"] == "no-store"
        return [decision["number"] for decision in response.json()["decisions"]]

    assert numbers("") == [3, 2, 1]
    assert numbers("?after=2") == [3]
    for nonsense in ("?after=x", "?after=-1", "?after=", f"?after={'9' * 5000}", "?after=²"):
        assert numbers(nonsense) == [3, 2, 1]


def test_metrics_are_served_as_prometheus_reads_them(gateway):
    gateway.metrics.watch(entry())
    gateway.live.now = {LARGE: FakeState(resting_s=4.5)}
    response = TestClient(gateway.app).get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    assert "tryage_requests_total{" in response.text
    assert f'tryage_model_resting_seconds{{model="{LARGE}"}} 4.5' in response.text


def test_only_what_is_switched_on_is_served(gateway):
    assert routes(None, None, None) == []
    paths = {route.path for route in routes(None, None, gateway.metrics)}
    assert paths == {"/metrics"}
    assert "/metrics" not in {route.path for route in routes(gateway.recent, None, None)}


def test_who_is_refused_learns_nothing(gateway):
    async def refuse(request):
        raise HTTPException(403)

    served = routes(gateway.recent, gateway.live, gateway.metrics, refuse)
    client = TestClient(Starlette(routes=served))
    gateway.recent.watch(entry())
    assert client.get("/v1/tryage/status").text == "Forbidden"
    assert client.post("/v1/tryage/status").status_code == 405
