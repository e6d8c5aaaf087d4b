"""Who is up: a circuit breaker for each model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class _Trouble:
    """A model's failures in a row, until when it rests, and whether one call is out to try it."""

    failures: int = 0
    until: float = 0.0
    on_trial: bool = False


class CircuitBreaker:
    """Remembers which models failed of late, so that they are left in peace for a while.

    A failure rests a model. When the rest is over one call is let through to try, and the others
    pass by until it has come back; if it fails, too, the next rest is twice as long. Calls that
    were under way together and fail together count once. A success forgets everything. Safe to
    share between threads, routers and event loops.

    Args:
        first_rest_s: Seconds of rest after the first failure, above 0.
        longest_rest_s: Longest rest in seconds.
        clock: Gives the time in seconds; never runs backwards.

    Example:
        >>> breaker = CircuitBreaker()
        >>> breaker.failed("small")
        >>> breaker.ready("small"), breaker.ready("large")
        (False, True)
    """

    def __init__(
        self,
        *,
        first_rest_s: float = 5.0,
        longest_rest_s: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.first_rest_s = first_rest_s
        self.longest_rest_s = longest_rest_s
        self._clock = clock
        self._lock = threading.Lock()
        self._troubles: dict[str, _Trouble] = {}

    def ready(self, model: str) -> bool:
        """Return whether to call the model now; where it has rested, only the first who asks."""
        if model not in self._troubles:  # the ordinary case, without the lock
            return True
        with self._lock:
            trouble = self._troubles.get(model)
            if trouble is None:
                return True
            now = self._clock()
            if now < trouble.until:
                return False
            # Whoever asks next waits for this trial; should it never report, only for a rest.
            trouble.until = now + self._rest(trouble.failures)
            trouble.on_trial = True
            return True

    def failed(self, model: str, rest_s: float | None = None) -> None:
        """Rest the model.

        Args:
            model: The one that failed.
            rest_s: Seconds that the provider asked to wait, if it did; cut at the longest rest.
        """
        with self._lock:
            trouble = self._troubles.setdefault(model, _Trouble())
            now = self._clock()
            if trouble.on_trial or now >= trouble.until:  # else it was under way before the rest
                trouble.failures += 1
                trouble.until = now + self._rest(trouble.failures)
                trouble.on_trial = False
            if rest_s is not None:
                trouble.until = max(trouble.until, now + min(rest_s, self.longest_rest_s))

    def succeeded(self, model: str) -> None:
        """Forget the model's failures."""
        if model in self._troubles:
            with self._lock:
                self._troubles.pop(model, None)

    def resting(self) -> dict[str, float]:
        """Return the seconds of rest left, by model."""
        with self._lock:
            now = self._clock()
            left = {model: trouble.until - now for model, trouble in self._troubles.items()}
        return {model: seconds for model, seconds in left.items() if seconds > 0}

    def _rest(self, failures: int) -> float:
        doublings = min(failures - 1, 30)  # past this, 2.0**n only overflows
        return float(min(self.first_rest_s * 2.0**doublings, self.longest_rest_s))

    def __repr__(self) -> str:
        return f"CircuitBreaker(resting={sorted(self.resting())})"
