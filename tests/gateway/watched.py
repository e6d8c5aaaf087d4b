"""What is watched in these tests: three priced models, entries, and fakes of what is asked live."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tryage import Library
from tryage.gateway.entry import Entry, Try

SMALL, MIDDLE, LARGE = "gpt-4o-mini", "gpt-4.1-mini", "gpt-4o"
QUALITY = {SMALL: 0.71, MIDDLE: 0.83, LARGE: 0.88}


@dataclass
class FakeState:
    resting_s: float = 0.0
    in_flight: int = 0


@dataclass
class FakeLive:
    now: dict[str, FakeState] = field(
        default_factory=lambda: {name: FakeState() for name in QUALITY}
    )

    def states(self) -> dict[str, FakeState]:
        return self.now


@dataclass
class FakeBuffer:
    buffered: int = 0
    dropped: int = 0


def library() -> Library:
    bundled = Library.bundled()
    return Library([bundled.find(name) for name in QUALITY])


def entry(number: int = 1, *, ago_s: float = 0.0, **fields: Any) -> Entry:
    """Return an ordinary entry: the small model answered what was asked of `tryage`."""
    model = fields.get("model", SMALL)
    defaults: dict[str, Any] = {
        "id": f"req-{number:04}",
        "time": datetime.now(UTC) - timedelta(seconds=ago_s),
        "path": "/v1/chat/completions",
        "asked": "tryage:cost=0.3",
        "flags": "cost=0.3",
        "status": 200,
        "model": SMALL,
        "decision": {
            "model": model,
            "decided": model,
            "quality": QUALITY.get(str(model), 0.5),
            "expected_cost_usd": 0.00021,
            "expected_latency_s": 0.9,
            "flags": {"cost": 0.3},
            "alternatives": [name for name in QUALITY if name != model],
        },
        "tries": () if model is None else (Try(model, 0.001, 0.74, status=200),),
        "decision_s": 0.000412,
        "first_token_s": 0.31,
        "seconds": 0.741,
        "input_tokens": 412,
        "output_tokens": 187,
        "cost_usd": 0.000174,
    }
    return Entry(**(defaults | fields))
