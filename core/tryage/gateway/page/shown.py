"""Entries and models as the page is told of them."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from tryage.gateway.entry import Entry
from tryage.gateway.watching import State

_LONGEST = 200


def shortened(entry: Entry) -> Entry:
    """Return the entry without prompts, and with what others make up cut to a bound."""
    return replace(
        entry,
        prompt=None,
        response=None,
        asked=entry.asked[:_LONGEST],
        flags=entry.flags[:_LONGEST],
        error=None if entry.error is None else entry.error[:_LONGEST],
    )


def decision_json(number: int, entry: Entry) -> dict[str, Any]:
    """Return an entry as plain JSON values; entries are numbered from 1."""
    return {
        "number": number,
        "id": entry.id,
        "time": entry.time.isoformat(),
        "path": entry.path,
        "asked": entry.asked,
        "flags": entry.flags,
        "stream": entry.stream,
        "status": entry.status,
        "error": entry.error,
        "model": entry.model,
        "decision": entry.decision,
        "tries": [asdict(attempt) for attempt in entry.tries],
        "decision_s": entry.decision_s,
        "first_token_s": entry.first_token_s,
        "seconds": entry.seconds,
        "input_tokens": entry.input_tokens,
        "output_tokens": entry.output_tokens,
        "cost_usd": entry.cost_usd,
    }


def state_json(state: State | None) -> dict[str, Any]:
    """Return how a model does; one that rests while a call to it is out is being tried."""
    if state is None:
        return {"state": "unknown", "resting_s": 0.0, "in_flight": 0}
    resting = "trying" if state.in_flight else "resting"
    return {
        "state": resting if state.resting_s > 0 else "up",
        "resting_s": state.resting_s,
        "in_flight": state.in_flight,
    }
