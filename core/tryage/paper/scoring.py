"""The performance table: the loss and the accuracy of every expert on every prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tryage.data import PerformanceTable
from tryage.experts import Expert
from tryage.paper.prompts import Prompt
from tryage.predictors.staging import staged

if TYPE_CHECKING:
    from tryage.paper.published import PublishedExpert

_BATCH = 256
"""Prompts that an expert reads between two files: as many may be lost when a run is killed."""


def score(
    experts: Sequence[Expert | PublishedExpert],
    prompts: Sequence[Prompt],
    file: Path,
    progress: Callable[[str], None],
) -> PerformanceTable:
    """Return the table of a split, and write it; from the file if it stands there.

    The score is exp(-loss), so that the best score is the least loss. The loss is the mean
    cross-entropy in nats per masked token where all experts share one vocabulary, and per masked
    character where they do not; `loss`, `accuracy`, `tokens` and `kind` are columns of their own.

    Args:
        experts: The columns.
        prompts: The rows.
        file: Where the table goes; parts that are done lie beside it until then.
        progress: Called with what is being done.
    """
    if not file.exists():
        shared = all(isinstance(expert, Expert) for expert in experts)
        columns = []
        for number, expert in enumerate(experts, start=1):
            progress(f"{file.stem}: expert {number} of {len(experts)}, {expert.name}")
            columns.append(_judged(expert, prompts, file.with_suffix("") / expert.name))
        judged = np.stack(columns, axis=1)  # (n_prompts, n_experts, 2)
        if not shared:
            letters = [sum(map(len, p.answers)) / len(p.answers) for p in prompts]
            judged[:, :, 0] /= np.array(letters)[:, None]
        _write(file, [expert.name for expert in experts], prompts, judged)
    return PerformanceTable.read(file)


def _judged(
    expert: Expert | PublishedExpert, prompts: Sequence[Prompt], folder: Path
) -> NDArray[np.float64]:
    """Return loss and accuracy of each prompt, (n_prompts, 2), batch by batch."""
    parts = []
    for start in range(0, len(prompts), _BATCH):
        file = folder / f"{start}.npy"
        if not file.exists():
            made = np.stack(judge(expert, prompts[start : start + _BATCH]), axis=1)
            with staged(folder) as fresh:
                np.save(fresh / file.name, made.astype(np.float64))
        parts.append(np.load(file))
    whole: NDArray[np.float64] = np.concatenate(parts)
    return whole


def judge(
    expert: Expert | PublishedExpert, prompts: Sequence[Prompt]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return an expert's loss and accuracy on each prompt, both (n_prompts,).

    In bfloat16 where the processor computes in it.
    """
    import torch

    from tryage.predictors.devices import has_bfloat16

    with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16(torch.device("cpu"))):
        return expert.judge(prompts)


def _write(
    file: Path, names: Sequence[str], prompts: Sequence[Prompt], judged: NDArray[np.float64]
) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [
        {
            "prompt_id": prompt.prompt_id,
            "prompt": prompt.text,
            "model": name,
            "score": float(np.exp(-loss)),
            "domain": prompt.domain,
            "kind": prompt.kind,
            "loss": float(loss),
            "accuracy": float(accuracy),
            "tokens": prompt.tokens,
        }
        for prompt, columns in zip(prompts, judged, strict=True)
        for name, (loss, accuracy) in zip(names, columns, strict=True)
    ]
    with staged(file.parent) as fresh:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), fresh / file.name)
