"""The training of a transformer: in batches of like length, and resumed where it broke off."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from tryage.errors import CorruptArtifact, SaveFailed, UsageError
from tryage.predictors.staging import staged

Ints = NDArray[np.intp]
Tensors = dict[str, torch.Tensor]

_PATIENCE = 5  # checks without improvement
_POOL = 32  # batches whose texts are sorted by length together
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW remembers of each weight


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        steps: Steps of gradient descent at most.
        batch_size: Prompts in a step.
        rates: Learning rate of AdamW (Loshchilov and Hutter, 2019) by a parameter's first name;
            `""` for the others.
        weight_decay: Its weight decay, for matrices only.
        warmup: Share of the steps in which the rate rises; in the rest it falls to 0, both evenly.
        check_every: Steps between two checks.
        seed: The same seed gives the same weights.
    """

    steps: int
    batch_size: int
    rates: dict[str, float]
    weight_decay: float
    warmup: float
    check_every: int
    seed: int

    def share_of_rate(self, step: int) -> float:
        """Return the share of the learning rate at a step, in (0, 1]."""
        rising = max(1.0, self.warmup * self.steps)
        falling = (self.steps - step) / max(1.0, self.steps - rising)
        return min(1.0, (step + 1) / rising, falling)


@dataclass
class _State:
    """How far a training has come."""

    step: int = 0
    best_loss: float = float("inf")
    since: int = 0  # checks since the best one
    best: Tensors = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """Where the state of a training is kept.

    Attributes:
        path: One file, always whole: the next state replaces it at one stroke.
        run: What tells this training from any other.
    """

    path: Path
    run: str

    def write(self, parameters: Tensors, optimiser: torch.optim.Optimizer, state: _State) -> None:
        """Write the state of a training.

        Raises:
            SaveFailed: It cannot be written; the state before is still there.
        """
        tensors = {f"now.{name}": p.detach() for name, p in parameters.items()}
        tensors |= {f"best.{name}": p for name, p in state.best.items()}
        for name, p in parameters.items():
            tensors |= {f"{m}.{name}": optimiser.state[p][m] for m in optimiser.state.get(p, {})}
        plain = {"step": state.step, "best_loss": state.best_loss, "since": state.since}
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        try:
            with staged(self.path.parent) as fresh:
                metadata = {"run": self.run, "state": json.dumps(plain)}
                save_file(contiguous, fresh / self.path.name, metadata)
        except (OSError, SafetensorError) as error:
            raise SaveFailed(
                f"{self.path}: the checkpoint cannot be written ({error}); the one before it, if "
                "there was one, is whole. Make room, and train on from it with the same call."
            ) from error

    def read(self, parameters: Tensors, optimiser: torch.optim.Optimizer) -> _State:
        """Return the state that was written, and put the weights in their places.

        Raises:
            UsageError: It is the state of another training.
            CorruptArtifact: The file cannot be read.
        """
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise CorruptArtifact(
                f"{self.path}: not a checkpoint ({error}). Delete it to begin anew."
            ) from error
        if metadata.get("run") != self.run:
            raise UsageError(
                f"{self.path}: the checkpoint of another training (other table, predictor or "
                "hyperparameters). Give another folder, or delete it to begin anew."
            )
        plain: dict[str, Any] = json.loads(metadata["state"])
        best = {}
        for name, p in parameters.items():
            p.data.copy_(tensors[f"now.{name}"])
            best[name] = tensors[f"best.{name}"].to(p.device)
            memory = {m: tensors[f"{m}.{name}"] for m in _MOMENTS if f"{m}.{name}" in tensors}
            if memory:
                optimiser.state[p] = {
                    m: value if m == "step" else value.to(p.device) for m, value in memory.items()
                }
        return _State(**plain, best=best)


def fine_tune(
    network: torch.nn.Module,
    loss: Callable[[Ints], torch.Tensor],
    learners: Ints,
    judges: Ints,
    lengths: Sequence[int],
    recipe: Recipe,
    checkpoint: Checkpoint | None = None,
) -> None:
    """Train a network in place; it ends with the weights that did best on the judges.

    At step 0 and at every check, the loss on the judges is measured and the state is written to the
    checkpoint. A checkpoint that is there already is gone on from, to the same weights as if
    nothing had happened: what chance decides hangs on the seed and the step alone.

    Args:
        network: What learns.
        loss: Called with numbers of prompts; returns the mean loss over them.
        learners: Numbers of the prompts to learn from.
        judges: Numbers of the prompts that say when to stop.
        lengths: Length of each prompt, in any unit.
        recipe: How to train.
        checkpoint: Where to keep the state, if anywhere.

    Raises:
        UsageError: The checkpoint is that of another training.
        CorruptArtifact: The checkpoint cannot be read.
        SaveFailed: The checkpoint cannot be written.
    """
    parameters: Tensors = {name: p for name, p in network.named_parameters() if p.requires_grad}
    optimiser = _optimiser(parameters, recipe)
    per_epoch = -(-len(learners) // recipe.batch_size)

    def check() -> None:
        network.eval()
        now = _mean_loss(loss, judges, lengths, recipe.batch_size)
        network.train()
        state.since += 1
        if now < state.best_loss:
            state.best_loss, state.since = now, 0
            state.best = {name: p.detach().clone() for name, p in parameters.items()}
        if checkpoint:
            checkpoint.write(parameters, optimiser, state)

    if checkpoint and checkpoint.path.exists():
        state = checkpoint.read(parameters, optimiser)
    else:
        state = _State()
        check()
    network.train()
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("training", total=recipe.steps, completed=state.step)
        epoch, batches = -1, list[Ints]()
        while state.step < recipe.steps and state.since < _PATIENCE:
            if state.step // per_epoch != epoch:
                epoch = state.step // per_epoch
                batches = _batches(learners, lengths, recipe, epoch)
            torch.manual_seed(recipe.seed * 1_000_003 + state.step)  # of dropout
            _descend(loss(batches[state.step % per_epoch]), parameters, optimiser, recipe, state)
            state.step += 1
            progress.update(task, completed=state.step)
            if state.step % recipe.check_every == 0 or state.step == recipe.steps:
                check()
                progress.update(task, description=f"training, loss {state.best_loss:.4f}")
    for name, p in parameters.items():
        p.data.copy_(state.best[name])
    network.eval()


def _optimiser(parameters: Tensors, recipe: Recipe) -> torch.optim.Optimizer:
    groups: dict[tuple[float, float], list[torch.Tensor]] = {}
    for name, p in parameters.items():
        rate = recipe.rates.get(name.split(".")[0], recipe.rates[""])
        groups.setdefault((rate, recipe.weight_decay if p.ndim > 1 else 0.0), []).append(p)
    return torch.optim.AdamW(
        {"params": some, "lr": rate, "rate": rate, "weight_decay": decay}
        for (rate, decay), some in groups.items()
    )


def _descend(
    loss: torch.Tensor,
    parameters: Tensors,
    optimiser: torch.optim.Optimizer,
    recipe: Recipe,
    state: _State,
) -> None:
    for group in optimiser.param_groups:
        group["lr"] = group["rate"] * recipe.share_of_rate(state.step)
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
    optimiser.step()
    optimiser.zero_grad()


def _batches(learners: Ints, lengths: Sequence[int], recipe: Recipe, epoch: int) -> list[Ints]:
    """Return an epoch's batches: drawn at random, of like length, so that little is padding."""
    rng = np.random.default_rng((recipe.seed, epoch))
    order = rng.permutation(learners)
    pool = _POOL * recipe.batch_size
    batches: list[Ints] = []
    for start in range(0, len(order), pool):
        some = order[start : start + pool]
        some = some[np.argsort(np.asarray(lengths)[some], kind="stable")]
        batches += np.split(some, range(recipe.batch_size, len(some), recipe.batch_size))
    return [batches[at] for at in rng.permutation(len(batches))]


def _mean_loss(
    loss: Callable[[Ints], torch.Tensor], rows: Ints, lengths: Sequence[int], batch_size: int
) -> float:
    rows = rows[np.argsort(np.asarray(lengths)[rows], kind="stable")]
    total = 0.0
    with torch.no_grad():
        for start in range(0, len(rows), batch_size):
            some = rows[start : start + batch_size]
            total += float(loss(some)) * len(some)
    return total / len(rows)
