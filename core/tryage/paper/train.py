"""The training of one expert: masked words of the passages that its plan draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy
from transformers import ElectraForMaskedLM

from tryage.errors import UsageError
from tryage.experts import MASK, load_tokenizer, maskable, masked_logits
from tryage.paper.prompts import Passage
from tryage.paper.settings import ExpertPlan
from tryage.predictors.devices import has_bfloat16
from tryage.predictors.fine_tune import Checkpoint, Recipe, fine_tune

Ints = NDArray[np.intp]

BATCH = 8
_MASKED_WORDS = 0.25
_MASKED_OTHERS = 0.03
_JUDGES = 48
_HELD_OUT = 25  # one passage in so many says how the training goes
_CHECKS = 4
_LEAN = 0.5
"""How far the output layer goes at once towards the words of the expert's own text."""


def train(
    model: ElectraForMaskedLM, plan: ExpertPlan, passages: Sequence[Passage], checkpoints: Path
) -> None:
    """Train an expert in place; a training that broke off goes on, to the same weights.

    Args:
        model: The base.
        plan: What is drawn, how often, and how fast it learns.
        passages: What all experts learn on.
        checkpoints: A folder for the state of the training.

    Raises:
        UsageError: There is no passage that the plan draws from.
    """
    lessons = _Lessons(passages)
    rng = np.random.default_rng(0)
    weights = wanted(plan.text, passages)
    if not weights.any():
        raise UsageError(
            f"expert {plan.name!r}: no passage of {', '.join(plan.text) or 'any domain'} to learn "
            "on; give more text, or let it learn on something else."
        )
    held = np.arange(len(passages)) % _HELD_OUT == 0
    held &= (weights[~held] > 0).sum() > BATCH  # not where there are so few
    draws = _draw(rng, weights * ~held, plan.steps * BATCH)
    judges = _draw(rng, weights * held if (weights * held).any() else weights, _JUDGES)
    if plan.text:
        _lean(model, lessons, passages, draws, rng)
    autocast = has_bfloat16(torch.device("cpu"))

    def loss(rows: Ints) -> torch.Tensor:
        ids, chances = lessons.padded(rows)
        # While it is judged, the same words are taken out each time.
        source = None if torch.is_grad_enabled() else torch.Generator().manual_seed(int(rows[0]))
        masked = torch.rand(ids.shape, generator=source) < chances
        masked[0, 1] = True  # never none at all
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = masked_logits(
                model, ids.masked_fill(masked, lessons.mask), masked, attention=ids.ne(0).long()
            )
        return cross_entropy(logits.float(), ids[masked])

    recipe = Recipe(
        steps=plan.steps,
        batch_size=BATCH,
        rates={"": plan.rate},
        weight_decay=0.01,
        warmup=0.05,
        check_every=max(1, -(-plan.steps // _CHECKS)),
        seed=0,
    )
    lengths = [len(passage.text) for passage in passages]
    checkpoint = Checkpoint(checkpoints / "training.safetensors", plan.model_dump_json())
    fine_tune(model, loss, draws, judges, lengths, recipe, checkpoint)


def wanted(text: Mapping[str, float], passages: Sequence[Passage]) -> NDArray[np.float64]:
    """Return each passage's chance to be drawn, (n_passages,), summing to 1 or all 0.

    A wish's weight is shared evenly by its passages; without wishes every kind weighs alike.
    """
    kinds = np.array([passage.kind for passage in passages])
    domains = np.array([passage.domain for passage in passages])
    chances = np.zeros(len(passages))
    for wish, weight in (text or dict.fromkeys(sorted(set(kinds)), 1.0)).items():
        rows = kinds == wish if "/" in wish else domains == wish
        chances[rows] += weight / max(1, rows.sum())
    total = chances.sum()
    return chances / total if total else chances


def _draw(rng: np.random.Generator, chances: NDArray[np.float64], n: int) -> Ints:
    return rng.choice(len(chances), size=n, p=chances / chances.sum())


def _lean(
    model: ElectraForMaskedLM,
    lessons: _Lessons,
    passages: Sequence[Passage],
    draws: Ints,
    rng: np.random.Generator,
) -> None:
    """Move the bias of the output layer towards how often words occur in the expert's text."""
    everywhere = _draw(rng, wanted({}, passages), len(draws))
    own, all_ = (lessons.frequencies(rows[:_COUNTED]) for rows in (draws, everywhere))
    with torch.no_grad():
        model.generator_lm_head.bias.add_((own / all_).log(), alpha=_LEAN)


_COUNTED = 500


class _Lessons:
    """Passages as tokens, each encoded when it is first drawn."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = passages
        self._tokenizer = load_tokenizer()
        self._known: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        mask = self._tokenizer.token_to_id(MASK)
        assert mask is not None
        self.mask: int = mask

    def padded(self, rows: Ints) -> tuple[torch.Tensor, torch.Tensor]:
        """Return token ids and each one's chance to be masked, both (n_rows, n_tokens)."""
        known = [self._of(row) for row in rows.tolist()]
        ids, chances = (
            torch.nn.utils.rnn.pad_sequence(list(part), batch_first=True)
            for part in zip(*known, strict=True)
        )
        return ids, chances

    def frequencies(self, rows: Ints) -> torch.Tensor:
        """Return how often each token is masked in some passages, (n_tokens,)."""
        counts = torch.full((self._tokenizer.get_vocab_size(),), 1.0)  # one for the unseen
        for row in rows.tolist():
            ids, chances = self._of(row)
            counts.index_add_(0, ids, chances)
        return counts / counts.sum()

    def _of(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        if row not in self._known:
            text = self._passages[row].text
            encoding = self._tokenizer.encode(text)
            ids = torch.tensor(encoding.ids)
            chances = torch.full((len(ids),), _MASKED_OTHERS)
            chances[maskable(text, encoding)] = _MASKED_WORDS
            chances[0] = chances[-1] = 0.0
            self._known[row] = ids, chances
        return self._known[row]
