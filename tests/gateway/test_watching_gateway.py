"""What watches, put together over the real gateway and a scripted upstream."""

from __future__ import annotations

import httpx
import pytest
from openai import InternalServerError

from tests.gateway.collector import Collector
from tests.gateway.serving import Served, upstreams
from tests.servers.scripted_upstream import ScriptedUpstream
from tryage import UsageError
from tryage.gateway.keeping import OpenDoor
from tryage.gateway.refusals import Refused
from tryage.gateway.settings import Settings
from tryage.gateway.watchers import Watching

ASKED = [{"role": "user", "content": "Why is the sky blue?"}]
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Locked(OpenDoor):
    """The keeper of a key that may call, and may not see how the gateway does."""

    def check(self, caller, scope, model=None):
        if scope == "admin":
            raise Refused(403, "not_allowed", "this key has no scope admin.")


@pytest.fixture
def upstream():
    with ScriptedUpstream() as running:
        yield running


@pytest.fixture
def serve(upstream):
    """Returns a function that serves a gateway that is watched as `[watch]` says."""
    running = []

    def make(watch=None, **options):
        parts = {
            "server": {"reference": "gpt-4o"},
            "watch": watch or {},
            "upstreams": upstreams(upstream.base_url),
        }
        watching = Watching(Settings.model_validate(parts))
        served = Served(parts, routes=watching.routes, resources=watching.resources, **options)
        served.gateway.watchers = [*watching.watchers, *served.gateway.watchers]
        running.append(served.__enter__())
        return served

    yield make
    for served in running:
        served.__exit__()


def test_a_request_shows_in_the_status_and_in_the_metrics(serve, upstream):
    upstream.behave("first", "status", status=500)
    served = serve()
    served.client().chat.completions.create(model="tryage", messages=ASKED)
    served.wait_for(1)
    status = httpx.get(f"{served.url}/v1/tryage/status").json()
    (decision,) = status["decisions"]
    assert (decision["model"], decision["decision"]["decided"]) == ("second", "first")
    assert [attempt["model"] for attempt in decision["tries"]] == ["first", "second"]
    assert [(m["name"], m["state"]) for m in status["models"]][:2] == [
        ("first", "resting"),
        ("second", "up"),
    ]
    assert status["total"]["saved_usd"] > 0
    metrics = httpx.get(f"{served.url}/metrics").text
    assert 'tryage_requests_total{model="second",path="/v1/chat/completions",status="200"} 1.0' in (
        metrics
    )
    assert 'tryage_model_resting_seconds{model="second"} 0.0' in metrics
    assert "process_resident_memory_bytes" in metrics


def test_a_request_that_no_model_answers_is_an_error(serve, upstream):
    for name in ("first", "second", "third"):
        upstream.behave(name, "status", status=500)
    served = serve()
    with pytest.raises(InternalServerError):
        served.client().chat.completions.create(model="tryage", messages=ASKED)
    served.wait_for(1)
    status = httpx.get(f"{served.url}/v1/tryage/status").json()
    assert status["hour"]["errors"] == 1
    assert [model["failed"] for model in status["models"]] == [1, 1, 1]


def test_the_page_is_open_and_its_figures_are_not(serve):
    served = serve(keeper=Locked())
    assert httpx.get(served.url).status_code == 200
    for path in ("/v1/tryage/status", "/metrics"):
        refused = httpx.get(served.url + path)
        assert refused.status_code == 403
        assert refused.json()["error"]["message"] == "this key has no scope admin."


def test_the_spans_of_a_request_are_in_the_clients_trace_and_sent_before_the_end(
    serve, upstream, monkeypatch
):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    upstream.behave("first", "status", status=500)
    with Collector() as collector:
        served = serve({"otlp_endpoint": collector.address})
        client = served.client(default_headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
        client.chat.completions.create(model="tryage", messages=ASKED)
        served.wait_for(1)
        served.__exit__()
    failed, answered, request = collector.spans
    assert (failed.name, answered.name) == ("chat first", "chat second")
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
    assert request.parent_span_id.hex() == PARENT
    assert {failed.parent_span_id, answered.parent_span_id} == {request.span_id}
    sent = b"".join(span.SerializeToString() for span in collector.spans)
    assert ASKED[0]["content"].encode() not in sent


def test_what_is_switched_off_is_not_served(serve):
    served = serve({"page": False, "metrics": False})
    for path in ("/", "/page/page.js", "/v1/tryage/status", "/metrics"):
        assert httpx.get(served.url + path).status_code == 404


def test_a_reference_without_prices_is_refused_at_the_start():
    parts = {
        "server": {"reference": "local"},
        "upstreams": [{"name": "local", "base_url": "http://127.0.0.1:1/v1"}],
    }
    with pytest.raises(UsageError, match="no prices"):
        Watching(Settings.model_validate(parts))
