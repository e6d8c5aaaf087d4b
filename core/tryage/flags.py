"""The caller's wishes: weights and a worth in dollars (soft), and limits (hard)."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import date
from functools import lru_cache
from typing import Any

from tryage.cards import CAPABILITIES, SECURITY_LEVELS, Capability, Security
from tryage.errors import InvalidFlag

WEIGHTS = (
    "size",
    "cost",
    "latency",
    "recency",
    "security",
    "verbosity",
    "readability",
    "stickiness",
)
"""The soft wishes on a scale of [0, 1], in the order in which they are shown."""

_LEAST_WORTH_USD = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What the caller asks for, beside quality.

    A weight λ says how much predicted quality you give up to go from the worst eligible model to
    the best on that count: 0 ignores it, 0.1 breaks near-ties, 1 makes it matter as much as the
    whole range of quality. A worth says it in dollars: at `worth_usd=0.1` you give up 0.01 of
    predicted quality to save a tenth of a cent, on whatever models that is. For people a weight is
    the easier; for a budget a worth is the better, since one price of quality for all calls buys
    the most of it. A limit excludes every model that is not known to meet it.

    A flag that is `None` was not asked for; a weight of 0 was, and switches off a weaker wish
    when flags are merged, as a very large worth does.

    Attributes:
        size: Weight on fewer parameters.
        cost: Weight on a lower expected cost of this call.
        latency: Weight on a shorter expected time to the whole answer.
        recency: Weight on a later release.
        security: Weight on a more private place to run.
        verbosity: Weight on shorter answers.
        readability: Weight on answers that read more easily.
        stickiness: Weight on staying with the model of the turn before.
        worth_usd: What one right answer is worth, in USD, at least 1e-9: the expected cost of
            this call, divided by it, is taken from quality. Beside a weight on cost, both count.
        tolerance: Only models predicted within this much of the best eligible one, in [0, 1].
            With a weight on cost: the cheapest that is nearly as good.
        max_cost_usd: Highest expected cost of this call, in USD.
        max_latency_s: Longest expected time to the whole answer, in seconds.
        max_params: Most parameters, as a count.
        min_context_tokens: Smallest context window.
        released_after: Only models released after this day.
        min_security: Least private place allowed, one of `SECURITY_LEVELS`.
        require: Capabilities that a model must have, from `CAPABILITIES`.
        allow: Only these models, by name or alias.
        deny: Never these models, by name or alias.

    Raises:
        InvalidFlag: A value is out of range or of the wrong type.

    Example:
        >>> Flags(cost=0.3, require={"tools"}).weights
        {'cost': 0.3}
        >>> Flags.parse("smallest model; max cost $0.002; tools").max_cost_usd
        0.002
    """

    size: float | None = None
    cost: float | None = None
    latency: float | None = None
    recency: float | None = None
    security: float | None = None
    verbosity: float | None = None
    readability: float | None = None
    stickiness: float | None = None
    worth_usd: float | None = None
    tolerance: float | None = None
    max_cost_usd: float | None = None
    max_latency_s: float | None = None
    max_params: float | None = None
    min_context_tokens: int | None = None
    released_after: date | None = None
    min_security: Security | None = None
    require: frozenset[Capability] | None = None
    allow: frozenset[str] | None = None
    deny: frozenset[str] | None = None
    weights: dict[str, float] = field(init=False, repr=False, compare=False, hash=False)
    """What each term of the objective is multiplied by, where that is not zero; computed. Of
    `worth_usd` it is 1 / worth, the weight of a dollar."""

    def __post_init__(self) -> None:
        for name in (*WEIGHTS, *_NUMERIC_LIMITS):
            _check_number(name, getattr(self, name))
        _check_number("worth_usd", self.worth_usd, _LEAST_WORTH_USD)
        if self.tolerance is not None and self.tolerance > 1:
            raise InvalidFlag(f"tolerance={self.tolerance!r}: give a quality gap in [0, 1].")
        for name in ("require", "allow", "deny"):
            _set(self, name, _as_set(name, getattr(self, name)))
        for capability in self.require or ():
            _check_choice("require", capability, CAPABILITIES)
        if self.min_security is not None:
            _check_choice("min_security", self.min_security, SECURITY_LEVELS)
        if self.released_after is not None:
            _set(self, "released_after", _as_date(self.released_after))
        weights = {n: getattr(self, n) for n in WEIGHTS if getattr(self, n)}
        if self.worth_usd is not None:
            weights["worth_usd"] = 1 / self.worth_usd
        _set(self, "weights", weights)

    @classmethod
    def parse(cls, text: str) -> Flags:
        """Return the flags that a text asks for, parts separated by `;` or `,`.

        Args:
            text: For example `"smallest model; max cost $0.002; tools"` or `"cost=0.3"`; the
                words are listed in `tryage.flag_text`.

        Raises:
            UnknownFlag: A part is no flag; the message names the nearest.
            InvalidFlag: A flag has a value that it cannot have.
        """
        from tryage.flag_text import parse

        return parse(text)

    def merged(self, stronger: Flags | None) -> Flags:
        """Return these flags with every one that `stronger` sets put in its place.

        Example:
            >>> Flags(cost=0.3, size=0.1).merged(Flags(cost=0.5))
            Flags(size=0.1, cost=0.5)
        """
        return self if stronger is None else _merge(self, stronger)

    def given(self) -> dict[str, Any]:
        """Return the flags that were asked for, by name."""
        return {name: v for name in _NAMES if (v := getattr(self, name)) is not None}

    def as_json(self) -> dict[str, Any]:
        """Return the flags that were asked for, as plain JSON values."""
        return {name: _plain(value) for name, value in self.given().items()}

    def __repr__(self) -> str:
        return f"Flags({', '.join(f'{name}={value!r}' for name, value in self.given().items())})"


_NUMERIC_LIMITS = (
    "tolerance",
    "max_cost_usd",
    "max_latency_s",
    "max_params",
    "min_context_tokens",
)


@lru_cache(maxsize=1024)
def _merge(weaker: Flags, stronger: Flags) -> Flags:
    # Remembered, since a caller's few sets of flags meet on every call.
    return Flags(**(weaker.given() | stronger.given()))


_NAMES = tuple(f.name for f in fields(Flags) if f.init)


def as_flags(given: Flags | str | dict[str, Any] | None) -> Flags:
    """Return flags from flags, their text form, a dictionary of fields, or nothing.

    Raises:
        UnknownFlag: A name or a word is no flag.
        InvalidFlag: A value is out of range or of the wrong type.
    """
    if given is None:
        return Flags()
    if isinstance(given, Flags):
        return given
    if isinstance(given, str):
        return Flags.parse(given)
    if isinstance(given, dict):
        for name in given:
            if name not in _NAMES:
                from tryage.flag_text import unknown_flag

                raise unknown_flag(str(name))
        return Flags(**given)
    raise InvalidFlag(f"flags={given!r}: give Flags(...), a text, or a dictionary of flags.")


def _check_number(name: str, value: object, least: float = 0) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidFlag(f"{name}={value!r}: give a number, {least:g} or more.")
    if not least <= value < float("inf"):
        raise InvalidFlag(f"{name}={value!r}: give a finite number, {least:g} or more.")


def _check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InvalidFlag(f"{name}={value!r}: give one of {', '.join(allowed)}.")


def _as_set(name: str, value: object) -> frozenset[str] | None:
    if value is None:
        return None
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise InvalidFlag(f"{name}={value!r}: give a set of names, as in {name}={{'a', 'b'}}.")
    return frozenset(value)


def _as_date(value: object) -> date:
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise InvalidFlag(f"released_after={value!r}: give a day as YYYY-MM-DD.") from None


def _set(flags: Flags, name: str, value: object) -> None:
    object.__setattr__(flags, name, value)


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    return value.isoformat() if isinstance(value, date) else value
