"""Traces in OpenTelemetry's conventions for generative AI, made from entries after the fact.

A request is a server span; each try of an upstream is a client span below it, named after the
operation and the model, as in `chat gpt-4o-mini`. Spans hold neither prompts nor answers.
"""

from __future__ import annotations

from datetime import datetime

from tryage.errors import MissingExtra
from tryage.gateway.entry import Entry, Try
from tryage.gateway.watching import call_failed, failed
from tryage.library import Library

try:
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import Span, SpanKind, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    from opentelemetry.util.types import AttributeValue
except ImportError as error:
    raise MissingExtra("traces need OpenTelemetry: pip install 'tryage[tracing]'.") from error

_OPERATIONS = {"/v1/chat/completions": "chat", "/v1/completions": "text_completion"}

# What the conventions call the providers of our cards, where the names differ.
_PROVIDERS = {
    "azure_openai": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "google_genai": "gcp.gemini",
    "google_vertexai": "gcp.vertex_ai",
    "ibm": "ibm.watsonx.ai",
    "mistralai": "mistral_ai",
    "xai": "x_ai",
}
_LONGEST = 512


def over_otlp(endpoint: str) -> TracerProvider:
    """Return a provider whose spans go to an OpenTelemetry collector, over HTTP, from a thread.

    Args:
        endpoint: The collector's address, such as `http://localhost:4318`; spans go to
            `/v1/traces` there.
    """
    address = endpoint.rstrip("/")
    if not address.endswith("/v1/traces"):
        address += "/v1/traces"
    provider = TracerProvider(
        resource=Resource.create({"service.name": "tryage"}),
        span_limits=SpanLimits(max_attribute_length=_LONGEST),  # what clients send may be long
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=address)))
    return provider


class Tracer:
    """Makes a trace of every entry, within the client's own where the client sent one.

    Args:
        provider: Where spans go, such as `over_otlp(endpoint)`; whoever made it shuts it down,
            which sends what still waits.
        library: The cards, which tell the models' providers.
    """

    def __init__(self, provider: trace.TracerProvider, library: Library) -> None:
        self._tracer = provider.get_tracer("tryage.gateway")
        self._library = library
        self._clients = TraceContextTextMapPropagator()

    def watch(self, entry: Entry) -> None:
        """Make the spans of one entry."""
        carrier = {} if entry.traceparent is None else {"traceparent": entry.traceparent}
        around = self._clients.extract(carrier, context=Context())
        span = self._tracer.start_span(
            f"POST {entry.path}",
            context=around,
            kind=SpanKind.SERVER,
            start_time=_ns(entry.time),
            attributes=_of_request(entry),
        )
        below = trace.set_span_in_context(span, Context())
        answered = _answered(entry)
        for attempt in entry.tries:
            self._try(entry, attempt, below, is_answer=attempt is answered)
        if failed(entry):  # a 4xx is no error of a server span, as the conventions have it
            span.set_status(StatusCode.ERROR)
        span.end(_ns(entry.time, entry.seconds))

    def _try(self, entry: Entry, attempt: Try, below: Context, *, is_answer: bool) -> None:
        operation = _OPERATIONS.get(entry.path, "chat")
        attributes: dict[str, AttributeValue] = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": self._provider(attempt.model),
            "gen_ai.request.model": attempt.model,
            "gen_ai.request.stream": entry.stream,
        }
        if attempt.error is not None:
            attributes["error.type"] = attempt.error
        if attempt.status is not None:
            attributes["http.response.status_code"] = attempt.status
        if is_answer:
            attributes |= _of_answer(entry, attempt)
        span: Span = self._tracer.start_span(
            f"{operation} {attempt.model}",
            context=below,
            kind=SpanKind.CLIENT,
            start_time=_ns(entry.time, attempt.started_s),
            attributes=attributes,
        )
        if call_failed(attempt):
            span.set_status(StatusCode.ERROR)
        span.end(_ns(entry.time, attempt.started_s + attempt.seconds))

    def _provider(self, model: str) -> str:
        """Return the convention's name of who serves a model; all speak OpenAI's API, at least."""
        provider = self._library.find(model).provider if model in self._library else None
        return "openai" if provider is None else _PROVIDERS.get(provider, provider)


def _of_request(entry: Entry) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue | None] = {
        "http.request.method": "POST",
        "http.route": entry.path,
        "url.path": entry.path,
        "http.response.status_code": entry.status,
        "error.type": entry.error,
        "gen_ai.request.model": entry.asked,
        "gen_ai.response.model": entry.model,
        "tryage.id": entry.id,
        "tryage.flags": entry.flags,
        "tryage.decided": entry.decision.get("decided"),
        "tryage.quality": entry.decision.get("quality"),
        "tryage.decision_s": entry.decision_s,
        "tryage.cost_usd": entry.cost_usd,
    }
    return {name: value for name, value in attributes.items() if value is not None}


def _of_answer(entry: Entry, attempt: Try) -> dict[str, AttributeValue]:
    """Return what only the try that answered has; tokens stand there once, to be summed."""
    first = None if entry.first_token_s is None else entry.first_token_s - attempt.started_s
    attributes: dict[str, AttributeValue | None] = {
        "gen_ai.response.model": attempt.model,
        "gen_ai.response.time_to_first_chunk": first if entry.stream else None,
        "gen_ai.usage.input_tokens": entry.input_tokens,
        "gen_ai.usage.output_tokens": entry.output_tokens,
    }
    return {name: value for name, value in attributes.items() if value is not None}


def _answered(entry: Entry) -> Try | None:
    """Return the last try of the model that answered."""
    return next((t for t in reversed(entry.tries) if t.model == entry.model), None)


def _ns(time: datetime, after_s: float = 0.0) -> int:
    return round((time.timestamp() + after_s) * 1e9)
