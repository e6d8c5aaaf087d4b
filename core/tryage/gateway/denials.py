"""What clients are told whose key is wrong, may not do this, or has nothing left."""

from __future__ import annotations

from tryage.gateway.allowance import Over
from tryage.gateway.keys import NANO, Key
from tryage.gateway.refusals import Refused

_DAY_S = 86_400


def no_key() -> Refused:
    """Return what is told to those who send no key."""
    return Refused(
        401,
        "invalid_api_key",
        "no key was given; send the header 'Authorization: Bearer try-...'. Whoever runs this "
        "gateway can make one: tryage keys add NAME.",
    )


def unknown_key() -> Refused:
    """Return what is told to those who send a key that is not good."""
    return Refused(
        401,
        "invalid_api_key",
        "the key is not known here, or was revoked; ask whoever runs this gateway for another.",
    )


def no_admin(key: Key) -> Refused:
    """Return what is told to a key that asks for the page's data or the metrics."""
    return Refused(
        403,
        "admin_needed",
        f"the key {key.name!r} may call models, and not see how the gateway does; use a key that "
        "was made with --admin.",
    )


def no_such_model(key: Key, model: str) -> Refused:
    """Return what is told to a key that asks for a model that is not for it."""
    return Refused(
        403,
        "model_not_allowed",
        f"the key {key.name!r} may not ask for {model!r}; it may ask for "
        f"{', '.join(key.models or ())}.",
        param="model",
    )


def used_up(key: Key, over: Over, now: float) -> Refused:
    """Return what a request is told that a limit leaves no room for.

    Args:
        key: Whose limit it is.
        over: Which one, and what is used so far.
        now: Seconds since 1970.
    """
    limits, use = key.limits, over.spent.use
    to_midnight = _DAY_S - now % _DAY_S
    if over.limit == "nano_usd_per_day":
        return Refused(
            402,
            "budget_used_up",
            f"the key {key.name!r} has used ${use.nano_usd / NANO:.6g} of its "
            f"${(limits.nano_usd_per_day or 0) / NANO:.6g} for today, running requests included; "
            f"the next day begins in {to_midnight / 3600:.1f} h (00:00 UTC).",
        )
    so_far, unit, wait = {
        "requests_per_minute": (limits.requests_per_minute, "requests a minute", 60 - now % 60),
        "requests_per_day": (limits.requests_per_day, "requests a day", to_midnight),
        "tokens_per_day": (limits.tokens_per_day, "tokens a day", to_midnight),
    }[over.limit]
    used = f", {use.tokens} of them used," if over.limit == "tokens_per_day" else ""
    return Refused(
        429,
        "rate_limit_exceeded",
        f"the key {key.name!r} has a limit of {so_far} {unit}{used} which leaves no room for this "
        f"request; ask again in {wait:.0f} s.",
        retry_after_s=wait,
    )
