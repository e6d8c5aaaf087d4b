"""What a call is expected to cost and to take on each model."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tryage.cards import ModelCard
from tryage.library import Library
from tryage.request import Tokens

FloatArray = NDArray[np.float64]


def expected_output_tokens(cards: Library, tokens: Tokens) -> FloatArray:
    """Return the expected length of each model's answer in tokens, (n_models,).

    The ordinary model's length times the card's verbosity (1 where the card is silent), cut at
    the caller's limit and at the model's own.
    """
    verbosity = cards.column("verbosity or 1", lambda c: c.verbosity or 1.0)
    longest = cards.column("longest answer", lambda c: c.max_output_tokens or np.inf)
    expected = np.minimum(tokens.output * verbosity, longest)
    return expected if tokens.output_limit is None else np.minimum(expected, tokens.output_limit)


def expected_cost(cards: Library, tokens: Tokens) -> FloatArray:
    """Return each model's expected cost of the call in USD, (n_models,); NaN without prices."""
    prices_in = cards.column("input_usd_per_token", lambda c: _per_token(c.input_usd_per_mtok))
    prices_out = cards.column("output_usd_per_token", lambda c: _per_token(c.output_usd_per_mtok))
    return tokens.input * prices_in + expected_output_tokens(cards, tokens) * prices_out


def expected_latency(cards: Library, tokens: Tokens) -> FloatArray:
    """Return each model's expected seconds to the whole answer, (n_models,); NaN if unmeasured."""
    first = cards.column("first_token_s", lambda c: c.first_token_s)
    rate = cards.column("output_tokens_per_s", lambda c: c.output_tokens_per_s)
    return first + expected_output_tokens(cards, tokens) / rate


def expected_of(card: ModelCard, tokens: Tokens) -> tuple[float | None, float | None]:
    """Return one model's expected cost in USD and seconds; `None` where its card is silent.

    The same figures as above, without the arrays, whose start costs more than a single model.
    """
    limit = math.inf if tokens.output_limit is None else tokens.output_limit
    longest = card.max_output_tokens or math.inf
    output = min(tokens.output * (card.verbosity or 1.0), longest, limit)
    cost = latency = None
    if card.input_usd_per_mtok is not None and card.output_usd_per_mtok is not None:
        cost = (tokens.input * card.input_usd_per_mtok + output * card.output_usd_per_mtok) / 1e6
    if card.first_token_s is not None and card.output_tokens_per_s is not None:
        latency = card.first_token_s + output / card.output_tokens_per_s
    return cost, latency


def _per_token(usd_per_mtok: float | None) -> float | None:
    return None if usd_per_mtok is None else usd_per_mtok / 1e6
