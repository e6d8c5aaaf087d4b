"""First part of the demo: typical prompts over the bundled library, under several flags."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tryage.cards import ModelCard
from tryage.decision import Decision, RankedModel
from tryage.flags import Flags
from tryage.library import Library
from tryage.router import Router

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PROMPTS = (
    "What is the capital of France?",
    "Hi! Can you suggest a name for my new puppy?",
    "Translate to German: The meeting has been moved to Thursday afternoon.",
    "Summarise this email in one sentence: Dear all, the office is closed on Friday for cleaning.",
    "Write a SQL query that returns the ten customers with the highest total order value.",
    "A train leaves at 9:40 and arrives at 13:05. How long is the journey in minutes?",
    "Fix the race condition in this lock-free queue: void push(node* n) { n->next = head; "
    "head = n; }",
    "A landlord leased a store for five years; the tenant assigned the lease without consent. "
    "Who is liable for the rent if the assignee defaults?",
    "A 54-year-old man has crushing chest pain and ST elevation in II, III and aVF. Which artery "
    "is occluded, and what is the first treatment?",
    "Find the residue of exp(z)/(z^2 + 1)^2 at z = i and use it to evaluate a real integral.",
    "Prove that there are infinitely many primes congruent to 3 modulo 4.",
    "Is P equal to NP? Discuss the natural proofs barrier.",
)

WISHES = (
    "",
    "tolerance 0.05; cheapest",
    "cost=0.1",
    "smallest model",
    "fastest; tools",
    "most secure; released after 2024-06-01",
)


SHOWN = WISHES[:2]
"""The wishes whose picks are shown prompt by prompt."""


@dataclass(frozen=True)
class Tally:
    """What a set of decisions comes to."""

    quality: float
    cost_usd: float


def show_routing(console: Console) -> None:
    """Print what is chosen for each prompt under each wish, and what that saves."""
    library = Library([card for card in Library.bundled() if _has_figures(card)])
    router = Router(library)
    console.rule(f"1. {len(PROMPTS)} typical prompts, {len(library)} models, {len(WISHES)} wishes")
    console.print(
        "Models with a known price and speed, so that every saving is a figure. Predicted, not "
        "called: this part needs no key.\n"
    )
    decisions = {wish: router.route_batch(PROMPTS, Flags.parse(wish)) for wish in WISHES}
    console.print(_picks(decisions))
    console.print(_savings(router, decisions))


def _picks(decisions: dict[str, list[Decision]]) -> Table:
    from rich.table import Table

    table = Table(title="the model picked for each prompt", title_justify="left", padding=(0, 0))
    table.add_column("prompt", no_wrap=True, overflow="ellipsis", max_width=34)
    for wish in SHOWN:
        table.add_column(_named(wish), no_wrap=True)
    for row, prompt in enumerate(PROMPTS):
        table.add_row(prompt, *(decisions[wish][row].model for wish in SHOWN))
    return table


def _savings(router: Router, decisions: dict[str, list[Decision]]) -> Table:
    from rich.table import Table

    free = decisions[""]
    quality = np.mean([decision.quality for decision in free], axis=0)
    strongest = router.library.names[int(quality.argmax())]
    always = _tally([_of(decision, strongest) for decision in free])
    table = Table(
        title=f"all prompts together, against always calling {strongest}",
        title_justify="left",
        padding=(0, 0),
    )
    table.add_column("wish")
    table.add_column("picked most often")
    for column in ("quality", "cost $", "saved"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_row("(no router)", strongest, f"{always.quality:.3f}", f"{always.cost_usd:.4f}", "")
    for wish, made in decisions.items():
        tally = _tally([decision.ranking[0] for decision in made])
        model, times = Counter(decision.model for decision in made).most_common(1)[0]
        table.add_row(
            _named(wish),
            f"{model} ({times} of {len(made)})",
            f"{tally.quality:.3f}",
            f"{tally.cost_usd:.4f}",
            f"{1 - tally.cost_usd / always.cost_usd:.0%}",
        )
    return table


def _named(wish: str) -> str:
    return wish or "quality alone"


def _of(decision: Decision, model: str) -> RankedModel:
    return next(ranked for ranked in decision.ranking if ranked.model == model)


def _tally(chosen: list[RankedModel]) -> Tally:
    return Tally(
        quality=float(np.mean([ranked.quality for ranked in chosen])),
        cost_usd=float(sum(ranked.cost_usd or 0.0 for ranked in chosen)),
    )


def _has_figures(card: ModelCard) -> bool:
    return None not in (card.input_usd_per_mtok, card.output_usd_per_mtok, card.output_tokens_per_s)
