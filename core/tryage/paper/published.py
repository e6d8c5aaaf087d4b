"""Published experts: any masked language model of the Hugging Face hub, or of a folder.

Their vocabularies differ, so a word that one of them guesses as a whole is several guesses for
another. What is taken out is therefore whole words, and losses are measured per character.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForMaskedLM, AutoTokenizer

from tryage.errors import CorruptArtifact, UsageError
from tryage.experts import MASK, Filled, MaskedPrompt
from tryage.predictors.backbone import quietly

_BATCH = 16
_LONGEST = 512


def load_checked(kind: Any, name: str, folder: Path) -> Any:
    """Return a masked language model of a folder, in float32, if its weights are all there.

    Raises:
        CorruptArtifact: The weights do not fit the configuration, or cannot be read.
    """
    try:
        with quietly():
            model, told = kind.from_pretrained(
                folder, local_files_only=True, output_loading_info=True
            )
    except Exception as error:  # transformers raises whatever its parts raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CorruptArtifact(
            f"expert {name!r}: {str(folder)!r} cannot be read ({reason}); delete it."
        ) from error
    wrong = [str(key) for part in ("missing_keys", "mismatched_keys") for key in told[part]]
    if wrong:
        raise CorruptArtifact(
            f"expert {name!r}: the weights in {str(folder)!r} do not fit its configuration: "
            f"{', '.join(wrong[:3])}{' and more' if wrong[3:] else ''}; delete it, or mend it."
        )
    return model.float().train(False)


class PublishedExpert:
    """A masked language model with a vocabulary of its own; answers as `Expert` does."""

    domain = ""

    def __init__(self, name: str, model: Any, tokenizer: Any) -> None:
        self.name = name
        self.model = model
        self.tokenizer = tokenizer

    @classmethod
    def load(cls, name: str, source: str) -> PublishedExpert:
        """Return the expert of a folder, or of a name on the hub.

        Raises:
            UsageError: The hub does not give it, or it is no masked language model.
            CorruptArtifact: Its weights do not fit its configuration.
        """
        folder = Path(source) if Path(source).is_dir() else _download(name, source)
        model = load_checked(AutoModelForMaskedLM, name, folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        if tokenizer.mask_token is None or not tokenizer.is_fast:
            raise UsageError(
                f"expert {name!r}: {source!r} has no fast tokenizer with a mask; give a masked "
                "language model such as BERT or RoBERTa."
            )
        return cls(name, model, tokenizer)

    @cached_property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(weight.numel() for weight in self.model.parameters())

    def judge(self, prompts: Sequence[MaskedPrompt]) -> tuple[np.ndarray, np.ndarray]:
        """Return the loss per masked word, and the share of words whose tokens are all right.

        Returns:
            Two float32 arrays (n_prompts,). Words that lie beyond what the model reads count as
            guessed blindly, each token as one of the vocabulary.
        """
        losses = np.zeros(len(prompts), dtype=np.float32)
        shares = np.zeros(len(prompts), dtype=np.float32)
        rows = [self._row(prompt) for prompt in prompts]
        order = sorted(range(len(rows)), key=lambda at: len(rows[at][0]))
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            for at, logits in zip(batch, self._logits([rows[at][0] for at in batch]), strict=True):
                losses[at], shares[at] = self._judged(logits, *rows[at])
        return losses, shares

    def fill(self, text: str) -> Filled:
        """Return the likeliest token for each mask of `text`, and the text completed with them.

        Raises:
            UsageError: `text` holds no ``[MASK]``.
        """
        if MASK not in text:
            raise UsageError(f"no {MASK} in the text; put one where a word belongs.")
        ids = self.tokenizer(
            text.replace(MASK, self.tokenizer.mask_token), truncation=True, max_length=self._most
        )["input_ids"]
        places = [at for at, token in enumerate(ids) if token == self.tokenizer.mask_token_id]
        chances = self._logits([ids])[0][places].softmax(dim=1)
        top, best = chances.max(dim=1)
        words = tuple(self.tokenizer.decode([token]).strip() for token in best.tolist())
        gaps = text.split(MASK)
        filled = "".join(word + gap for word, gap in zip(words, gaps[1:], strict=False))
        return Filled(text=gaps[0] + filled, words=words, probabilities=tuple(top.tolist()))

    @cached_property
    def _most(self) -> int:
        positions = getattr(self.model.config, "max_position_embeddings", _LONGEST) - 2
        return int(min(self.tokenizer.model_max_length, positions, _LONGEST))

    def _row(self, prompt: MaskedPrompt) -> tuple[list[int], list[list[int]], list[list[int]]]:
        """Return the masked token ids, and the places and tokens of each word taken out."""
        text, spans = _complete(prompt)
        encoded = self.tokenizer(text, return_offsets_mapping=True, truncation=False)
        ids, places, answers = list(encoded["input_ids"]), [], []
        for start, end in spans:
            own = [
                at
                for at, (first, last) in enumerate(encoded["offset_mapping"])
                if first < end and last > start and first < last
            ]
            places.append(own)
            answers.append([ids[at] for at in own])
        for own in places:
            for at in own:
                ids[at] = self.tokenizer.mask_token_id
        return ids[: self._most], places, answers

    def _judged(
        self,
        logits: torch.Tensor,
        ids: list[int],
        places: list[list[int]],
        answers: list[list[int]],
    ) -> tuple[float, float]:
        blind = float(np.log(logits.shape[1]))
        total, right = 0.0, 0
        for own, tokens in zip(places, answers, strict=True):
            if not own or own[-1] >= len(ids):
                total += blind * max(1, len(own))
                continue
            told = torch.tensor(tokens)
            total += float(cross_entropy(logits[own], told, reduction="sum"))
            right += bool(logits[own].argmax(dim=1).eq(told).all())
        return total / len(places), right / len(places)

    def _logits(self, rows: Sequence[list[int]]) -> list[torch.Tensor]:
        """Return the logits of each row, (n_tokens, n_vocabulary)."""
        longest = max(map(len, rows))
        pad = self.tokenizer.pad_token_id or 0
        ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
        attention = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        with torch.inference_mode():
            logits = self.model(input_ids=ids, attention_mask=attention).logits.float()
        return [logits[at, : len(row)] for at, row in enumerate(rows)]


def _complete(prompt: MaskedPrompt) -> tuple[str, list[tuple[int, int]]]:
    """Return the text with its words put back, and where they stand."""
    gaps = prompt.text.split(MASK)
    if len(gaps) != len(prompt.answers) + 1 or not prompt.answers:
        raise UsageError(f"{len(gaps) - 1} {MASK} but {len(prompt.answers)} answers in a prompt.")
    text, spans = gaps[0], []
    for answer, gap in zip(prompt.answers, gaps[1:], strict=True):
        spans.append((len(text), len(text) + len(answer)))
        text += answer + gap
    return text, spans


def _download(name: str, source: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                source, allow_patterns=["*.json", "*.txt", "*.safetensors", "*.bin", "*.model"]
            )
        )
    except Exception as error:  # not only its own errors, but those of whatever carries them
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"expert {name!r}: {source!r} is no folder, and the Hugging Face hub does not give it "
            f"({reason}); give a folder that holds the model, or leave `model` out to train one."
        ) from error
