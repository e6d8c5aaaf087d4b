"""What a call is expected to cost and to take on each model."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tryage.cards import ModelCard
from tryage.library import Library
from tryage.request import Tokens

FloatArray = NDArray[np.float64]


class Expectations:
    """The expected length, cost and time of one call on each model of a library.

    Each is worked out when it is first asked for; NaN where the card is silent.

    Args:
        cards: The models.
        tokens: How large the call is.
    """

    def __init__(self, cards: Library, tokens: Tokens) -> None:
        self.cards = cards
        self.tokens = tokens

    @cached_property
    def output_tokens(self) -> FloatArray:
        """Tokens of each model's answer, (n_models,).

        The ordinary model's length times the card's verbosity (1 where the card is silent), cut
        at the caller's limit and at the model's own.
        """
        verbosity = self.cards.column("verbosity or 1", lambda c: c.verbosity or 1.0)
        longest = self.cards.column("longest answer", lambda c: c.max_output_tokens or np.inf)
        expected = np.minimum(self.tokens.expected_output * verbosity, longest)
        limit = self.tokens.output_limit
        return expected if limit is None else np.minimum(expected, limit)

    @cached_property
    def cost_usd(self) -> FloatArray:
        """USD that the call costs on each model, (n_models,)."""
        prices_in = self.cards.column("input_usd_per_mtok", lambda c: c.input_usd_per_mtok)
        prices_out = self.cards.column("output_usd_per_mtok", lambda c: c.output_usd_per_mtok)
        return (self.tokens.input * prices_in + self.output_tokens * prices_out) / 1e6

    @cached_property
    def latency_s(self) -> FloatArray:
        """Seconds to the whole answer of each model, (n_models,)."""
        first = self.cards.column("first_token_s", lambda c: c.first_token_s)
        rate = self.cards.column("output_tokens_per_s", lambda c: c.output_tokens_per_s)
        return first + self.output_tokens / rate


def expected_of(card: ModelCard, tokens: Tokens) -> tuple[float | None, float | None]:
    """Return one model's expected cost in USD and seconds; `None` where its card is silent.

    The same figures as above, without the arrays, whose start costs more than a single model.
    """
    limit = math.inf if tokens.output_limit is None else tokens.output_limit
    longest = card.max_output_tokens or math.inf
    output = min(tokens.expected_output * (card.verbosity or 1.0), longest, limit)
    cost = latency = None
    if card.input_usd_per_mtok is not None and card.output_usd_per_mtok is not None:
        cost = (tokens.input * card.input_usd_per_mtok + output * card.output_usd_per_mtok) / 1e6
    if card.first_token_s is not None and card.output_tokens_per_s is not None:
        latency = card.first_token_s + output / card.output_tokens_per_s
    return cost, latency
