"""The perceptive router: a fine-tuned encoder that predicts every expert's loss on a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from tryage.data.table import PerformanceTable
from tryage.predictors.bert import BertPredictor
from tryage.predictors.devices import device_of, need_torch
from tryage.predictors.readings import Array, Mask, Reading

if TYPE_CHECKING:
    import torch

    from tryage.predictors.backbone import Backbone

_LEAST_SCORE = 1e-4
"""A score of 0 would be an infinite loss; this one is a loss of 9.2 nats."""

_TEMPERATURE = 0.3
"""Of `RankedLosses`, in nats: models that far apart in loss differ e-fold in their share."""

_RIDGE = 1000.0  # prompts' worth of the mean in what the head starts from
_BATCH = 32


@dataclass(frozen=True)
class Losses(Reading):
    """One output per model: its loss, −log(score), in standard deviations from the model's mean.

    Attributes:
        means: Mean loss of each model, in nats.
        spread: Standard deviation of the losses around these, one for all models.
    """

    means: Sequence[float]
    spread: float

    @classmethod
    def of(cls, table: PerformanceTable) -> Self:
        """Return the reading for a table of any models; one without a score is taken as average."""
        losses = losses_of(table.scores)
        overall = np.nanmean(losses)
        known = ~np.isnan(losses)
        sums = np.where(known, losses - overall, 0).sum(axis=0)
        means = overall + sums / np.maximum(known.sum(axis=0), 1)
        return cls(means.tolist(), max(float(np.nanstd(losses - means)), 1e-3))

    def start(self) -> Array:
        """Return zeros: every model's mean."""
        return np.zeros(len(self.means))

    def teaches(self, scores: NDArray[np.float32]) -> Mask:
        """Return which prompts have a score."""
        return np.asarray(~np.isnan(scores).all(axis=1))

    def loss(self, outputs: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error over the cells with a score."""
        known = ~scores.isnan()
        errors = (outputs - self.wanted(scores)).masked_fill(~known, 0)
        return (errors**2).sum() / known.sum()

    def wanted(self, scores: torch.Tensor) -> torch.Tensor:
        """Return the outputs that would be right."""
        losses = -scores.clamp(min=_LEAST_SCORE).log()
        return (losses - losses.new_tensor(self.means)) / self.spread

    def quality(self, outputs: Array) -> Array:
        """Return exp(−loss)."""
        quality: Array = np.exp(-np.maximum(self.losses(outputs), 0))
        return quality

    def losses(self, outputs: Array) -> Array:
        """Return the predicted losses in nats."""
        losses: Array = self.means + self.spread * outputs
        return losses


@dataclass(frozen=True)
class RankedLosses(Losses):
    """As `Losses`, with a term that looks at the decision: which models are the prompt's best?

    A squared error spends most of its effort on how hard a prompt is for all models, which decides
    nothing. Added is the cross-entropy between the shares softmax(−loss / 0.3) that the measured
    losses and the predicted ones give.
    """

    def loss(self, outputs: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error over cells, plus the cross-entropy over prompts."""
        nowhere = scores.isnan()
        means = outputs.new_tensor(self.means)

        def of_losses(standardised: torch.Tensor) -> torch.Tensor:
            losses = means + self.spread * standardised
            return (-losses / _TEMPERATURE).masked_fill(nowhere, -1e4)

        wanted = of_losses(self.wanted(scores).nan_to_num()).softmax(dim=1)
        given = of_losses(outputs).log_softmax(dim=1)
        return super().loss(outputs, scores) - (wanted * given).sum(dim=1).mean()


@dataclass(eq=False)
class PerceptivePredictor(BertPredictor):
    """Predicts each model's loss with a fine-tuned encoder: the router of the paper.

    Hari and Thomson (*Tryage*, arXiv 2308.11601) regress the masked-language-model loss of every
    expert on the prompt; a score here is exp(−loss), so that the least loss is the best score.
    Tables of other scores are read the same way, a score below 0.0001 as that much. The other
    attributes are those of `BertPredictor`.

    Attributes:
        loss: `mse`, the squared error of the losses; or `ranking`, which also looks at which
            model is best.

    Example:
        PerceptivePredictor("prajjwal1/bert-small").fit(table, checkpoints="run-1")
    """

    name: ClassVar[str] = "perceptive"
    readings: ClassVar[Mapping[str, type[Reading]]] = {"mse": Losses, "ranking": RankedLosses}

    _head_rate: ClassVar[float] = 1.0  # it is not new
    loss: str = "mse"

    def _head(
        self,
        body: Backbone,
        reading: Reading,
        texts: NDArray[np.object_],
        scores: NDArray[np.float32],
    ) -> torch.nn.Linear:
        """Return the head that does best with the encoder as it is, by ridge regression.

        From zero, the encoder would first learn what to do for a head that knows nothing (Kumar et
        al., 2022, *Fine-tuning can distort pretrained features*, arXiv 2202.10054).
        """
        import torch

        assert isinstance(reading, Losses)
        vectors = torch.from_numpy(embed(body.eval(), texts.tolist())).double()
        measured = torch.from_numpy(scores)
        wanted = reading.wanted(measured).nan_to_num().double()  # the mean, where not measured
        middle, level = vectors.mean(dim=0), wanted.mean(dim=0)
        features = vectors - middle
        penalty = _RIDGE * features.var(dim=0, correction=0).mean().clamp(min=1e-6)
        gram = features.T @ features + penalty * torch.eye(body.width, dtype=torch.float64)
        slopes = torch.linalg.solve(gram, features.T @ (wanted - level))
        head = torch.nn.Linear(body.width, wanted.shape[1])
        head.weight.data.copy_(slopes.T)
        head.bias.data.copy_(level - middle @ slopes)
        return head

    def embed(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Return what the encoder makes of each prompt, float32 (n_prompts, width).

        Raises:
            NotFitted: Neither `fit` nor `load` came before.
        """
        self._check_fitted()
        return embed(self._body.to(device_of(self.device)), prompts)

    def embed_untrained(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Return what the encoder made of each prompt before `fit`, float32 (n_prompts, width).

        Raises:
            UsageError: The backbone is no longer where it was.
            MissingExtra: Needs `pip install 'tryage[train]'`.
        """
        need_torch()
        from tryage.predictors.backbone import Backbone

        body = Backbone.load(self.backbone, self._pooling, self.max_tokens)
        return embed(body.eval().to(device_of(self.device)), prompts)


def losses_of(scores: NDArray[np.float32]) -> Array:
    """Return the losses in nats that scores stand for, −log(score), as `perceptive` learns them."""
    losses: Array = -np.log(np.clip(scores.astype(np.float64), _LEAST_SCORE, 1))
    return losses


def embed(body: Backbone, prompts: Sequence[str]) -> NDArray[np.float32]:
    """Return the vectors of prompts, read in batches of like length, float32 (n_prompts, width)."""
    import torch

    vectors = np.empty((len(prompts), body.width), dtype=np.float32)
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    for start in range(0, len(order), _BATCH):
        rows = order[start : start + _BATCH]
        with torch.inference_mode():
            vectors[rows] = body([prompts[row] for row in rows]).cpu().numpy()
    return vectors
