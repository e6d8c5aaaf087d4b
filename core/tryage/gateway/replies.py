"""What goes back to the client: the upstream's answer as it came, and how it was routed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tryage.decision import Decision
from tryage.errors import AllModelsFailed
from tryage.failures import Verdict, judge, retry_after_s
from tryage.flags import Flags
from tryage.gateway import jsons
from tryage.gateway.exchange import RawHeaders, raw_headers
from tryage.gateway.refusals import Refused
from tryage.gateway.sse import event_of
from tryage.gateway.upstream_errors import ErrorTold, NoRoom

_OURS = {
    # Of one connection only (RFC 9110, 7.6.1), or about bytes that we have decoded.
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
    "te", "trailer", "transfer-encoding", "upgrade", "content-length", "content-encoding",
    # Of one server only.
    "date", "server", "set-cookie", "alt-svc", "strict-transport-security",
}  # fmt: skip
_FORWARDED = ("accept", "user-agent", "openai-beta", "traceparent", "tracestate")


def forwarded(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a client that an upstream gets to see; its key is not among them."""
    return {name: headers[name] for name in _FORWARDED if name in headers}


def headers_from(upstream: Iterable[tuple[str, str]], ours: Mapping[str, str]) -> RawHeaders:
    """Return an upstream's headers as they came, and ours."""
    passed = [
        (name.lower().encode(), value.encode("utf-8", "surrogateescape"))
        for name, value in upstream
        if name.lower() not in _OURS and not name.lower().startswith("x-tryage-")
    ]
    return passed + raw_headers(ours)


def routing_headers(
    decision: Decision | None, model: str, attempts: int, cost_usd: float | None = None
) -> dict[str, str]:
    """Return how a request was routed, as headers."""
    found = {"x-tryage-model": model, "x-tryage-attempts": str(attempts)}
    if decision is not None:
        quality = decision.quality[decision.library.position(model)]
        found["x-tryage-decided"] = decision.model
        found["x-tryage-quality"] = f"{float(quality):.4f}"
        if decision.flags.given():
            found["x-tryage-flags"] = flags_text(decision.flags)
    if cost_usd is not None:
        found["x-tryage-cost-usd"] = f"{cost_usd:.9f}".rstrip("0").rstrip(".")
    return found


def flags_text(flags: Flags) -> str:
    """Return flags in the text form that `Flags.parse` reads.

    Example:
        >>> flags_text(Flags(cost=0.3, require={"tools"}, max_latency_s=20))
        'cost=0.3; max_latency_s=20; require=tools'
    """
    parts: list[str] = []
    for name, value in flags.as_json().items():
        values = value if isinstance(value, list) else [value]
        parts += [f"{name}={v}" for v in values]
    return "; ".join(parts)


def with_report(body: bytes, report: Mapping[str, Any]) -> bytes:
    """Return the JSON object of an answer with one more key, its other bytes as they came."""
    end = body.rindex(b"}")
    return body[:end] + b',"tryage":' + jsons.dumps(report) + body[end:]


def report_chunk(last: Mapping[str, Any], report: Mapping[str, Any]) -> bytes:
    """Return the event that reports how a stream was routed, in the frame of its last chunk."""
    frame = {name: last[name] for name in ("id", "object", "created", "model") if name in last}
    return event_of({**frame, "choices": [], "tryage": report})


def broken_stream(model: str, error: BaseException) -> bytes:
    """Return the event that tells a client honestly that a stream broke off."""
    message = f"the answer of {model} broke off ({type(error).__name__}); what came is not whole."
    return event_of(Refused(502, "stream_broken", message).as_json())


def returned(failed: AllModelsFailed, *, chosen: bool) -> ErrorTold | None:
    """Return the upstream's own answer that tells a client best why no model answered, if any.

    Args:
        failed: What came of asking all models.
        chosen: Whether the client named the model itself, and so expects that model's errors.
    """
    causes = failed.exceptions
    first = next((cause for cause in causes if isinstance(cause, ErrorTold)), None)
    if first is None or first.response.status < 400:
        return None
    fits = all(judge(cause) is Verdict.FIT and not isinstance(cause, NoRoom) for cause in causes)
    return first if chosen or fits else None


def refusal_of_all(failed: AllModelsFailed, resting: Mapping[str, float]) -> Refused:
    """Return what a client is told when no model answered.

    Args:
        failed: What came of asking all models.
        resting: Seconds of rest left for the models that could have answered.
    """
    causes = failed.exceptions
    waits = [_wait_s(cause) for cause in causes]
    if all(wait is not None for wait in waits):
        message = "every model that could answer is at its rate limit; ask again later."
        wait = min(wait for wait in waits if wait is not None)
        return Refused(429, "rate_limit_exceeded", message, retry_after_s=max(wait, 1.0))
    names = ", ".join(sorted({type(cause).__name__ for cause in causes}))
    message = f"no model answered: {len(causes)} failed ({names}); ask again later."
    if len(resting) >= len(causes):
        return Refused(503, "all_models_failed", message, retry_after_s=min(resting.values()))
    return Refused(502, "all_models_failed", message)


def _wait_s(cause: Exception) -> float | None:
    """Return how long to wait where a cause is a rate limit; else `None`."""
    if isinstance(cause, NoRoom):
        return cause.retry_after_s
    if isinstance(cause, ErrorTold) and cause.status_code == 429:
        return retry_after_s(cause) or 1.0
    return None
