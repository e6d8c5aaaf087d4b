"""One routed call: what was decided for it, and what it is for."""

from __future__ import annotations

from typing import Any, NamedTuple

from llamaindex_tryage.purposes import Purpose
from tryage import Decision, Usage
from tryage.strategies import Outcome, report


class RoutedCall(NamedTuple):
    """What was decided for a call, and what the call is for, where that is known."""

    decision: Decision
    purpose: Purpose | None

    def report(self, outcome: Outcome[Any], usage: Usage | None) -> dict[str, Any]:
        """Return what a response tells of how it was routed: `tryage.strategies.report` and more.

        Args:
            outcome: What carrying out the decision came to.
            usage: The tokens of the answer, where known.
        """
        return {**report(self.decision, outcome, usage), "purpose": self.purpose}
