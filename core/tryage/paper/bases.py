"""What experts start from: generalists of four sizes, and the experts that come with the package.

The small and the large one `tryage.training.paper_bases` trained on the mix of all texts; the
README beside their weights says on which, and how. The medium one and the specialists are those of
the demo, taught to read as far as the large one. All share one vocabulary, and all but the small
one their table of word embeddings.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tryage.errors import CorruptArtifact
from tryage.experts.packing import read_weights
from tryage.experts.passages import WEIGHTS

if TYPE_CHECKING:
    import torch
    from transformers import ElectraForMaskedLM

    from tryage.paper.settings import Base

FOLDER = Path(__file__).parent / "weights"
LEARNED_FILE = "learned.npy"
WEIGHTS_FILE = "weights.safetensors"
TABLE = "electra.embeddings.word_embeddings.weight"
OUTPUT = "generator_lm_head.weight"

_ATTENTION = "eager"
"""For training: on a CPU the backward pass of the fused kernel is slower than the plain one."""

_POSITIONS = "electra.embeddings.position_embeddings.weight"
_HUGE = (4, 2048)
"""Layers and width of the feed-forward part; the large base has 2 of 768."""


def base_of(name: Base, folder: Path = FOLDER) -> ElectraForMaskedLM:
    """Return a model to start an expert from, in float32.

    Its table of word embeddings is not trainable: it serves all experts alike.

    Raises:
        MissingExtra: torch or transformers is not installed.
        CorruptArtifact: A file is missing, damaged or not of this model.
    """
    if name == "huge":
        from tryage.training.sizes import grow

        return grow(_load(folder / "large"), *_HUGE)
    if name in ("small", "large"):
        return _load(folder / name)
    positions = read_weights(folder / "large" / WEIGHTS_FILE)[_POSITIONS]
    return _load(WEIGHTS / ("tiny" if name == "medium" else name), positions)


def _load(folder: Path, positions: torch.Tensor | None = None) -> ElectraForMaskedLM:
    weights = read_weights(folder / WEIGHTS_FILE)
    from transformers import ElectraConfig, ElectraForMaskedLM

    if TABLE not in weights:
        weights[TABLE] = read_weights(WEIGHTS / "embeddings.safetensors")["word_embeddings"]
    weights[OUTPUT] = weights[TABLE]
    config = ElectraConfig.from_json_file(folder / "config.json")
    config._attn_implementation = _ATTENTION
    if positions is not None:
        weights[_POSITIONS] = positions
        config.max_position_embeddings = len(positions)
    model = ElectraForMaskedLM(config)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CorruptArtifact(f"{folder}: weights do not fit config.json: {reason}") from error
    model.tie_weights()
    model.get_input_embeddings().requires_grad_(False)
    model.train(False)
    return model


@functools.cache
def learned_documents(folder: Path = FOLDER) -> frozenset[int]:
    """Return the fingerprints of the documents that the bases have learned from."""
    return frozenset(np.load(folder / LEARNED_FILE).tolist())
