"""Prompts drawn towards the models that do well on them, and towards prompts like them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from tryage.data.table import PerformanceTable
from tryage.predictors.clusters import k_means, nearest_centre
from tryage.predictors.demand import sigmoid
from tryage.predictors.fitting import NetworkPredictor, held_out_rows, strengths

if TYPE_CHECKING:
    import torch

Array = NDArray[np.float32]

_NO_RIVAL = -1e4  # exp of it is 0, and its gradient too, where minus infinity would give NaN
_RIVALS = 3
_LEAST_SLOPE = 0.1


@dataclass(eq=False)
class ContrastivePredictor(NetworkPredictor):
    """Predicts from the cosine of a prompt's vector and a model's, learned by contrast.

    The two losses of RouterDC (Chen et al., 2024, arXiv 2409.19886), on a network over the frozen
    encoder where the original fine-tunes one. Sample–LLM: each model that did well on a prompt
    against those that did badly; well is at least half-way from the prompt's worst score to its
    best, and a prompt counts as much as these differ, where the original takes the three best and
    the three worst, which is arbitrary among equal scores. Sample–sample: a prompt of the same
    cluster against prompts of others.

    The loss knows no quality, only order within a prompt. So one rising curve, the same for all
    prompts and models, is fitted on held-out prompts from cosine to score (Platt, 1999): it
    changes no choice, and makes quality comparable with costs, on average.

    Attributes:
        rank: Length of the vectors, at least 1.
        temperature: What cosines are divided by in the losses, more than 0.
        neighbours: Weight of the sample–sample loss, 0 or more.
        clusters: Of prompts, for that loss.

    Example:
        >>> from tryage import PerformanceTable
        >>> table = PerformanceTable.from_scores(["a", "b"], ["small", "large"], [[1, 0], [1, 0]])
        >>> ContrastivePredictor().fit(table).predict(["c"])[0].argmax()
        np.int64(0)
    """

    name: ClassVar[str] = "contrastive"
    rank: int = 32
    temperature: float = 0.2
    neighbours: float = 0.2
    clusters: int = 20

    def _learn(self, features: Array, table: PerformanceTable) -> None:
        from torch.nn import functional

        by_models = _model_loss(table.scores)
        by_prompts = _prompt_loss(features, self.clusters, self.seed)

        def loss(values: torch.Tensor, rows: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
            prompts = functional.normalize(values, dim=1) / self.temperature
            total = by_models(prompts @ functional.normalize(vectors, dim=0), rows)
            if self.neighbours:
                alike = prompts @ prompts.T * self.temperature
                total = total + self.neighbours * by_prompts(alike, rows)
            return total

        start = strengths(table.scores, self.rank).T
        rng = np.random.default_rng(self.seed)
        # A vector of no length has no direction: the last layer begins with noise.
        out = rng.normal(0, 0.1, (self.hidden or features.shape[1], self.rank))
        learned = self._descend(
            features, table.prompts, self.rank, loss, out=out.astype(np.float32), vectors=start
        )
        lengths = np.linalg.norm(learned["vectors"], axis=0)
        self.vectors_ = learned["vectors"] / np.maximum(lengths, 1e-9)
        rows = held_out_rows(table.prompts, self.seed)
        cosines = np.stack([self._cosines(x) for x in features[rows]])
        seen = ~np.isnan(table.scores[rows])
        self.curve_ = _rising_curve(cosines[seen], table.scores[rows][seen])

    def _cosines(self, features: Array) -> Array:
        values = self._outputs(features)
        cosines: Array = values @ self.vectors_ / max(float(np.linalg.norm(values)), 1e-9)
        return cosines

    def _quality(self, features: Array) -> Array:
        return sigmoid(self._cosines(features) * self.curve_[0] + self.curve_[1])


def _model_loss(scores: Array) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the loss of similarities (n, n_models) of prompts, given their numbers (n,)."""
    import torch

    worst, best = np.nanmin(scores, axis=1), np.nanmax(scores, axis=1)
    well = torch.from_numpy(scores >= ((worst + best) / 2)[:, None])
    badly = torch.from_numpy(scores < ((worst + best) / 2)[:, None])
    shares = well / well.sum(dim=1, keepdim=True) * torch.from_numpy(best - worst)[:, None]

    def loss(similarities: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        rivals = similarities.masked_fill(~badly[rows], _NO_RIVAL).logsumexp(dim=1, keepdim=True)
        each = torch.nn.functional.softplus(rivals - similarities)
        return (each * shares[rows]).sum() / len(rows)

    return loss


def _prompt_loss(
    features: Array, clusters: int, seed: int
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the loss of similarities (n, n) among prompts, given their numbers (n,)."""
    import torch

    centres = k_means(features, max(1, min(clusters, len(features) // 10)), seed)
    cluster = torch.tensor([nearest_centre(centres, x) for x in features])

    def loss(similarities: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        same = cluster[rows][:, None] == cluster[rows]
        alike = same & ~torch.eye(len(rows), dtype=torch.bool)
        rivals = similarities.masked_fill(same, _NO_RIVAL).logsumexp(dim=1, keepdim=True)
        # As if some rivals were drawn, as many as the original draws.
        rivals = rivals + math.log(_RIVALS) - (~same).sum(dim=1, keepdim=True).clamp(min=1).log()
        each = torch.nn.functional.softplus(rivals - similarities)
        return ((each * alike).sum(dim=1) / alike.sum(dim=1).clamp(min=1)).mean()

    return loss


def _rising_curve(cosines: Array, scores: Array) -> Array:
    """Return slope and offset of the log-odds of scores in cosines, both (n,), by Newton's method.

    The slope is above 0 whatever the scores, and little data draw it towards 1.
    """
    x = np.stack([cosines, np.ones_like(cosines)]).astype(np.float64)
    curve = np.array([1.0, 0.0])
    for _ in range(20):
        likely = 1 / (1 + np.exp(-np.clip(curve @ x, -30, 30)))
        gradient = x @ (likely - scores) + (curve - [1.0, 0.0])
        curvature = (x * likely * (1 - likely)) @ x.T + np.eye(2)
        curve = np.clip(curve - np.linalg.solve(curvature, gradient), [_LEAST_SLOPE, -20], 20)
    return curve.astype(np.float32)
