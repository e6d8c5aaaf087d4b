"""Prompts to vectors by a transformer: finer than the static encoder, hundreds of times slower."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tryage.predictors.devices import device_of, has_bfloat16, need_torch

if TYPE_CHECKING:
    from tryage.predictors.backbone import Backbone

Array = NDArray[np.float32]

_BATCH = 32
_MAX_TOKENS = 256
_KEPT = 65_536


class SentenceEncoder:
    """A transformer, the mean of whose last layer stands for a text; see `sentence_encoder`.

    It keeps the vectors of the texts that it read last, since several predictors that learn from
    one table read the same prompts. Where it computes in 16 bits, a text's vector may differ in the
    third digit by the texts that it is read with.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone.eval()
        self._kept: dict[str, Array] = {}

    def encode(self, texts: Sequence[str]) -> Array:
        """Return one unit vector per text, float32 (n_texts, n_dimensions)."""
        vectors = np.empty((len(texts), self._backbone.width), dtype=np.float32)
        known = {text: self._kept[text] for text in texts if text in self._kept}
        fresh = sorted({*texts} - known.keys(), key=len)  # like lengths together: less padding
        for start in range(0, len(fresh), _BATCH):
            batch = fresh[start : start + _BATCH]
            known |= dict(zip(batch, self._read(batch), strict=True))
        if len(self._kept) + len(fresh) > _KEPT:
            self._kept.clear()
        self._kept |= {text: known[text] for text in fresh[:_KEPT]}
        for row, text in zip(vectors, texts, strict=True):
            row[:] = known[text]
        return vectors

    def _read(self, texts: Sequence[str]) -> Array:
        import torch

        device = self._backbone.model.device
        with (
            torch.inference_mode(),
            torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device)),
        ):
            vectors = self._backbone(texts).float()
        unit: Array = torch.nn.functional.normalize(vectors, dim=1).cpu().numpy()
        return unit


@functools.cache
def sentence_encoder(name: str) -> SentenceEncoder:
    """Return the sentence encoder of a name, loaded once per process.

    Args:
        name: A folder, or a name on the Hugging Face hub, such as
            `sentence-transformers/all-MiniLM-L6-v2`.

    Raises:
        MissingExtra: It needs `pip install 'tryage[train]'`.
        UsageError: There is no such folder, or the hub does not give that name.
    """
    need_torch()
    from tryage.predictors.backbone import Backbone

    backbone = Backbone.load(name, "mean", _MAX_TOKENS)
    return SentenceEncoder(backbone.to(device_of("auto")))
