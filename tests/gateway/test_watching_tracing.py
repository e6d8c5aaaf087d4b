"""Traces: one server span for a request, a client span for each try, and no prompt in any."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tests.gateway.collector import Collector
from tests.gateway.watched import LARGE, SMALL, entry, library
from tryage import Library, ModelCard
from tryage.gateway.entry import Try
from tryage.gateway.tracing import Tracer, over_otlp

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def collector(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Collector() as running:
        yield running


@pytest.fixture
def trace_of(exporter):
    """Returns the server span and the client spans that an entry makes."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    def make(entry, cards=None):
        exporter.clear()
        Tracer(provider, cards or library()).watch(entry)
        *tries, request = exporter.get_finished_spans()
        return request, tries

    yield make
    provider.shutdown()


def test_an_answer_is_a_server_span_with_a_client_span_below(trace_of):
    request, (call,) = trace_of(entry(tries=(Try(SMALL, 0.001, 0.74, status=200),)))
    assert (request.name, request.kind) == ("POST /v1/chat/completions", SpanKind.SERVER)
    assert (call.name, call.kind) == (f"chat {SMALL}", SpanKind.CLIENT)
    assert call.parent.span_id == request.context.span_id
    assert call.context.trace_id == request.context.trace_id
    assert request.parent is None
    assert {span.status.status_code for span in (request, call)} == {StatusCode.UNSET}


def test_the_attributes_are_those_of_the_conventions(trace_of):
    tried = (Try(SMALL, 0.1, 0.6, status=200),)
    request, (call,) = trace_of(entry(tries=tried, stream=True, first_token_s=0.3))
    assert dict(call.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": SMALL,
        "gen_ai.request.stream": True,
        "gen_ai.response.model": SMALL,
        "gen_ai.response.time_to_first_chunk": pytest.approx(0.2),
        "gen_ai.usage.input_tokens": 412,
        "gen_ai.usage.output_tokens": 187,
        "http.response.status_code": 200,
    }
    expected = {
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "gen_ai.request.model": "tryage:cost=0.3",
        "gen_ai.response.model": SMALL,
        "tryage.decided": SMALL,
        "tryage.quality": 0.71,
        "tryage.flags": "cost=0.3",
    }
    assert expected.items() <= dict(request.attributes).items()
    assert "gen_ai.usage.input_tokens" not in request.attributes  # else sums count it twice


def test_the_times_are_the_entrys(trace_of):
    watched = entry(seconds=0.9, tries=(Try(LARGE, 0.1, 0.2, "TimeoutError"), Try(SMALL, 0.3, 0.5)))
    request, (first, second) = trace_of(watched)
    arrived = round(watched.time.timestamp() * 1e9)

    def after_ms(span):
        return [round((time - arrived) / 1e6) for time in (span.start_time, span.end_time)]

    assert after_ms(request) == [0, 900]
    assert after_ms(first) == [100, 300]
    assert after_ms(second) == [300, 800]


def test_a_failed_try_has_its_error_and_only_the_answer_has_tokens(trace_of):
    tries = (Try(LARGE, 0.0, 0.2, "InternalServerError", 503), Try(SMALL, 0.2, 0.5, status=200))
    request, (failed, answered) = trace_of(entry(tries=tries))
    assert failed.attributes["error.type"] == "InternalServerError"
    assert failed.attributes["http.response.status_code"] == 503
    assert failed.status.status_code is StatusCode.ERROR
    assert "gen_ai.usage.input_tokens" not in failed.attributes
    assert answered.attributes["gen_ai.usage.input_tokens"] == 412
    assert request.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (503, "AllModelsFailed", StatusCode.ERROR),
        (200, "StreamBroken", StatusCode.ERROR),
        (401, "Refused", StatusCode.UNSET),  # the client's fault is no error of a server span
        (200, "ClientGone", StatusCode.UNSET),
        (200, None, StatusCode.UNSET),
    ],
)
def test_a_request_is_an_error_where_the_fault_is_not_the_clients(trace_of, status, error, code):
    request, _ = trace_of(entry(status=status, error=error))
    assert request.status.status_code is code
    assert request.attributes.get("error.type") == error


def test_a_call_that_was_cancelled_is_no_error(trace_of):
    _, (call,) = trace_of(entry(tries=(Try(SMALL, 0.0, 0.1, "CancelledError"),)))
    assert call.attributes["error.type"] == "CancelledError"
    assert call.status.status_code is StatusCode.UNSET


def test_the_clients_trace_goes_on(trace_of):
    request, (call,) = trace_of(entry(traceparent=f"00-{TRACE}-{PARENT}-01"))
    assert f"{request.context.trace_id:032x}" == TRACE
    assert f"{request.parent.span_id:016x}" == PARENT
    assert f"{call.context.trace_id:032x}" == TRACE


def test_a_trace_that_the_client_does_not_keep_is_not_kept_here(trace_of, exporter):
    with pytest.raises(ValueError, match="not enough values"):
        trace_of(entry(traceparent=f"00-{TRACE}-{PARENT}-00"))
    assert exporter.get_finished_spans() == ()


@pytest.mark.parametrize("bad", ["", "nonsense", f"00-{TRACE}-0000000000000000-01", "00-\r\n-01"])
def test_a_malformed_parent_starts_a_new_trace(trace_of, bad):
    request, _ = trace_of(entry(traceparent=bad))
    assert request.parent is None


def test_completions_have_their_own_operation(trace_of):
    _, (call,) = trace_of(entry(path="/v1/completions"))
    assert call.name == f"text_completion {SMALL}"
    assert call.attributes["gen_ai.operation.name"] == "text_completion"


@pytest.mark.parametrize(
    ("provider", "called"),
    [("mistralai", "mistral_ai"), ("google_genai", "gcp.gemini"), ("cohere", "cohere"),
     (None, "openai")],
)  # fmt: skip
def test_providers_are_called_as_the_conventions_call_them(trace_of, provider, called):
    cards = Library([ModelCard(name=SMALL, provider=provider)])
    _, (call,) = trace_of(entry(), cards)
    assert call.attributes["gen_ai.provider.name"] == called


def test_no_span_holds_a_prompt(trace_of):
    request, tries = trace_of(entry(prompt="my secret", response="the answer"))
    text = "".join(span.to_json() for span in (request, *tries))
    assert "my secret" not in text
    assert "the answer" not in text


@pytest.mark.parametrize("suffix", ["", "/", "/v1/traces"])
def test_spans_reach_a_collector_over_http(suffix, collector):
    provider = over_otlp(collector.address + suffix)
    Tracer(provider, library()).watch(entry(asked="x" * 100_000))
    provider.shutdown()
    assert collector.paths == ["/v1/traces"]
    call, request = collector.spans
    assert (call.name, request.name) == (f"chat {SMALL}", "POST /v1/chat/completions")
    assert max(len(a.value.string_value) for a in request.attributes) < 1000  # asked is cut
