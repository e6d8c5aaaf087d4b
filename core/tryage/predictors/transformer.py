"""What the predictors share that fine-tune a transformer: how it learns, reads, saves and loads."""

from __future__ import annotations

import hashlib
import json
import zlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from tryage.data.split import folds_by_prompt
from tryage.data.table import PerformanceTable
from tryage.errors import CorruptArtifact, InvalidTable, UsageError, nearest
from tryage.predictors.base import Predictor
from tryage.predictors.devices import device_of, has_bfloat16, need_torch
from tryage.predictors.pairwise import position
from tryage.predictors.readings import Reading
from tryage.predictors.staging import staged

if TYPE_CHECKING:
    import torch

    from tryage.predictors.backbone import Backbone
    from tryage.predictors.fine_tune import Checkpoint, Recipe

BACKBONE_FOLDER = "backbone"
CHECKPOINT_FILE = "checkpoint.safetensors"

_JUDGES = 512  # prompts that say when to stop: a tenth of the table, but no more than so many
_BATCH = 64  # prompts read at once where there is an accelerator
_COUNTS = ("max_tokens", "epochs", "max_steps", "batch_size", "check_every")


@dataclass(eq=False)
class TransformerPredictor(Predictor):
    """Base of the predictors that fine-tune a pretrained transformer with a linear head on top.

    Every field that counts tokens, steps or prompts is at least 1. Training runs in bfloat16 where
    the processor computes in it, prediction in float32: on a processor one prompt after the other,
    so that a prompt's row is the same in any company; on an accelerator in batches, where it is
    the same up to rounding.

    A subclass says how a text becomes a vector (`_pooling`, `_wrap`) and which losses it knows
    (`readings`).

    Attributes:
        backbone: A folder that holds a Hugging Face model, or a name on their hub.
        loss: What the outputs stand for and how they are taught; one of `readings`.
        max_tokens: Where prompts are cut; a backbone's own limit counts too.
        epochs: Passes over the table at most.
        max_steps: Steps of gradient descent at most.
        batch_size: Prompts in a step.
        learning_rate: Highest learning rate of the backbone; the head's is ten times as high.
        weight_decay: Weight decay of AdamW.
        warmup: Share of the steps in which the learning rate rises, in [0, 1).
        check_every: Steps between two checks: the loss on held-out prompts is measured, and the
            state written to the checkpoint. Training stops after five checks without improvement.
        seed: The same seed, table and machine give the same predictor.
        device: Where to compute, as torch names it; `auto` takes an accelerator if there is one.
    """

    readings: ClassVar[Mapping[str, type[Reading]]]
    _head_rate: ClassVar[float] = 10.0  # it is new, and learns so many times as fast as the rest

    backbone: str
    loss: str = "bce"
    max_tokens: int = 512
    epochs: int = 3
    max_steps: int = 2000
    batch_size: int = 16
    learning_rate: float = 5e-5
    weight_decay: float = 0.01
    warmup: float = 0.1
    check_every: int = 100
    seed: int = 0
    device: str = "auto"

    @property
    @abstractmethod
    def _pooling(self) -> str:
        """What stands for the text; see `Backbone.load`."""

    def _wrap(self, prompt: str) -> str:
        """Return the text that the backbone reads."""
        return prompt

    def fit(self, table: PerformanceTable, checkpoints: str | Path | None = None) -> Self:
        """Fine-tune on a table and return self; cells without a score teach nothing.

        Args:
            table: What to learn from. A tenth of its prompts is held out and says when to stop.
            checkpoints: A folder to keep the state of the training in. If it holds the state of
                this training, which broke off, it goes on from there.

        Raises:
            UsageError: The loss or the device does not exist, a count is below 1, the backbone
                cannot be loaded, or the checkpoint is of another training.
            InvalidTable: The table holds no score to learn from.
            SaveFailed: The checkpoint cannot be written.
            MissingExtra: Needs `pip install 'tryage[train]'`.
        """
        need_torch()
        for count in _COUNTS:
            if getattr(self, count) < 1:
                raise UsageError(f"{count}={getattr(self, count)} is too few; give at least 1.")
        reading = self._reading_class().of(table)
        rows = np.flatnonzero(reading.teaches(table.scores))
        if not len(rows):
            raise InvalidTable(
                f"the table holds no score that loss={self.loss!r} can learn from; it needs one."
            )
        checkpoint = None if checkpoints is None else self._checkpoint(Path(checkpoints), table)
        body, head, bias = self._train(table.rows(rows), reading, checkpoint)
        self.models_ = table.models
        self.reading_ = asdict(reading)
        self.head_, self.head_bias_ = head, bias
        self._body = body
        return self

    def predict(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Return the predicted quality, float32 (n_prompts, n_models) in [0, 1].

        Raises:
            NotFitted: Neither `fit` nor `load` came before.
        """
        quality = np.empty((len(prompts), len(self.models)), dtype=np.float32)
        reading = self._reading()
        for row, outputs in self._outputs(prompts):
            quality[row] = reading.quality(outputs)
        return np.clip(quality, 0, 1, out=quality)

    def win_probability(
        self, prompts: Sequence[str], strong: str, weak: str
    ) -> NDArray[np.float64]:
        """Return P(strong beats weak), float64 (n_prompts,): RouteLLM's score of a prompt.

        A tie counts half; with a loss of RouteLLM's, for the weak model, as it does there.

        Args:
            prompts: n_prompts texts.
            strong: One of `models`.
            weak: Another.

        Raises:
            UnknownModel: A name is not among `models`.
            NotFitted: Neither `fit` nor `load` came before.
        """
        a, b = position(self, strong), position(self, weak)
        chances = np.empty(len(prompts))
        reading = self._reading()
        for row, outputs in self._outputs(prompts):
            chances[row] = reading.win(outputs, a, b)
        return chances

    def save(self, directory: str | Path) -> Path:
        """Write the predictor into the directory, the backbone in a folder of its own; return it.

        That folder has the form of the Hugging Face library. If the disc is full, what was in the
        directory before stays whole.
        """
        self._check_fitted()
        directory = Path(directory)
        with staged(directory) as fresh:
            self._body.save(fresh / BACKBONE_FOLDER)
            self.backbone_crc32_ = _checksums(fresh / BACKBONE_FOLDER)
            super().save(fresh)
        return directory

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """Return the predictor that `save` wrote into the directory; needs no network.

        Raises:
            CorruptArtifact: A file is missing, truncated, damaged or of another predictor.
            MissingExtra: Needs `pip install 'tryage[train]'`.
        """
        need_torch()
        from tryage.predictors.backbone import Backbone

        predictor = super().load(directory)
        folder = Path(directory) / BACKBONE_FOLDER
        found = _checksums(folder) if folder.is_dir() else {}
        wanted = vars(predictor).get("backbone_crc32_", {})
        damaged = [name for name, crc in wanted.items() if found.get(name) != crc]
        if damaged or not wanted:
            raise CorruptArtifact(
                f"{folder}: {', '.join(damaged) or 'everything'} is missing or differs from what "
                "was saved. Copy or train it again."
            )
        predictor.device = "auto"  # where it learned says nothing of where it will be used
        predictor._body = Backbone.load(str(folder), predictor._pooling, predictor.max_tokens)
        predictor._body.eval()
        return predictor

    def _reading_class(self) -> type[Reading]:
        if self.loss not in self.readings:
            raise UsageError(
                f"loss={self.loss!r} does not exist.{nearest(self.loss, self.readings)} "
                f"{type(self).__name__} knows: {', '.join(self.readings)}."
            )
        return self.readings[self.loss]

    def _reading(self) -> Reading:
        return self._reading_class()(**vars(self)["reading_"])

    def _checkpoint(self, folder: Path, table: PerformanceTable) -> Checkpoint:
        from tryage.predictors.fine_tune import Checkpoint

        told = [self.name, asdict(self) | {"device": None}, table.models, table.prompts]
        run = hashlib.sha256(json.dumps(told).encode() + table.scores.tobytes()).hexdigest()
        return Checkpoint(folder / CHECKPOINT_FILE, run)

    def _train(
        self, table: PerformanceTable, reading: Reading, checkpoint: Checkpoint | None
    ) -> tuple[Backbone, NDArray[np.float32], NDArray[np.float32]]:
        """Return the backbone after training, the weights of the head and its bias."""
        import torch

        from tryage.predictors.backbone import Backbone
        from tryage.predictors.fine_tune import fine_tune

        device = device_of(self.device)
        texts = np.array([self._wrap(prompt) for prompt in table.prompts], dtype=object)
        scores = torch.from_numpy(table.scores).to(device)
        fold = folds_by_prompt(table.prompts, max(10, len(table) // _JUDGES), self.seed)
        judges = np.flatnonzero(fold == 0)
        learners = np.flatnonzero(fold) if fold.any() else judges
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(self.seed)  # of weights that the backbone's files lack
            body = Backbone.load(self.backbone, self._pooling, self.max_tokens)
            head = self._head(body.to(device), reading, texts[learners], table.scores[learners])
            network = torch.nn.ModuleDict({"body": body, "head": head}).to(device)

            def loss(rows: NDArray[np.intp]) -> torch.Tensor:
                with torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device)):
                    vectors = body(texts[rows])
                return reading.loss(head(vectors), scores[torch.from_numpy(rows).to(device)])

            lengths = [min(len(text), 10 * self.max_tokens) for text in texts]
            recipe = self._recipe(len(learners))
            fine_tune(network, loss, learners, judges, lengths, recipe, checkpoint)
        weight, bias = (p.detach().cpu().numpy() for p in (head.weight, head.bias))
        return body, np.ascontiguousarray(weight.T), bias

    def _head(
        self,
        body: Backbone,
        reading: Reading,
        texts: NDArray[np.object_],
        scores: NDArray[np.float32],
    ) -> torch.nn.Linear:
        """Return the head as it starts: from zero, so that no output is favoured by chance."""
        import torch

        start = reading.start()
        head = torch.nn.Linear(body.width, len(start))
        torch.nn.init.zeros_(head.weight)
        head.bias.data.copy_(torch.from_numpy(start))
        return head

    def _recipe(self, n_learners: int) -> Recipe:
        from tryage.predictors.fine_tune import Recipe

        return Recipe(
            steps=min(self.max_steps, self.epochs * -(-n_learners // self.batch_size)),
            batch_size=self.batch_size,
            rates={"": self.learning_rate, "head": self._head_rate * self.learning_rate},
            weight_decay=self.weight_decay,
            warmup=self.warmup,
            check_every=self.check_every,
            seed=self.seed,
        )

    def _outputs(self, prompts: Sequence[str]) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Yield each prompt's number and its outputs (n_outputs,), in any order."""
        import torch

        body, head, bias = self._body, self.head_, self.head_bias_
        device = device_of(self.device)
        body.to(device)
        size = 1 if device.type == "cpu" else _BATCH
        order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            with torch.inference_mode():
                vectors = body([self._wrap(prompts[row]) for row in rows]).cpu().numpy()
            for row, vector in zip(rows, vectors, strict=True):
                yield row, (vector @ head + bias).astype(np.float64)


def _checksums(folder: Path) -> dict[str, int]:
    return {path.name: zlib.crc32(path.read_bytes()) for path in sorted(folder.iterdir())}
