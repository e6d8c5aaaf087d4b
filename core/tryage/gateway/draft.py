"""What is known of one request so far; at its end it becomes the entry."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tryage.decision import Decision
from tryage.gateway.asked import Asked
from tryage.gateway.calls import Answered, Calls
from tryage.gateway.entry import Entry
from tryage.gateway.keeping import Pass
from tryage.gateway.replies import flags_text, routing_headers
from tryage.library import Library
from tryage.spend import Usage, cost_usd
from tryage.strategies import Outcome, report

GONE = 499
"""The status in the entry of a request whose client hung up; nobody is sent it."""


@dataclass(slots=True)
class Draft:
    """What is known of one request so far; see `Entry` for what is named alike.

    Attributes:
        library: The upstreams' cards when it arrived.
        clock: Gives the time in seconds.
        started: What the clock gave when it arrived.
        asked: What the client asks for, once it has been read.
        caller: Who asks, once that is known.
        admitted: The keeper's pass, once it was given.
        decision: What was decided, where the router was asked.
        calls: The calls to upstreams, once there are any.
        outcome: What they came to, once one has answered.
        usage: The tokens of the answer, once they were told.
        tokens: About how many tokens were answered, whether that was told or not.
    """

    library: Library
    clock: Callable[[], float] = time.monotonic
    started: float = field(init=False)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    time: datetime = field(default_factory=lambda: datetime.now(UTC))
    asked: Asked | None = None
    caller: Pass | None = None
    admitted: Pass | None = None
    decision: Decision | None = None
    calls: Calls | None = None
    outcome: Outcome[Answered] | None = None
    usage: Usage | None = None
    tokens: int = 0
    cost_usd: float | None = None
    error: str | None = None
    decision_s: float = 0.0
    first_token_s: float | None = None
    response: str | None = None
    traceparent: str | None = None

    def __post_init__(self) -> None:
        self.started = self.clock()

    def elapsed(self) -> float:
        """Return the seconds since the request arrived."""
        return self.clock() - self.started

    def count(self, usage: Usage | None, tokens: int) -> None:
        """Take note of the answer's tokens: those that were told, and about how many there were."""
        self.usage, self.tokens = usage, tokens
        self.cost_usd = self._cost_usd(usage)

    def spent(self) -> tuple[Usage | None, float | None]:
        """Return the tokens and the USD to settle, estimated where the upstream did not tell."""
        if self.usage is not None or self.asked is None or self.outcome is None:
            return self.usage, self.cost_usd
        estimate = Usage(self.asked.request.tokens.input, self.tokens)
        return estimate, self._cost_usd(estimate)

    def headers(self) -> dict[str, str]:
        """Return how the request was routed, as headers of the response."""
        own = {"x-tryage-id": self.id}
        if self.outcome is not None:
            tried, model = len(self.outcome.attempts), self.outcome.model
        elif self.calls is not None and self.calls.tries:
            tried, model = len(self.calls.tries), self.calls.tries[-1].model
        else:
            return own
        return own | routing_headers(self.decision, model, tried, self.cost_usd)

    def report(self) -> dict[str, Any]:
        """Return how the request was routed, for the body of the response."""
        outcome = self.outcome
        assert outcome is not None, "only what was answered can be reported"
        if self.decision is not None:
            return {"id": self.id, **report(self.decision, outcome, self.usage)}
        return {
            "id": self.id,
            "model": outcome.model,
            "cost_usd": self.cost_usd,
            "attempts": [
                {"model": tried.model, "error": tried.error} for tried in outcome.attempts
            ],
        }

    def _cost_usd(self, usage: Usage | None) -> float | None:
        if usage is None or self.outcome is None:
            return None
        return cost_usd(self.library.find(self.outcome.model), usage)

    def entry(self, path: str, status: int | None, *, keep_text: bool) -> Entry:
        """Return the entry, now that the request is over.

        Args:
            path: That was asked for.
            status: Of the response; `None` where none was begun.
            keep_text: Whether the prompt and the answer are kept.
        """
        asked, decision, seconds = self.asked, self.decision, self.elapsed()
        model = self.outcome.model if self.outcome else None
        return Entry(
            id=self.id,
            time=self.time,
            path=path,
            asked=asked.model if asked else "",
            flags=flags_text(decision.flags) if decision else "",
            stream=asked.stream if asked else False,
            key=self.caller.key if self.caller else None,
            status=GONE if status is None else status,
            error=self.error,
            model=model,
            decision=decision.summary(model) if decision else {},
            tries=tuple(tried.as_try(seconds) for tried in self.calls.tries) if self.calls else (),
            decision_s=self.decision_s,
            first_token_s=self.first_token_s,
            seconds=seconds,
            input_tokens=self.usage.input_tokens if self.usage else None,
            cached_input_tokens=self.usage.cached_input_tokens if self.usage else None,
            output_tokens=self.usage.output_tokens if self.usage else None,
            cost_usd=self.cost_usd,
            prompt=asked.request.text if asked and keep_text else None,
            response=self.response if keep_text else None,
            traceparent=self.traceparent,
        )
