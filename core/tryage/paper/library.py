"""The experts of a run: trained here from a base, or published; kept in a folder, and loaded."""

from __future__ import annotations

import copy
import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tryage.cards import ModelCard
from tryage.errors import CorruptArtifact
from tryage.experts import Expert, load_tokenizer
from tryage.library import Library
from tryage.paper.bases import base_of
from tryage.paper.prompts import Passage
from tryage.paper.settings import ExpertPlan
from tryage.predictors.staging import staged

if TYPE_CHECKING:
    from tryage.paper.published import PublishedExpert

CHECKPOINTS = "checkpoints"
WEIGHTS_FILE = "model.safetensors"


def trained_expert(plan: ExpertPlan, passages: Sequence[Passage], folder: Path) -> Expert:
    """Return a trained expert; from the folder if it stands there.

    A training that broke off goes on from its last checkpoint.

    Args:
        plan: What it is, and how it learns.
        passages: What all experts learn on; the plan says which of them it draws.
        folder: Of this plan on these passages alone.

    Raises:
        CorruptArtifact: What stands in the folder cannot be read.
        UsageError: There is no passage that the plan draws from.
    """
    if not (folder / WEIGHTS_FILE).exists():
        from tryage.paper.train import train
        from tryage.predictors.backbone import quietly

        model = base_of(plan.base)
        train(model, plan, passages, folder / CHECKPOINTS)
        with staged(folder) as fresh, quietly():
            half = copy.deepcopy(model).half()  # type: ignore[no-untyped-call]
            half.save_pretrained(fresh)
            load_tokenizer().save(str(fresh / "tokenizer.json"))
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)  # and what a killed run left in it
    return load_expert(plan.name, folder)


def load_expert(name: str, folder: Path) -> Expert:
    """Return an expert that stands in a folder.

    Raises:
        CorruptArtifact: Its weights are damaged, or do not fit its configuration.
    """
    from transformers import ElectraForMaskedLM

    from tryage.paper.published import load_checked

    try:
        tokenizer = load_tokenizer(folder)
    except Exception as error:  # the tokenizers library raises nothing more special
        raise CorruptArtifact(f"expert {name!r}: {error}; delete {str(folder)!r}.") from error
    model = load_checked(ElectraForMaskedLM, name, folder)
    model.get_input_embeddings().requires_grad_(False)
    return Expert(name=name, domain="", model=model, tokenizer=tokenizer)


def base_expert() -> Expert:
    """Return the base of most experts: what a router starts from where there is no hub."""
    return Expert(name="base", domain="", model=base_of("large"), tokenizer=load_tokenizer())


def cards_of(plans: Sequence[ExpertPlan], experts: Sequence[Expert | PublishedExpert]) -> Library:
    """Return a card for each expert, with its measured size."""
    return Library(
        [
            ModelCard(
                name=plan.name,
                parameters=expert.parameters,
                released=plan.released,
                security="local",
            )
            for plan, expert in zip(plans, experts, strict=True)
        ]
    )


def descriptions(
    plans: Sequence[ExpertPlan], kinds: Mapping[str, str], domains: Sequence[str]
) -> dict[str, str]:
    """Return what can be told of each expert in words: where its text came from.

    Args:
        plans: The experts.
        kinds: The words typical of each kind of passage.
        domains: All domains.
    """
    return {plan.name: _describe(plan, kinds, domains) for plan in plans}


def _describe(plan: ExpertPlan, kinds: Mapping[str, str], domains: Sequence[str]) -> str:
    if plan.model is not None:
        return f"{plan.name}, a masked language model, {plan.model}"
    if not plan.text:
        return f"{plan.name}, a {plan.base} model of all kinds of text: {', '.join(domains)}"
    told = []
    for wish in plan.text:
        words = [kinds[k] for k in sorted(kinds) if k == wish or k.startswith(f"{wish}/")]
        told.append(f"{wish.partition('/')[0]} ({', '.join(words)})")
    return f"{plan.name}, a model of {'; '.join(told)}"


def digest_of(*told: str) -> str:
    """Return a short name for what is told."""
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]
