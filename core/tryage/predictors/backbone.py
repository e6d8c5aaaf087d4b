"""A pretrained transformer that reads texts: what the transformer predictors are built on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from huggingface_hub import snapshot_download
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging

from tryage.errors import UsageError

# Longer than nearly every token, so that a novel is not tokenised to keep its first page.
_CHARACTERS_PER_TOKEN = 20

_PLAIN_FILES = ("*.json", "*.txt", "*.model", "*.jinja")


class Backbone(torch.nn.Module):
    """A transformer of the Hugging Face library and its tokenizer: texts in, vectors out."""

    def __init__(self, model: Any, tokenizer: Any, pooling: str, max_tokens: int) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.pooling = pooling
        positions = getattr(model.config, "max_position_embeddings", None) or max_tokens
        self.max_tokens = min(max_tokens, tokenizer.model_max_length, positions)

    @classmethod
    def load(cls, name: str, pooling: str, max_tokens: int) -> Self:
        """Return the transformer of a name, in float32.

        Args:
            name: A folder, or a name on the Hugging Face hub.
            pooling: What stands for the text: `mean` of its tokens, its first (`cls`) or `last`.
            max_tokens: Where a text is cut: at its end, or at its beginning for `last`.

        Raises:
            UsageError: There is no such folder, or the hub does not give that name.
        """
        folder = name if Path(name).is_dir() else _download(name)
        try:
            with quietly():
                tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
                model = AutoModel.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # transformers raises whatever its parts raise
            raise UsageError(
                f"transformer {name!r}: {folder} holds no transformer that can be read "
                f"({_first_line(error)}); config.json, model.safetensors and the tokenizer's files "
                "belong there."
            ) from error
        tokenizer.padding_side = "right"
        tokenizer.truncation_side = "left" if pooling == "last" else "right"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        return cls(model.float(), tokenizer, pooling, max_tokens)

    def save(self, directory: Path) -> None:
        """Write a folder that `load`, and any program that reads such folders, can read."""
        with quietly():
            self.model.save_pretrained(directory)
            self.tokenizer.save_pretrained(directory)

    @property
    def width(self) -> int:
        """Length of the vectors."""
        return int(self.model.config.hidden_size)

    def forward(self, texts: Sequence[str]) -> torch.Tensor:
        """Return one vector per text, (n_texts, width)."""
        # One setting for all calls: to change it under another thread's feet is an error.
        encoded = self.tokenizer(
            [self._cut(text) for text in texts],
            padding=True,
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        ).to(self.model.device)
        hidden = self.model(**encoded).last_hidden_state  # (n_texts, n_tokens, width)
        mask = encoded["attention_mask"]
        if self.pooling == "cls":
            vectors: torch.Tensor = hidden[:, 0]
        elif self.pooling == "last":
            vectors = hidden[torch.arange(len(texts), device=hidden.device), mask.sum(dim=1) - 1]
        else:
            vectors = (hidden * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        return vectors.float()

    def _cut(self, text: str) -> str:
        limit = _CHARACTERS_PER_TOKEN * self.max_tokens
        text = text[-limit:] if self.pooling == "last" else text[:limit]
        return text.encode("utf-8", "replace").decode()  # half a surrogate pair is no text


def _download(name: str) -> str:
    """Return the folder in the cache of the Hugging Face library that holds a model of the hub."""
    if name.startswith((".", "~", os.sep)) or name.count("/") > 1:
        raise UsageError(f"transformer {name!r}: there is no such folder; give the path of one.")
    try:
        # Not the formats of other programs, nor what lies in subfolders.
        for weights in ("*.safetensors", "*.bin"):
            folder = snapshot_download(
                name, allow_patterns=[*_PLAIN_FILES, weights], ignore_patterns="*/*"
            )
            if any(Path(folder).glob(weights)):
                break
    except Exception as error:  # not only its own errors, but those of whatever carries them
        raise UsageError(
            f"transformer {name!r}: there is no such folder, and the Hugging Face hub does not "
            f"give it ({_first_line(error)}); check the name and the connection, or give a folder "
            "that holds the model."
        ) from error
    return folder


@contextmanager
def quietly() -> Iterator[None]:
    """Keep back reports of unused weights: the heads of the pretraining are left out on purpose."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
