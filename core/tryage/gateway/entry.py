"""What one request came to: the one thing that the record, the metrics and the page are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Try:
    """One call to an upstream.

    Attributes:
        model: The card's name.
        started_s: Seconds after the request arrived.
        seconds: How long it took, to its end or its failure.
        error: The class of its failure, and never its message, which may quote a key or a prompt.
        status: The upstream's HTTP status, where there was one.
    """

    model: str
    started_s: float
    seconds: float
    error: str | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One request that the gateway answered, well or badly.

    Attributes:
        id: Unique; the response header `x-tryage-id` holds it too.
        time: When it arrived, UTC.
        path: Such as `/v1/chat/completions`.
        asked: The `model` that the client sent, such as `tryage:cheapest`.
        flags: The flags that held, in their text form.
        stream: Whether the client asked for a stream.
        key: The id of the client's key; `None` where none is needed.
        status: The HTTP status of the response.
        error: The class of what went wrong; `None` where the answer is whole.
        model: The card's name of the model that answered; `None` where none did.
        decision: `Decision.summary`; empty where nothing was decided.
        tries: The calls to upstreams, in order.
        decision_s: Seconds spent on reading and deciding.
        first_token_s: Seconds from arrival to the first content for the client, where there was.
        seconds: From arrival to the end of the response.
        input_tokens: As the upstream counted them; `None` where it did not say.
        cached_input_tokens: Those of the prompt that the upstream's cache held.
        output_tokens: As the upstream counted them.
        cost_usd: What the answer cost; `None` where prices or tokens are not known.
        prompt: What was asked; only where keeping prompts is switched on.
        response: What was answered; likewise.
        traceparent: The client's header of that name (W3C Trace Context), as it came: the trace
            that this request is a part of.
    """

    id: str
    time: datetime
    path: str
    asked: str
    flags: str = ""
    stream: bool = False
    key: str | None = None
    status: int
    error: str | None = None
    model: str | None = None
    decision: dict[str, Any]
    tries: tuple[Try, ...] = ()
    decision_s: float = 0.0
    first_token_s: float | None = None
    seconds: float
    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    prompt: str | None = None
    response: str | None = None
    traceparent: str | None = None


Watcher = Callable[[Entry], None]
"""Told of every entry, on the event loop: it returns at once, and it never raises."""
