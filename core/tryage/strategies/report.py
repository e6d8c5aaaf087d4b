"""What a response tells of how it was routed."""

from __future__ import annotations

from typing import Any

from tryage.decision import Decision
from tryage.spend import Usage, cost_usd
from tryage.strategies.base import Outcome


def report(decision: Decision, outcome: Outcome[Any], usage: Usage | None = None) -> dict[str, Any]:
    """Return what was decided and what was tried, as plain values for a response's metadata.

    Args:
        decision: What was decided.
        outcome: What carrying it out came to; of an error it holds the class, never the message,
            which may quote a key or a prompt.
        usage: The tokens of the answer, where known.

    Returns:
        `Decision.summary` of the model that answered; under `cost_usd` what its answer cost, or
        `None` where prices or tokens are not known; and under `attempts` one dictionary with
        `model` and `error` for each call that was made.
    """
    tried = [{"model": attempt.model, "error": attempt.error} for attempt in outcome.attempts]
    cost = None if usage is None else cost_usd(decision.library.find(outcome.model), usage)
    return {
        **decision.summary(answered_by=outcome.model),
        "cost_usd": cost,
        "attempts": tried,
    }
