"""What the predictors with a network share: how it learns in torch, and how numpy runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from tryage.data.split import folds_by_prompt
from tryage.data.table import PerformanceTable
from tryage.errors import MissingExtra
from tryage.predictors.features import FeaturePredictor

if TYPE_CHECKING:
    import torch

Array = NDArray[np.float32]

_BATCH = 256
_HELD_OUT = 7  # one prompt in so many tells when to stop
_LEAST_STEPS = 5  # between two looks at the held-out prompts
_PATIENCE = 10  # looks without improvement
_LEAST_GAIN = 1e-5  # in loss


@dataclass(eq=False)
class NetworkPredictor(FeaturePredictor):
    """Base of the predictors that put features through a small network.

    `fit` needs torch (`pip install 'tryage[train]'`), `predict` numpy only. The network has one
    hidden layer of rectified units, or none, and is stopped where the loss on held-out prompts of
    the table is least.

    Attributes:
        hidden: Width of the hidden layer; 0 for a linear map.
        dropout: Share of the hidden layer, or of the features if there is none, that is silenced
            at each step of training, in [0, 1).
        rate: Learning rate of AdamW (Loshchilov and Hutter, 2019).
        decay: Its weight decay.
        looks: Most looks at the held-out prompts, one after each pass over the table.
        seed: The same seed and table give the same predictor.
    """

    hidden: int = 128
    dropout: float = 0.5
    rate: float = 2e-3
    decay: float = 0.05
    looks: int = 100
    seed: int = 0

    def fit(self, table: PerformanceTable) -> Self:
        """Learn from a table and return self; cells without a score teach nothing.

        Raises:
            InvalidTable: The table holds no score at all.
            MissingExtra: torch is not installed.
        """
        try:
            import torch  # noqa: F401
        except ImportError as error:
            raise MissingExtra(
                f"{self.name!r} learns with torch: pip install 'tryage[train]'."
            ) from error
        return super().fit(table)

    def _descend(
        self,
        features: Array,
        prompts: Sequence[str],
        outputs: int,
        loss: Callable[..., torch.Tensor],
        **vectors: Array,
    ) -> dict[str, Array]:
        """Learn the network, which is kept, and return the vectors learned beside it.

        Args:
            features: (n_prompts, n_features).
            prompts: Their texts, by which some are held out.
            outputs: Numbers that the network gives for a prompt.
            loss: Called with the outputs (n, outputs), the numbers of the n prompts, and the
                vectors by name; returns a mean over the prompts.
            vectors: Where other parameters begin, or the network's own, in place of the default.
        """
        import torch

        held_out = held_out_rows(prompts, self.seed)
        rest = np.setdiff1d(np.arange(len(prompts)), held_out)
        rest = rest if len(rest) else held_out  # one prompt has to be both
        generator = torch.Generator().manual_seed(self.seed)
        start = self._start(features.shape[1], outputs)
        beside = vectors.keys() - start.keys()
        p = {
            name: torch.from_numpy(value.copy()).requires_grad_()
            for name, value in (start | vectors).items()
        }
        x = torch.from_numpy(features)

        def loss_of(rows: torch.Tensor, training: bool) -> torch.Tensor:
            inner = x[rows]
            if self.hidden:
                inner = torch.relu(inner @ p["hidden"] + p["hidden_bias"])
            if training:
                kept = torch.rand(inner.shape, generator=generator) >= self.dropout
                inner = inner * kept / (1 - self.dropout)
            values = inner @ p["out"] + p["out_bias"]
            return loss(values, rows, **{name: p[name] for name in beside})

        groups: list[dict[str, Any]] = [
            {"params": [v for v in p.values() if v.ndim > 1], "weight_decay": self.decay},
            {"params": [v for v in p.values() if v.ndim == 1], "weight_decay": 0.0},
        ]
        optimiser = torch.optim.AdamW(groups, lr=self.rate)
        learners, judges = torch.from_numpy(rest), torch.from_numpy(held_out)
        best, since, learned = float("inf"), 0, {}
        for _ in range(self.looks):
            for rows in _batches(learners, generator):
                optimiser.zero_grad()
                loss_of(rows, training=True).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            with torch.no_grad():
                now = float(loss_of(judges, training=False))
            if now < best - _LEAST_GAIN:
                best, since = now, 0
                learned = {name: v.detach().numpy().copy() for name, v in p.items()}
            elif (since := since + 1) == _PATIENCE:
                break
        self.out_, self.out_bias_ = learned["out"], learned["out_bias"]
        if self.hidden:
            self.hidden_, self.hidden_bias_ = learned["hidden"], learned["hidden_bias"]
        return {name: learned[name] for name in beside}

    def _start(self, inputs: int, outputs: int) -> dict[str, Array]:
        rng = np.random.default_rng(self.seed)
        # The last layer begins at zero, so that no output is favoured by chance.
        p = {"out": np.zeros((self.hidden or inputs, outputs)), "out_bias": np.zeros(outputs)}
        if self.hidden:
            p["hidden"] = rng.normal(0, (2 / inputs) ** 0.5, (inputs, self.hidden))
            p["hidden_bias"] = np.zeros(self.hidden)
        return {name: value.astype(np.float32) for name, value in p.items()}

    def _outputs(self, features: Array) -> Array:
        """Return the network's outputs for one prompt."""
        inner = features
        if self.hidden:
            inner = np.maximum(features @ self.hidden_ + self.hidden_bias_, 0)
        outputs: Array = inner @ self.out_ + self.out_bias_
        return outputs


def score_loss(scores: Array) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the cross-entropy of log-odds (n, n_models) of prompts, given their numbers (n,).

    A score between 0 and 1 is a share of successes; a cell without a score counts nothing, and
    every prompt counts the same.

    Args:
        scores: (n_prompts, n_models), NaN where not measured, at least one score a prompt.
    """
    import torch

    seen = ~np.isnan(scores)
    weights = torch.from_numpy((seen / seen.sum(axis=1, keepdims=True)).astype(np.float32))
    targets = torch.from_numpy(np.where(seen, scores, 0).astype(np.float32))

    def loss(log_odds: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        cells = torch.nn.functional.binary_cross_entropy_with_logits(
            log_odds, targets[rows], weights[rows], reduction="sum"
        )
        return cells / len(rows)

    return loss


def held_out_rows(prompts: Sequence[str], seed: int) -> NDArray[np.intp]:
    """Return the numbers of the prompts that tell when to stop; a share of the distinct ones."""
    return np.flatnonzero(folds_by_prompt(prompts, _HELD_OUT, seed) == 0)


def log_odds_of_means(scores: Array) -> Array:
    """Return the log-odds of each model's mean score, float32 (n_models,), as a place to begin."""
    n = (~np.isnan(scores)).sum(axis=0)
    # Half a success and half a failure more, so that they are finite.
    means = (np.nansum(scores, axis=0, dtype=np.float64) + 0.5) / (n + 1)
    odds: Array = np.log(means / (1 - means)).astype(np.float32)
    return odds


def strengths(scores: Array, rank: int) -> Array:
    """Return the principal strengths of models, float32 (n_models, rank), as a place to begin.

    They are the directions in which models differ most from prompt to prompt, beyond their means;
    unlike random ones, they follow the models when their order changes.
    """
    seen = ~np.isnan(scores)
    means = np.nansum(scores, axis=0) / np.maximum(seen.sum(axis=0), 1)
    residuals = np.where(seen, scores - means, 0).astype(np.float64)
    left, values, right = np.linalg.svd(residuals, full_matrices=False)
    # A direction has no sign of its own; the prompts give it one.
    right *= np.where(np.abs(left).max(axis=0) == left.max(axis=0), 1, -1)[:, None]
    found = np.zeros((scores.shape[1], rank), dtype=np.float32)
    n = min(rank, len(values))
    found[:, :n] = right[:n].T * 0.5
    return found


def _batches(rows: torch.Tensor, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Yield the rows in random batches: one pass, or several over a small table."""
    import torch

    steps = 0
    while steps < _LEAST_STEPS:
        order = rows[torch.randperm(len(rows), generator=generator)]
        for batch in torch.split(order, _BATCH):
            steps += 1
            yield batch
