"""Matrix factorisation: models and prompts as vectors whose product says who wins."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from tryage.data.table import PerformanceTable
from tryage.predictors.baselines import mean_scores
from tryage.predictors.pairwise import Array, PairwisePredictor, sigmoid

_BATCH = 256
_LEAST_STEPS = 300


@dataclass(eq=False)
class MatrixFactorisationPredictor(PairwisePredictor):
    """Rates a model on a prompt by a bilinear form, learned from comparisons.

    The matrix factorisation of Ong et al., *RouteLLM: Learning to Route LLMs with Preference Data*
    (2024, arXiv 2406.18665), for any number of models:

        δ(M, q) = w₂ᵀ (v_M ∘ (W₁ᵀ v_q + b)),    P(a beats b | q) = σ(δ(a, q) − δ(b, q)),

    with v_q the prompt's embedding, v_M a unit vector for each model, and the logistic loss of
    every comparison as the objective, by Adam, with noise on v_q, as the original trains. The
    embedding here is the bundled encoder's; ties count half a win for each (the original leaves
    them out, so that its probabilities are of the decided comparisons only); and all pairs of
    models that met on a prompt are learned from together. How hard a prompt is for all models is
    not learned: quality lies around the table's mean score.

    Attributes:
        rank: Length of the models' vectors.
        epochs: Passes over the prompts; more over a small table, to make 300 steps.
        rate: Adam's step; falls to 0 along a half cosine.
        noise: Standard deviation of the noise on v_q.
        decay: Weight decay.
        seed: The same seed and table give the same predictor.
    """

    name: ClassVar[str] = "matrix_factorisation"
    rank: int = 128
    epochs: int = 30
    rate: float = 3e-3
    noise: float = 0.05
    decay: float = 1e-5
    seed: int = 0

    def fit(self, table: PerformanceTable) -> Self:
        """Learn from a table and return self.

        Raises:
            UsageError: No prompt has the scores of two models.
        """
        table = self._begin(table)
        self.level_ = float(mean_scores(table).mean())
        p = self._train(self._encode(table.prompts), table.scores)
        self.vectors_ = _unit(p["models"])
        self.outward_, self.inward_, self.bias_ = p["outward"], p["inward"], p["bias"]
        return self

    def _rate(self, vector: NDArray[np.float32]) -> tuple[Array, float]:
        inner = self.outward_ * (vector @ self.inward_ + self.bias_)
        return (self.vectors_ @ inner).astype(np.float64), self.level_

    def _train(self, vectors: Weights, scores: Weights) -> dict[str, Weights]:
        rng = np.random.default_rng(self.seed)
        p = self._start(rng, vectors.shape[1])
        moments = {name: (np.zeros_like(value), np.zeros_like(value)) for name, value in p.items()}
        batches = -(-len(vectors) // _BATCH)
        steps = max(self.epochs * batches, _LEAST_STEPS)
        for step in range(steps):
            if step % batches == 0:
                order = rng.permutation(len(vectors))
            rows = order[step % batches * _BATCH :][:_BATCH]
            x = vectors[rows]
            x = x + np.float32(self.noise) * rng.standard_normal(x.shape, dtype=np.float32)
            rate = self.rate * 0.5 * (1 + np.cos(np.pi * step / steps))
            _adam(p, _gradients(p, x, scores[rows]), moments, rate, self.decay, step + 1)
        return p

    def _start(self, rng: np.random.Generator, width: int) -> dict[str, Weights]:
        def noise(*shape: int) -> Weights:
            return rng.standard_normal(shape, dtype=np.float32) / np.float32(shape[0] ** 0.5)

        # A model begins where its name says, so that the order of the columns decides nothing.
        seeds = [(self.seed, zlib.crc32(model.encode())) for model in self.models]
        models = [np.random.default_rng(seed).standard_normal(self.rank) for seed in seeds]
        return {
            "models": np.array(models, dtype=np.float32),
            "inward": noise(width, self.rank),
            "bias": np.zeros(self.rank, dtype=np.float32),
            "outward": noise(self.rank),
        }


Weights = NDArray[np.float32]


def _unit(rows: Weights) -> Weights:
    unit: Weights = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def _gradients(p: dict[str, Weights], x: Weights, scores: Weights) -> dict[str, Weights]:
    """Return the gradients of the mean logistic loss of the comparisons on these prompts."""
    unit = _unit(p["models"])
    readout = unit * p["outward"]
    inner = x @ p["inward"] + p["bias"]
    ratings = inner @ readout.T
    chances = sigmoid(ratings[:, :, None] - ratings[:, None, :])
    signs = np.sign(scores[:, :, None] - scores[:, None, :])
    error = chances - 0.5 * (signs + 1)
    compared = np.count_nonzero(~np.isnan(signs)) - np.count_nonzero(~np.isnan(scores))
    error = np.nan_to_num(error).sum(axis=2) * np.float32(2 / compared)  # each pair stands twice
    to_inner = error @ readout
    to_readout = error.T @ inner
    to_unit = to_readout * p["outward"]
    along = (to_unit * unit).sum(axis=1, keepdims=True)
    lengths = np.linalg.norm(p["models"], axis=1, keepdims=True)
    return {
        "models": (to_unit - along * unit) / lengths,
        "inward": x.T @ to_inner,
        "bias": to_inner.sum(axis=0),
        "outward": (to_readout * unit).sum(axis=0),
    }


def _adam(
    p: dict[str, Weights],
    gradients: dict[str, Weights],
    moments: dict[str, tuple[Weights, Weights]],
    rate: float,
    decay: float,
    step: int,
) -> None:
    """Change the parameters by one step of Adam (Kingma and Ba, 2015), decay in the gradient."""
    for name, gradient in gradients.items():
        gradient += np.float32(decay) * p[name]
        first, second = moments[name]
        first += np.float32(0.1) * (gradient - first)
        second += np.float32(0.001) * (gradient * gradient - second)
        move = first / np.float32(1 - 0.9**step)
        move /= np.sqrt(second / np.float32(1 - 0.999**step)) + np.float32(1e-8)
        p[name] -= np.float32(rate) * move
