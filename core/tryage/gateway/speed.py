"""How fast and how reliable one upstream is of late, beside how it usually is."""

from __future__ import annotations

import math
from dataclasses import replace

from tryage.cards import ModelCard
from tryage.request import EXPECTED_OUTPUT_TOKENS

LATELY_S = 15.0
"""Half-life of what counts as lately: old news loses half its weight in this time."""

USUALLY_S = 600.0
"""Half-life of what counts as usual."""

SLOW, SLOW_BY_S = 3.0, 1.0
"""An upstream is slow that takes this many times as long as usual, and this much longer."""

KNOWN = 3.0
"""Answers after which it is known what is usual."""

_FEW, _SOME, _MANY = 4.0, 20.0, 100.0
"""Most answers that weigh in what is known of late, and of what is usual. Of the speed of late they
are few, so that a change shows."""

_RARE = 0.1
"""What a slow answer weighs in what is usual: a bad spell is not to become the norm, while a change
that lasts is."""

_FIRST_S, _TOKENS_PER_S = 0.7, 60.0
"""Taken for the speed of a model whose card is silent, until it has been measured."""


class _Mean:
    """An average in which the past fades with a half-life."""

    def __init__(self, half_life_s: float, most: float) -> None:
        self._half_life_s = half_life_s
        self._most = most
        self._sum = self._weight = self._at = 0.0

    def add(self, value: float, now: float, share: float = 1.0) -> None:
        total, weight = self.at(now)
        shrink = min(1.0, (self._most - share) / weight) if weight else 1.0
        self._sum, self._weight = total * shrink + share * value, weight * shrink + share
        self._at = now

    def at(self, now: float) -> tuple[float, float]:
        """Return the sum and the weight as they have faded until now."""
        kept: float = 0.5 ** ((now - self._at) / self._half_life_s)
        return self._sum * kept, self._weight * kept


class _Pace:
    """How long something takes, as the logarithm of its ratio to what a card says."""

    def __init__(self) -> None:
        self._lately = _Mean(LATELY_S, _FEW)
        self._usually = _Mean(USUALLY_S, _MANY)

    def add(self, ratio: float, now: float, *, slow: bool) -> None:
        self._lately.add(math.log(ratio), now)
        self._usually.add(math.log(ratio), now, _RARE if slow else 1.0)

    def known(self, now: float) -> bool:
        return self._usually.at(now)[1] >= KNOWN

    def seen(self) -> bool:
        return self._usually.at(0.0)[1] > 0

    def usually(self, now: float) -> float:
        total, weight = self._usually.at(now)
        return math.exp(total / weight) if weight > 0 else 1.0

    def lately(self, now: float, waiting: tuple[float, ...] = ()) -> float:
        """Return the ratio of late; without news it goes back to the usual one.

        Args:
            now: The time in seconds.
            waiting: Ratios that calls under way have reached already.
        """
        total, weight = self._lately.at(now)
        total += math.log(self.usually(now)) + sum(math.log(ratio) for ratio in waiting)
        return math.exp(total / (weight + 1 + len(waiting)))


class Speed:
    """How fast and how reliable one upstream is of late.

    Args:
        card: Its card, which tells the speed before anything has been measured.
    """

    def __init__(self, card: ModelCard) -> None:
        self._card = card
        self._first_s = _FIRST_S if card.first_token_s is None else max(card.first_token_s, 1e-3)
        self._token_s = 1 / (card.output_tokens_per_s or _TOKENS_PER_S)
        self._to_first = _Pace()
        self._to_end = _Pace()
        self._errors = _Mean(LATELY_S, _SOME)

    def started(self, seconds: float, now: float) -> bool:
        """Take note of the time to the first content; return whether it has become slow."""
        return self._took(self._to_first, seconds, self._first_s, now)

    def answered(self, seconds: float, tokens: int, now: float) -> bool:
        """Take note of the time to the end of an answer; return whether it has become slow."""
        self._errors.add(0.0, now)
        return self._took(self._to_end, seconds, self._first_s + tokens * self._token_s, now)

    def failed(self, now: float) -> None:
        """Take note of a failure."""
        self._errors.add(1.0, now)

    def is_late(self, first_waits: list[float], end_waits: list[float], now: float) -> bool:
        """Return whether calls under way show that it has become slow.

        Args:
            first_waits: Seconds that streams have waited for their first content.
            end_waits: Seconds that other calls have waited for their answer.
            now: The time in seconds.
        """
        whole_s = self._first_s + EXPECTED_OUTPUT_TOKENS * self._token_s
        return self._lags(self._to_first, first_waits, self._first_s, now) or self._lags(
            self._to_end, end_waits, whole_s, now
        )

    def error_rate(self, now: float) -> float:
        """Return the share of calls that fail of late; without news it goes back to 0."""
        total, weight = self._errors.at(now)
        return total / (weight + 1)

    def latency_s(self, now: float) -> float | None:
        """Return the seconds that an ordinary answer takes of late; `None` before the first."""
        if not self._to_end.seen():
            return None
        whole_s = self._first_s + EXPECTED_OUTPUT_TOKENS * self._token_s
        return whole_s * self._to_end.lately(now)

    def card(self, now: float) -> ModelCard:
        """Return the card with the speed of late in it, failures reckoned in.

        An upstream that fails half of the time costs a caller twice the time.
        """
        if not self._to_end.seen():
            return self._card
        to_end = self._to_end.lately(now)
        to_first = self._to_first.lately(now) if self._to_first.seen() else to_end
        worth = 1 - self.error_rate(now)
        return replace(
            self._card,
            first_token_s=self._first_s * to_first / worth,
            output_tokens_per_s=worth / (self._token_s * to_end),
        )

    def _took(self, pace: _Pace, seconds: float, expected_s: float, now: float) -> bool:
        """Return whether this one, and those of late together with it, were slow."""
        usual_s, ratio = expected_s * pace.usually(now), max(seconds, 1e-4) / expected_s
        slow = pace.known(now) and seconds > max(SLOW * usual_s, usual_s + SLOW_BY_S)
        late = slow and pace.lately(now, (ratio,)) > SLOW * pace.usually(now)
        pace.add(ratio, now, slow=slow)
        return late

    def _lags(self, pace: _Pace, waits: list[float], expected_s: float, now: float) -> bool:
        if not pace.known(now):
            return False
        usual_s = expected_s * pace.usually(now)
        late = tuple(wait / expected_s for wait in waits if wait > usual_s + SLOW_BY_S)
        return bool(late) and pace.lately(now, late) > SLOW * pace.usually(now)
