"""Tables of made-up losses, in the form in which the experiment writes them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tryage import Library, ModelCard, PerformanceTable

DOMAINS = ("code", "law", "sums")
EXPERTS = ("dot", "coder", "lawyer", "adder", "giant")
PARAMETERS = (1e6, 4e6, 5e6, 6e6, 40e6)
WORDS = {
    "code": "write a python function that sorts def return",
    "law": "tell me cheerful story about friends who go to sea",
    "sums": "what is the sum first odd integers prove it by induction",
}

LOSSES = {
    "code": (3.4, 2.0, 3.2, 3.1, 2.3),
    "law": (3.5, 3.3, 2.1, 3.0, 2.4),
    "sums": (3.2, 3.0, 3.1, 1.9, 2.2),
}


def cards() -> Library:
    return Library(
        [
            ModelCard(name=name, parameters=size, released=f"202{at}-01-01")
            for at, (name, size) in enumerate(zip(EXPERTS, PARAMETERS, strict=True))
        ]
    )


def descriptions() -> dict[str, str]:
    told = {"coder": WORDS["code"], "lawyer": WORDS["law"], "adder": WORDS["sums"]}
    return {name: told.get(name, "any text at all") for name in EXPERTS}


def performance(n: int, seed: int, noise: float = 0.2) -> PerformanceTable:
    """A table of n prompts, the domains in turn; longer prompts have less noise."""
    rng = np.random.default_rng(seed)
    domains = [DOMAINS[row % len(DOMAINS)] for row in range(n)]
    prompts = [
        f"{' '.join(rng.permutation(WORDS[domain].split()))} [MASK] {row} {seed}"
        for row, domain in enumerate(domains)
    ]
    losses = np.array([LOSSES[domain] for domain in domains])
    losses = np.maximum(losses + rng.normal(0, noise, losses.shape), 0.1)
    return of_losses(losses, domains, prompts, tokens=64 + np.arange(n) % 192)


def of_losses(losses, domains, prompts=None, tokens=None) -> PerformanceTable:
    """The table of given losses; accuracy falls evenly with the loss."""
    losses = np.asarray(losses, dtype=np.float64)
    prompts = prompts or [f"prompt {row}" for row in range(len(losses))]
    tokens = np.full(len(losses), 100) if tokens is None else tokens
    table = PerformanceTable.from_scores(prompts, EXPERTS, np.exp(-losses), domains)
    extras = {
        "loss": losses,
        "accuracy": np.clip(1 - losses / 5, 0, 1),
        "tokens": np.tile(np.asarray(tokens)[:, None], len(EXPERTS)),
    }
    return replace(table, extras={name: values.astype(object) for name, values in extras.items()})
