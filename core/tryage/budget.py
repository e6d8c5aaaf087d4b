"""From a budget to the worth of an answer that meets it; from shares of calls to a weight on cost.

A prompt's objective is a line in λ, one for each model, and the lowest line is chosen; so that each
step of λ moves some prompts to a cheaper model and none to a dearer one.

For a budget the lines rise by the expected cost in USD, and λ is 1 / `worth_usd`: no rule that
spends as much has more predicted quality, since λ is the Lagrange multiplier of the budget. For
shares they rise by C_cost, and λ is the weight on cost. With two models this is the calibration of
a threshold in Ong et al., *RouteLLM: Learning to Route LLMs with Preference Data* (2024): the
strong model is called where it is ahead by more than λ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tryage.errors import UsageError
from tryage.flags import Flags, as_flags
from tryage.request import Request

if TYPE_CHECKING:
    from tryage.decision import Decision
    from tryage.router import Router

Array = NDArray[np.float64]

_HIGHEST = 1e8  # of a weight, and of a worth; 1 / this is still a worth
_DIGITS = 6
_NEAR = 0.02
_PROBE = 0.7182818  # a value of a flag that nobody else gives


def calibrate_flags(
    router: Router,
    prompts: Sequence[str | Request],
    *,
    budget_usd_per_1k: float | None = None,
    share: Mapping[str, float] | None = None,
    flags: Flags | str | dict[str, Any] | None = None,
) -> Flags:
    """Return flags that meet a budget, or a share of calls, on these prompts.

    For a budget it is the greatest `worth_usd` that does it: the most predicted quality that such a
    spend can buy. It takes the place of a weight on cost. For shares it is the least weight on cost
    that does it, so that no more quality is given up than must be. Models without a price are
    denied in the flags returned: nobody can say what they would spend.

    Args:
        router: What will route; its own flags hold too.
        prompts: Like those to come; a few hundred tell the spend to a few per cent.
        budget_usd_per_1k: Highest expected spend, in USD per 1,000 prompts.
        share: Instead, by model, the share of the prompts in [0, 1] that it shall get. With two
            models this is RouteLLM's threshold; with more, the weight that comes nearest.
        flags: Other wishes that will hold for these calls.

    Raises:
        UsageError: Not exactly one of both is given, there is no prompt, no model has a price, or
            nothing gets there; the message names the range that can be had.
        UnknownModel: The library does not hold a model of `share`.
        NoEligibleModel: The limits exclude every model that has a price.

    Example:
        >>> from tryage import Router
        >>> flags = calibrate_flags(Router(), ["What is 2 + 2?", "Hi"], budget_usd_per_1k=0.1)
        >>> flags.worth_usd > 0
        True
    """
    if (budget_usd_per_1k is None) == (share is None):
        raise UsageError("give either budget_usd_per_1k=... or share={model: ...}.")
    if isinstance(prompts, str) or not len(prompts):
        raise UsageError("give a list of at least one prompt to calibrate on.")
    wishes = _only_priced(router, as_flags(flags))
    if budget_usd_per_1k is None:
        lines = _Lines.of("cost", _decide(router, prompts, wishes.merged(Flags(cost=_PROBE))))
        return wishes.merged(Flags(cost=_meet_share(lines, router, dict(share or {}))))
    if router.flags.merged(wishes).cost:
        wishes = wishes.merged(Flags(cost=0.0))
    lines = _Lines.of("worth_usd", _decide(router, prompts, wishes.merged(Flags(worth_usd=_PROBE))))
    return wishes.merged(Flags(worth_usd=_meet_budget(lines, budget_usd_per_1k)))


@dataclass(frozen=True)
class _Lines:
    """Every model's objective on every prompt, as a line in the weight of one term.

    Attributes:
        level: (n_prompts, n_models), the objective at no weight; infinite where excluded.
        slope: Likewise, what one unit of weight adds: the term's C.
        cost_usd: Likewise, the expected cost.
    """

    level: Array
    slope: Array
    cost_usd: Array

    @classmethod
    def of(cls, term: str, decisions: Sequence[Decision]) -> _Lines:
        """Return the lines of decisions that were made with a flag at its probe."""
        level = np.array([decision.objective for decision in decisions])
        slope = np.zeros_like(level)
        for row, decision in enumerate(decisions):
            if decision.kept:  # whatever the weight
                level[
                    row, np.arange(level.shape[1]) != decision.library.position(decision.model)
                ] = np.inf
            elif getattr(decision.flags, term) == _PROBE:  # else the request's own outdoes ours
                slope[row] = decision.terms[term]
                level[row] -= decision.flags.weights[term] * slope[row]
        cost = np.array([decision.expected.cost_usd for decision in decisions])
        return cls(level, slope, cost)

    def spend(self, weight: float) -> float:
        """Return the expected spend at a weight, in USD per 1,000 prompts."""
        chosen = (self.level + weight * self.slope).argmin(axis=1)
        return 1000 * float(np.take_along_axis(self.cost_usd, chosen[:, None], axis=1).mean())

    def stretches(self, model: int) -> tuple[Array, Array]:
        """Return where each stretch of weights begins and ends on which a model is chosen."""
        steeper = self.slope[:, [model]] - self.slope
        with np.errstate(divide="ignore", invalid="ignore"):  # excluded models; equal slopes
            above = self.level - self.level[:, [model]]
            crossing = above / steeper
        ends = np.where(steeper > 0, crossing, np.inf).min(axis=1)
        begins = np.where(steeper < 0, crossing, -np.inf).max(axis=1, initial=0.0)
        first = np.arange(self.level.shape[1]) < model
        beaten = (steeper == 0) & ((above < 0) | ((above == 0) & first))
        chosen = np.isfinite(self.level[:, model]) & ~beaten.any(axis=1) & (begins < ends)
        return begins[chosen], ends[chosen]


def _only_priced(router: Router, wishes: Flags) -> Flags:
    prices = {
        card.name: (card.input_usd_per_mtok, card.output_usd_per_mtok) for card in router.library
    }
    unpriced = {name for name, both in prices.items() if None in both}
    if len(unpriced) == len(router.library):
        raise UsageError(
            f"none of the {len(unpriced)} models has a price, so that no budget can be met; put "
            "input_usd_per_mtok and output_usd_per_mtok on their cards."
        )
    denied = router.flags.merged(wishes).deny or frozenset()
    return wishes.merged(Flags(deny=denied | unpriced)) if unpriced else wishes


def _decide(router: Router, prompts: Sequence[str | Request], wishes: Flags) -> list[Decision]:
    asked = [
        replace(prompt, flags=wishes.merged(prompt.flags))
        if isinstance(prompt, Request)
        else prompt
        for prompt in prompts
    ]
    return router.route_batch(asked, wishes)


def _meet_budget(lines: _Lines, budget: float) -> float:
    """Return the greatest worth at which the spend is within the budget."""
    least, most = lines.spend(_HIGHEST), lines.spend(0.0)
    if not budget >= least:
        raise UsageError(
            f"budget_usd_per_1k={budget!r}: 1,000 of these prompts cost from ${least:.6g}, each on "
            f"its cheapest model, to ${most:.6g}; give ${least:.6g} or more."
        )
    low, high = 1 / _HIGHEST, _HIGHEST
    if lines.spend(low) <= budget:  # then cost need not count
        return _HIGHEST
    while high / low > 1 + 10 ** -(_DIGITS + 1):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if lines.spend(middle) <= budget else (middle, high)
    return _round_down(1 / high)


def _meet_share(lines: _Lines, router: Router, share: Mapping[str, float]) -> float:
    """Return the least of the weights that come nearest to the shares."""
    for name, wanted in share.items():
        if isinstance(wanted, bool) or not 0 <= wanted <= 1:
            raise UsageError(f"share[{name!r}]={wanted!r}: give a share of the calls in [0, 1].")
    if not share or sum(share.values()) > 1 + 1e-9:
        raise UsageError(f"share={share!r}: give shares of models that sum to at most 1.")
    stretches = [lines.stretches(router.library.position(name)) for name in share]
    edges = np.unique(np.concatenate([[0.0], *(part for both in stretches for part in both)]))
    edges = edges[np.isfinite(edges)]
    # Between two edges nothing changes; the middle is safe from rounding.
    weights = np.append((edges[:-1] + edges[1:]) / 2, edges[-1] + 1)
    counts = [
        np.searchsorted(np.sort(begins), weights, "right")
        - np.searchsorted(np.sort(ends), weights, "right")
        for begins, ends in stretches
    ]
    shares = np.array(counts) / len(lines.level)
    wanted_shares = np.array(list(share.values()))
    gaps = np.abs(shares - wanted_shares[:, None]).sum(axis=0)
    best = int(gaps.argmin())
    for name, wanted, had in zip(share, wanted_shares, shares, strict=True):
        if abs(had[best] - wanted) > max(_NEAR, 1 / len(lines.level)):
            raise UsageError(
                f"share[{name!r}]={wanted:g}: a weight on cost sends it from {had.min():.1%} to "
                f"{had.max():.1%} of these prompts, and {had[best]:.1%} is the nearest."
            )
    return float(weights[best])


def _round_down(worth: float) -> float:
    scale = 10.0 ** (_DIGITS - 1 - math.floor(math.log10(worth)))
    return math.floor(worth * scale) / scale
