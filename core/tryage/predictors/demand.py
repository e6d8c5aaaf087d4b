"""What a prompt demands: the prompt's half of the default predictor.

Quality is `sigmoid(demand · ability)`. The first two demands are the prompt's ease and its
discrimination, how much ability tells on it (Birnbaum's two-parameter item response model, 1968,
with the item's parameters predicted from its text); the others meet the particular strengths of
models that were measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tryage.encoders.form import form_one
from tryage.encoders.static import StaticEncoder

Array = NDArray[np.float32]

EASE, DISCRIMINATION = 0, 1
"""Where the two demands stand that every model meets; the ability vector begins 1, ability."""

LEAST_DISCRIMINATION = 0.05
"""More ability never lowers the predicted quality of a model that is known by its card only."""

MOST_TRUST = 0.9
"""How much of what sets an ordinary prompt apart counts; what is learned of it is never sure."""

_APART = slice(EASE + 1, None)

_FEW = 500
_HALF = np.float32(0.5)


@dataclass(frozen=True, eq=False)
class DemandHead:
    """From a prompt's features to its demands, straight and through the domains it may be of.

    Where no domain is near, the prompt is a stranger: as easy as it reads, but beyond that it
    demands what prompts usually do. A little of the usual is mixed in everywhere, since what sets
    prompts apart is learned with doubt.

    Attributes:
        form_low: (n_form,), form features are raised to these,
        form_high: and cut off at these: a strange prompt is not an extreme one.
        reading: (n_features, n_demands + 2 n_domains): straight to demands, to log-odds of the
            domains, and to closeness to each domain's centre.
        bias: (n_demands,).
        guess_bias: (n_domains,).
        domains: (n_domains, n_demands), the demands of each domain.
        usual: (n_demands,), what prompts usually demand.
        closeness: (2,), how near a centre a prompt is that counts as a stranger, and one that
            counts as ordinary.
    """

    form_low: Array
    form_high: Array
    reading: Array
    bias: Array
    guess_bias: Array
    domains: Array
    usual: Array
    closeness: Array

    def demands(self, features: Array) -> Array:
        """Return the demands of one prompt, float32 (n_demands,), from its features."""
        n, n_domains = len(self.bias), len(self.guess_bias)
        read = features.dot(self.reading)
        demands: Array = read[:n]
        domains = read[n : n + n_domains]
        domains += self.guess_bias
        domains -= domains[domains.argmax()]
        np.exp(domains, out=domains)
        domains /= np.add.reduce(domains)
        demands += domains.dot(self.domains)
        demands += self.bias
        apart, usual = demands[_APART], self.usual[_APART]
        apart -= usual
        apart *= self._trust(float(np.maximum.reduce(read[n + n_domains :])))
        apart += usual
        demands[DISCRIMINATION] = max(demands[DISCRIMINATION], LEAST_DISCRIMINATION)
        return demands

    def _trust(self, nearest: float) -> np.float32:
        """Return how much of what sets a prompt apart counts, in [0, MOST_TRUST]."""
        stranger, ordinary = self._bounds
        share = (nearest - stranger) / (ordinary - stranger)
        return np.float32(MOST_TRUST * min(max(share, 0.0), 1.0))

    @cached_property
    def _bounds(self) -> tuple[float, float]:
        stranger, ordinary = self.closeness.tolist()
        return stranger, ordinary

    def features(self, encoder: StaticEncoder, text: str) -> Array:
        """Return the features of one text, float32 (n_features,): its vector, then its form."""
        shape = np.array(form_one(text), dtype=np.float32)
        np.maximum(shape, self.form_low, out=shape)
        np.minimum(shape, self.form_high, out=shape)
        return np.concatenate((encoder.encode_one(text), shape))


def sigmoid(log_odds: Array) -> Array:
    """Return 1 / (1 + exp(-x)), computed in place."""
    # The same as (1 + tanh(x / 2)) / 2, which takes fewer steps and cannot overflow.
    log_odds *= _HALF
    np.tanh(log_odds, out=log_odds)
    log_odds *= _HALF
    log_odds += _HALF
    return log_odds


@dataclass(frozen=True, eq=False)
class Abilities:
    """The models' half: what each brings to meet demands.

    Only measured models have strengths beyond general ability, so that a library of very many
    models costs two numbers each.

    Attributes:
        general: float32 (2, n_models): 1, and general ability.
        strengths: float32 (n_demands - 2, n_measured), what a measured model has besides.
        measured: (n_measured,), the numbers of the measured models.
    """

    general: Array
    strengths: Array
    measured: NDArray[np.intp]

    @classmethod
    def of(cls, vectors: Array) -> Abilities:
        """Return the abilities of models that are all measured, from (n_demands, n_models)."""
        return cls(vectors[:2], vectors[2:], np.arange(vectors.shape[1]))

    def vectors(self) -> Array:
        """Return them as float32 (n_demands, n_models), with zeros where nothing was measured."""
        strengths = np.zeros((len(self.strengths), self.general.shape[1]), dtype=np.float32)
        strengths[:, self.measured] = self.strengths
        return np.concatenate([self.general, strengths])

    def meet(self, demands: Array, out: Array) -> None:
        """Put each model's log-odds under these demands (n_demands,) into `out` (n_models,)."""
        if self._whole is not None:
            np.dot(demands, self._whole, out=out)
        else:
            np.dot(demands[:2], self.general, out=out)
            out[self.measured] += demands[2:].dot(self.strengths)

    @cached_property
    def _whole(self) -> Array | None:
        """The vectors of few models, for whom one product is quicker than two and an index."""
        return self.vectors() if self.general.shape[1] <= _FEW else None

    def take(self, columns: NDArray[np.intp], general: Array) -> Abilities:
        """Return the abilities of other models.

        Args:
            columns: (n_new,), each one's number here, or -1 for a model that is not here.
            general: float32 (number of -1s,), the general ability of those.
        """
        strong = np.flatnonzero(columns >= 0)
        both = self.general.take(columns, axis=1)
        both[EASE, columns < 0] = 1
        both[DISCRIMINATION, columns < 0] = general
        strengths = np.ascontiguousarray(self.vectors()[2:, columns[strong]])
        return Abilities(both, strengths, strong)


def quality(
    head: DemandHead, encoder: StaticEncoder, prompts: Sequence[str], abilities: Abilities
) -> Array:
    """Return the quality of models on prompts, float32 (n_prompts, n_models).

    Args:
        head: The prompt's half.
        encoder: Text to vectors.
        prompts: n_prompts texts.
        abilities: The models' half.
    """
    rows = np.empty((len(prompts), abilities.general.shape[1]), dtype=np.float32)
    # One prompt at a time: a product over a batch would round otherwise than one over one row.
    for row, prompt in zip(rows, prompts, strict=True):
        demands = head.demands(head.features(encoder, prompt))
        abilities.meet(demands, out=row)
        sigmoid(row)
    return rows
