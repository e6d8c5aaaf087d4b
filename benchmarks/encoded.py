"""The light predictors with a Hugging Face encoder's vector behind the prompt's features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tryage.predictors.domain import DomainPredictor
from tryage.predictors.mlp import MLPPredictor
from tryage.predictors.ridge import RidgePredictor

Array = np.ndarray

VECTORS: dict[str, Array] = {}
"""The vector of each prompt, computed once by `encode`."""


class _Encoded:
    """Features with the vector of a Hugging Face encoder behind them."""

    def _features(self, prompt: str) -> Array:
        return np.concatenate((super()._features(prompt), VECTORS[prompt]))  # type: ignore[misc]


class EncodedRidge(_Encoded, RidgePredictor):
    """Ridge regression on vector, form and the encoder's vector."""


class EncodedMLP(_Encoded, MLPPredictor):
    """The network on vector, form and the encoder's vector."""


class EncodedDomain(_Encoded, DomainPredictor):
    """The domain guessed from vector, form and the encoder's vector."""


def encode(name: str, prompts: Sequence[str]) -> None:
    """Keep the mean of an encoder's last layer for each prompt, as unit vectors times 4.

    Args:
        name: On the Hugging Face hub, or a folder.
        prompts: Texts, cut off at 256 tokens.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(name), AutoModel.from_pretrained(name).eval()
    batches = sorted(set(prompts), key=len)
    for start in range(0, len(batches), 32):
        some = batches[start : start + 32]
        tokens = tokenizer(some, truncation=True, max_length=256, padding=True, return_tensors="pt")
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            last = model(**tokens).last_hidden_state.float()
        mask = tokens["attention_mask"][:, :, None]
        vectors = torch.nn.functional.normalize((last * mask).sum(1) / mask.sum(1), dim=1)
        VECTORS.update(zip(some, (4 * vectors).numpy(), strict=True))
