"""The objective: constraint functions C_j, limits, and `choose`.

    M*(x) = argmin_i [ 1 − q̂_i(x) + Σ_j λ_j · C_j(i) ]

over the models that meet every limit (Hari and Thomson, 2023, arXiv 2308.11601, with the
normalisation of C_j ours). C_j is scaled to [0, 1] over the eligible models, 0 the best and 1 the
worst; the scale is logarithmic for size, cost and latency. Where a card is silent, C_j is 1:
nobody can promise that an unpriced model is cheap. If all are silent, all are 1, and the term
decides nothing.

For `worth_usd`, C is the expected cost in USD as it stands, and λ = 1 / worth: of all rules that
spend as much in expectation, the one that goes by quality minus cost over a single worth has the
most expected quality (λ is the budget's Lagrange multiplier). An unpriced model costs as much as
the dearest eligible one with a price: what a C_j of 1 says of it.

A limit that a card cannot prove excludes the model; a capability that the call itself needs
excludes only models whose card says that they lack it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tryage.cards import CAPABILITIES, SECURITY_LEVELS, Capability, ModelCard
from tryage.decision import Decision, Exclusion, explain
from tryage.errors import InvalidPrediction, NoEligibleModel
from tryage.expectations import Expectations
from tryage.flags import Flags
from tryage.library import Library
from tryage.request import Request

FloatArray = NDArray[np.float64]

SURELY = 0.8
"""Tokens are estimated: a window is too small only if it is under this share of the estimate."""

# Below these, differences stop to matter; they also keep a free model off log(0).
_FLOORS = {"size": 1e5, "cost": 1e-7, "latency": 1e-3}


def choose(
    quality: NDArray[np.floating[Any]], cards: Library, flags: Flags, request: Request
) -> Decision:
    """Return the decision for one request; pure, so the same arguments decide the same.

    Args:
        quality: Predicted quality of each model, (n_models,) in [0, 1], in the library's order.
        cards: The models to choose from.
        flags: Weights and limits; flags on the request are the router's to merge, not read here.
        request: What the call is and needs.

    Returns:
        The eligible model of least objective; ties go to the one that stands first in the library.
        While a model waits for the results of its tools it is kept, and the others stand by.

    Raises:
        InvalidPrediction: `quality` has another shape, or holds NaN or a value outside [0, 1].
        NoEligibleModel: The limits exclude every model; names each one's reason.
        UnknownModel: `allow` or `deny` names a model that the library does not hold.

    Example:
        >>> library = Library([ModelCard(name="small", parameters=1e9),
        ...                    ModelCard(name="large", parameters=70e9)])
        >>> request = Request.from_prompt("Hello")
        >>> choose(np.array([0.8, 0.9]), library, Flags(), request).model
        'large'
        >>> choose(np.array([0.8, 0.9]), library, Flags(size=0.3), request).model
        'small'
    """
    _check(quality, cards)
    expected = Expectations(cards, request.tokens)
    exclusions = _limits(cards, flags, request, expected)
    eligible = _eligible(exclusions)
    kept = _in_tool_loop(cards, request, eligible)
    if flags.tolerance is not None and (eligible is None or np.count_nonzero(eligible)):
        exclusions.append(_tolerance(quality, eligible, flags.tolerance, kept))
        eligible = _eligible(exclusions)
    if eligible is not None and not np.count_nonzero(eligible):
        raise NoEligibleModel({e.model: e.reason for e in explain(cards, exclusions)})
    terms: dict[str, FloatArray] = {}
    objective = 1.0 - quality.astype(np.float64)
    for name, weight in flags.weights.items():
        if name == "stickiness" and request.previous not in cards:
            continue
        terms[name] = _constraint(name, expected, request, eligible)
        objective += weight * terms[name]
    if eligible is not None:
        objective[~eligible] = np.inf
    best = int(objective.argmin()) if kept is None else kept
    return Decision(
        model=cards.names[best],
        flags=flags,
        expected=expected,
        quality=quality,
        terms=terms,
        objective=objective,
        exclusions=tuple(exclusions),
        kept=kept is not None,
    )


def _check(quality: NDArray[np.floating[Any]], cards: Library) -> None:
    if quality.shape != (len(cards),):
        raise InvalidPrediction(
            f"the predictor answered with the shape {quality.shape}; "
            f"({len(cards)},) is wanted, one quality for each model of the library."
        )
    # Both find a NaN before any number, and it compares false with everything.
    if not (quality[quality.argmin()] >= 0 and quality[quality.argmax()] <= 1):
        worst = int(np.flatnonzero(~((quality >= 0) & (quality <= 1)))[0])
        raise InvalidPrediction(
            f"the predictor gave {cards.names[worst]!r} the quality {quality[worst]!s}; "
            "a number in [0, 1] is wanted. Check its weights, or train it again."
        )


# Constraint functions: the lower, the better; NaN where the card is silent.


def _constraint(
    name: str, expected: Expectations, request: Request, eligible: NDArray[np.bool_] | None
) -> FloatArray:
    """Return C_j (n_models,), scaled to [0, 1] over the eligible models; in USD for a worth."""
    cards = expected.cards
    if name == "cost":
        return _scale(_log(name, expected.cost_usd), eligible)
    if name == "worth_usd":
        return _dollars(expected.cost_usd, eligible)
    if name == "latency":
        return _scale(_log(name, expected.latency_s), eligible)
    if name == "stickiness":
        moved = np.ones(len(cards))
        moved[cards.position(str(request.previous))] = 0.0
        return moved
    raw = cards.column(f"C_{name}", _OF_CARD[name])
    if eligible is None:  # then it is the same for every request
        return cards.remember(f"C_{name} scaled", lambda: _scale(raw, None))
    return _scale(raw, eligible)


def _log(name: str, raw: FloatArray) -> FloatArray:
    return np.log(np.maximum(raw, _FLOORS[name]))


def _scale(raw: FloatArray, eligible: NDArray[np.bool_] | None) -> FloatArray:
    """Return the values moved to [0, 1] over the eligible models; 1 where they are NaN."""
    among = raw if eligible is None else raw[eligible]
    low, high = np.fmin.reduce(among), np.fmax.reduce(among)
    # All equal, or none known (NaN): nothing to tell the known ones apart by.
    span = high - low if high > low else 1.0
    scaled: FloatArray = raw - low
    scaled /= span
    if np.isnan(np.minimum.reduce(scaled)):  # a NaN anywhere comes through
        scaled[np.isnan(scaled)] = 1.0
    if eligible is not None:  # what is out may lie beyond the ends
        np.minimum(np.maximum(scaled, 0.0, out=scaled), 1.0, out=scaled)
    return scaled


def _dollars(usd: FloatArray, eligible: NDArray[np.bool_] | None) -> FloatArray:
    """Return the costs, with that of the dearest eligible model where they are NaN."""
    dearest = np.fmax.reduce(usd if eligible is None else usd[eligible])
    if np.isnan(dearest):  # none is known: nothing to tell the models apart by
        return np.zeros(len(usd))
    return np.where(np.isnan(usd), dearest, usd)


def _size(card: ModelCard) -> float | None:
    return None if card.parameters is None else float(np.log(max(card.parameters, _FLOORS["size"])))


def _age(card: ModelCard) -> float | None:
    return None if card.released is None else -float(card.released.toordinal())


def _exposure(card: ModelCard) -> float | None:
    return None if card.security is None else -float(SECURITY_LEVELS.index(card.security))


def _difficulty(card: ModelCard) -> float | None:
    return None if card.readability is None else 1.0 - card.readability


_OF_CARD: dict[str, Callable[[ModelCard], float | None]] = {
    "size": _size,
    "recency": _age,
    "security": _exposure,
    "verbosity": lambda card: card.verbosity,
    "readability": _difficulty,
}


# Limits. Each gives the models that it excludes, and why.


def _limits(
    cards: Library, flags: Flags, request: Request, expected: Expectations
) -> list[Exclusion]:
    return [
        *_capabilities(cards, flags, request),
        *_windows(cards, flags, request),
        *_names(cards, flags),
        *_ceilings(cards, flags, expected),
        *_floors(cards, flags),
    ]


def _capabilities(cards: Library, flags: Flags, request: Request) -> list[Exclusion]:
    found = []
    for capability in CAPABILITIES:
        if capability in request.needs:
            lacks = _has(cards, capability) == 0
            found.append(Exclusion(lacks, f"lacks {capability}, which the call needs"))
        if flags.require and capability in flags.require:
            unproven = _has(cards, capability) != 1
            found.append(Exclusion(unproven, f"not known to have {capability}"))
    return found


def _has(cards: Library, capability: Capability) -> FloatArray:
    """Return 1 for models that have the capability, 0 for those that lack it, NaN if unknown."""
    return cards.column(f"has {capability}", lambda card: card.has(capability))


def _windows(cards: Library, flags: Flags, request: Request) -> list[Exclusion]:
    windows = cards.column("context_tokens", lambda card: card.context_tokens)
    found = []
    smallest = cards.remember("least context", lambda: np.fmin.reduce(windows))
    least = request.tokens.input * SURELY
    if smallest < least:
        reason = f"its context is under the call's {request.tokens.input:,} tokens or so"
        found.append(Exclusion(windows < least, reason))
    if flags.min_context_tokens is not None:
        unproven = ~(windows >= flags.min_context_tokens)
        reason = f"not known to take {flags.min_context_tokens:,} tokens of context"
        found.append(Exclusion(unproven, reason))
    return found


def _names(cards: Library, flags: Flags) -> list[Exclusion]:
    found = []
    if flags.allow is not None:
        others = np.ones(len(cards), dtype=bool)
        for name in flags.allow:
            others[cards.position(name)] = False
        found.append(Exclusion(others, "not among the allowed models"))
    if flags.deny:
        denied = np.zeros(len(cards), dtype=bool)
        for name in flags.deny:
            denied[cards.position(name)] = True
        found.append(Exclusion(denied, "denied"))
    return found


def _ceilings(cards: Library, flags: Flags, expected: Expectations) -> list[Exclusion]:
    found = []
    if flags.max_cost_usd is not None:
        over = ~(expected.cost_usd <= flags.max_cost_usd)
        found.append(Exclusion(over, f"not known to cost at most ${flags.max_cost_usd:g}"))
    if flags.max_latency_s is not None:
        over = ~(expected.latency_s <= flags.max_latency_s)
        found.append(Exclusion(over, f"not known to answer within {flags.max_latency_s:g} s"))
    if flags.max_params is not None:
        over = ~(cards.column("parameters", lambda card: card.parameters) <= flags.max_params)
        found.append(Exclusion(over, f"not known to have at most {flags.max_params:g} parameters"))
    return found


def _floors(cards: Library, flags: Flags) -> list[Exclusion]:
    found = []
    if flags.released_after is not None:
        after: date = flags.released_after
        early = ~(-cards.column("C_recency", _age) > after.toordinal())
        found.append(Exclusion(early, f"not known to be released after {after}"))
    if flags.min_security is not None:
        least = SECURITY_LEVELS.index(flags.min_security)
        exposed = ~(-cards.column("C_security", _exposure) >= least)
        found.append(Exclusion(exposed, f"not known to run at {flags.min_security!r} or better"))
    return found


def _in_tool_loop(
    cards: Library, request: Request, eligible: NDArray[np.bool_] | None
) -> int | None:
    """Return the model that waits for its tools' results, unless a limit excludes it."""
    if not request.tool_loop or request.previous is None or request.previous not in cards:
        return None
    position = cards.position(request.previous)
    return position if eligible is None or eligible[position] else None


def _tolerance(
    quality: NDArray[np.floating[Any]],
    eligible: NDArray[np.bool_] | None,
    tolerance: float,
    kept: int | None,
) -> Exclusion:
    best = float((quality if eligible is None else quality[eligible]).max())
    # The small slack keeps a model at exactly the tolerance in, whatever float32 made of it.
    worse = quality < best - tolerance - 1e-6
    if eligible is not None:
        worse = worse & eligible
    if kept is not None:
        worse[kept] = False
    return Exclusion(worse, f"predicted more than {tolerance:g} below the best, {best:.3f}")


def _eligible(exclusions: list[Exclusion]) -> NDArray[np.bool_] | None:
    """Return who is left (n_models,), or `None` where no limit applies."""
    if not exclusions:
        return None
    out = exclusions[0].mask
    for exclusion in exclusions[1:]:
        out = out | exclusion.mask
    return ~out
