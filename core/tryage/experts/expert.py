"""Small masked language models, each trained on one kind of text.

They share one vocabulary, so that their losses on the same masked words can be compared, and one
table of word embeddings, which is why that table lies beside their folders and not in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer

from tryage.errors import CorruptArtifact, UsageError
from tryage.experts.packing import read_weights
from tryage.experts.passages import (
    MASK,
    WEIGHTS,
    MaskedPrompt,
    load_tokenizer,
    shortened,
)

if TYPE_CHECKING:
    import torch
    from transformers import ElectraForMaskedLM

_BATCH = 32
_TABLE = "word_embeddings"


@dataclass(frozen=True)
class Filled:
    """An expert's answer to a text with masks."""

    text: str
    """The text with every mask replaced by the expert's word."""
    words: tuple[str, ...]
    probabilities: tuple[float, ...]


class Expert:
    """A masked language model that knows one kind of text.

    Example:
        >>> experts = load_experts()
        >>> code = next(expert for expert in experts if expert.name == "code")
        >>> code.fill("def __init__([MASK], name): self.[MASK] = name").words
        ('self', 'name')
    """

    def __init__(
        self, *, name: str, domain: str, model: ElectraForMaskedLM, tokenizer: Tokenizer
    ) -> None:
        self.name = name
        self.domain = domain
        self.model = model
        self.tokenizer = tokenizer

    def __repr__(self) -> str:
        return f"Expert({self.name!r}, domain={self.domain!r}, parameters={self.parameters})"

    @cached_property
    def parameters(self) -> int:
        """Number of weights, the shared table of word embeddings included."""
        return sum(weight.numel() for weight in self.model.parameters())

    def losses(self, prompts: Sequence[MaskedPrompt]) -> np.ndarray:
        """Returns the mean cross-entropy over each prompt's masks, in nats.

        Returns:
            float32 array (n_prompts,), at least 0; lower is better.

        Raises:
            UsageError: If a prompt's masks and answers differ in number, an answer is not one
                token of the vocabulary, or a prompt is too long.
        """
        return self.judge(prompts)[0]

    def accuracy(self, prompts: Sequence[MaskedPrompt]) -> np.ndarray:
        """Returns the share of each prompt's masks whose likeliest token is the answer.

        Returns:
            float32 array (n_prompts,) in [0, 1].

        Raises:
            UsageError: As `losses`.
        """
        return self.judge(prompts)[1]

    def judge(self, prompts: Sequence[MaskedPrompt]) -> tuple[np.ndarray, np.ndarray]:
        """Returns `losses` and `accuracy` from one reading of the prompts."""
        import torch
        from torch.nn.functional import cross_entropy

        answers = [torch.tensor(self._answer_ids(prompt)) for prompt in prompts]
        losses = np.zeros(len(prompts), dtype=np.float32)
        shares = np.zeros(len(prompts), dtype=np.float32)
        for index, logits in self._logits([prompt.text for prompt in prompts]):
            losses[index] = float(cross_entropy(logits, answers[index]))
            shares[index] = float(logits.argmax(dim=1).eq(answers[index]).float().mean())
        return losses, shares

    def fill(self, text: str) -> Filled:
        """Returns the likeliest word for each mask of `text`, and the text completed with them.

        Raises:
            UsageError: If `text` holds no ``[MASK]`` or is too long.
        """
        if MASK not in text:
            raise UsageError(
                f"no {MASK} in the text {shortened(text)!r}; put one where a word belongs"
            )
        ((_, logits),) = self._logits([text])
        probabilities, ids = (logits + self._readable).softmax(dim=1).max(dim=1)
        words = tuple(str(self.tokenizer.id_to_token(index)) for index in ids.tolist())
        gaps = text.split(MASK)
        completed = gaps[0] + "".join(word + gap for word, gap in zip(words, gaps[1:], strict=True))
        return Filled(text=completed, words=words, probabilities=tuple(probabilities.tolist()))

    @cached_property
    def _readable(self) -> torch.Tensor:
        """What to add to the logits so that no piece of a word and no special token wins."""
        import torch

        penalty = torch.zeros(self.tokenizer.get_vocab_size())
        for token, index in self.tokenizer.get_vocab().items():
            if token.startswith("##") or re.fullmatch(r"\[[A-Z]+\]", token):
                penalty[index] = -torch.inf
        return penalty

    def _answer_ids(self, prompt: MaskedPrompt) -> list[int]:
        masks = prompt.text.count(MASK)
        if masks != len(prompt.answers) or not masks:
            raise UsageError(
                f"{masks} {MASK} but {len(prompt.answers)} answers in {shortened(prompt.text)!r}; "
                "a prompt needs one answer for each mask, and at least one"
            )
        ids = []
        for answer in prompt.answers:
            encoded: list[int] = self.tokenizer.encode(answer, add_special_tokens=False).ids
            if len(encoded) != 1:
                raise UsageError(
                    f"the answer {answer!r} is not one token of the experts' vocabulary"
                )
            ids.extend(encoded)
        return ids

    def _logits(self, texts: Sequence[str]) -> Iterator[tuple[int, torch.Tensor]]:
        """Yields the index of each text with its logits (n_masks, n_tokens), shortest first."""
        import torch

        rows = [self._encode(text) for text in texts]
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        mask_id = torch.tensor(self.tokenizer.token_to_id(MASK))
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            ids = torch.zeros(len(batch), len(rows[batch[-1]]), dtype=torch.long)
            for row, index in enumerate(batch):
                ids[row, : len(rows[index])] = torch.tensor(rows[index])
            masked = ids.eq(mask_id)
            with torch.inference_mode():
                logits = masked_logits(self.model, ids, masked, attention=ids.ne(0).long())
            yield from zip(batch, torch.split(logits, masked.sum(dim=1).tolist()), strict=True)

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text).ids
        most = self.model.config.max_position_embeddings
        if len(ids) > most:
            raise UsageError(
                f"{len(ids)} tokens in {shortened(text)!r}; the expert {self.name!r} reads at most "
                f"{most}, so shorten the text"
            )
        return ids


def load_experts(directory: Path | None = None) -> tuple[Expert, ...]:
    """Returns the experts of `directory`, the smallest first.

    Args:
        directory: Holds ``tokenizer.json``, ``embeddings.safetensors`` and one folder for each
            expert. By default, the experts that come with the package.

    Raises:
        MissingExtra: If torch or transformers is not installed.
        CorruptArtifact: If a file is missing or damaged.
    """
    directory = WEIGHTS if directory is None else directory
    tokenizer = load_tokenizer(directory)
    table = read_weights(directory / "embeddings.safetensors")[_TABLE]
    folders = sorted(path.parent for path in directory.glob("*/config.json"))
    experts = [_load_expert(folder, table, tokenizer) for folder in folders]
    return tuple(sorted(experts, key=lambda expert: (expert.parameters, expert.name)))


def _load_expert(folder: Path, table: torch.Tensor, tokenizer: Tokenizer) -> Expert:
    from transformers import ElectraConfig, ElectraForMaskedLM

    config = ElectraConfig.from_json_file(folder / "config.json")
    model = ElectraForMaskedLM(config)
    missing, unexpected = model.load_state_dict(
        read_weights(folder / "weights.safetensors"), strict=False
    )
    # The table and the output layer tied to it are the only weights kept elsewhere.
    strangers = [
        name for name in missing if "word_embeddings" not in name and "lm_head" not in name
    ]
    if strangers or unexpected:
        raise CorruptArtifact(
            f"{folder.name}: weights do not fit config.json: {strangers}{unexpected}"
        )
    model.get_input_embeddings().weight.data = table
    model.tie_weights()
    return Expert(
        name=folder.name, domain=config.domain, model=model.train(False), tokenizer=tokenizer
    )


def masked_logits(
    model: ElectraForMaskedLM,
    ids: torch.Tensor,
    masked: torch.Tensor,
    *,
    attention: torch.Tensor | None = None,
) -> torch.Tensor:
    """Returns the logits at the masked places only: the output layer is half of the work.

    Args:
        model: An `ElectraForMaskedLM`.
        ids: Token ids (n_texts, n_places).
        masked: Which of them to predict, bool (n_texts, n_places).
        attention: 1 where there is text, 0 where there is padding.

    Returns:
        Float array (n_masked, n_tokens), text by text.
    """
    hidden = model.base_model(ids, attention_mask=attention).last_hidden_state[masked]
    logits: torch.Tensor = model.generator_lm_head(model.generator_predictions(hidden))
    return logits
