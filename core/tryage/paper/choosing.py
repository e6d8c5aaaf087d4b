"""The ways to choose an expert for each prompt: the routers, and what they must beat.

A way is told in shares, float64 (n_prompts, n_experts): the chance that a prompt goes to an expert.
A router puts each prompt's share in one place; several seeds of it are averaged; chance spreads it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tryage.data import PerformanceTable
from tryage.evaluation.contenders import predict_as
from tryage.library import Library
from tryage.predictors.default import bundled_encoder

Array = NDArray[np.float64]

SAME = 1e-6
"""Losses that near are equal, in nats: a tie is right."""

LEARNED = ("knn", "ridge", "default")
"""Predictors of the registry that are shown beside the perceptive router."""

_WORD = re.compile(r"[a-z]{3,}")


def column(table: PerformanceTable, name: str) -> Array:
    """Return a column that a table carries beside the score, float64 (n_prompts, n_experts)."""
    return table.extras[name].astype(np.float64)


def one_each(picks: NDArray[np.intp], n_experts: int) -> Array:
    """Return the shares of a way that picks one expert for each prompt."""
    return np.eye(n_experts)[picks]


def routed(qualities: Sequence[NDArray[np.float32]]) -> Array:
    """Return the shares of routers that each choose the expert of best predicted quality."""
    each = [one_each(quality.argmax(axis=1), quality.shape[1]) for quality in qualities]
    shares: Array = np.mean(each, axis=0)
    return shares


def best_single(learned: PerformanceTable) -> int:
    """Return the number of the expert of least mean loss."""
    return int(column(learned, "loss").mean(axis=0).argmin())


def baselines(
    learned: PerformanceTable,
    test: PerformanceTable,
    cards: Library,
    descriptions: Mapping[str, str],
) -> dict[str, Array]:
    """Return the shares of every way that is not the perceptive router, by name.

    Args:
        learned: What they learn from, with the column `loss`.
        test: The prompts to choose for, with the same.
        cards: One card per expert, in the order of the tables.
        descriptions: What is told of each expert, by name: all that two of the ways know.
    """
    n_experts = len(test.models)
    known = references(learned, test)
    oracle = known.pop("oracle")
    ways = known | {
        "keywords": one_each(_by_keywords(test.prompts, cards, descriptions), n_experts),
        "descriptions": one_each(_by_meaning(test.prompts, cards, descriptions), n_experts),
    }
    ceiling = max(column(learned, "loss").max(), column(test, "loss").max())
    for name in LEARNED:
        made = predict_as(name, straight(learned, ceiling), straight(test, ceiling), cards)
        assert made is not None
        ways[name] = one_each(made.quality.argmax(axis=1), n_experts)
    ways["oracle"] = oracle  # last, as what none can pass
    return ways


def references(learned: PerformanceTable, test: PerformanceTable) -> dict[str, Array]:
    """Return the shares of the ways that read no prompt, by name.

    Chance, the best expert of all, the best of the domain that is told, and the oracle.

    Args:
        learned: What tells the best expert, with the column `loss`.
        test: The prompts to choose for, with the same.
    """
    n_prompts, n_experts = test.scores.shape
    picks = {
        "best_single": np.full(n_prompts, best_single(learned)),
        "per_domain_best": _per_domain_best(learned, test),
        "per_domain_usual": _per_domain_usual(learned, test),
        "oracle": column(test, "loss").argmin(axis=1),
    }
    chance = {"random": np.full((n_prompts, n_experts), 1 / n_experts)}
    return chance | {name: one_each(each, n_experts) for name, each in picks.items()}


def is_best(losses: Array) -> NDArray[np.bool_]:
    """Return which experts are a prompt's best, bool (n_prompts, n_experts)."""
    best: NDArray[np.bool_] = losses <= losses.min(axis=1, keepdims=True) + SAME
    return best


def straight(table: PerformanceTable, ceiling: float) -> PerformanceTable:
    """Return the table with a score that falls evenly with the loss.

    So that predictors of the expected score choose the least expected loss, which is what all are
    judged by.

    Args:
        table: With the column `loss`.
        ceiling: The loss that scores 0, in nats; so does any greater one.
    """
    scores = np.clip(1 - column(table, "loss") / ceiling, 0, 1).astype(np.float32)
    return replace(table, scores=scores)


def _per_domain_best(learned: PerformanceTable, test: PerformanceTable) -> NDArray[np.intp]:
    """Choose each domain's expert of least mean loss, the domain told."""
    return _by_domain(learned.domains, -column(learned, "loss"), test.domains)


def _per_domain_usual(learned: PerformanceTable, test: PerformanceTable) -> NDArray[np.intp]:
    """Choose the expert that is most often the best in the domain: what a domain tells of it."""
    best = is_best(column(learned, "loss")).astype(np.float64)
    return _by_domain(learned.domains, best, test.domains)


def _by_domain(known: Sequence[str], values: Array, asked: Sequence[str]) -> NDArray[np.intp]:
    labels = np.array(known)
    overall = int(values.mean(axis=0).argmax())
    pick = {d: int(values[labels == d].mean(axis=0).argmax()) for d in sorted(set(known))}
    return np.array([pick.get(domain, overall) for domain in asked], dtype=np.intp)


def _by_meaning(
    prompts: Sequence[str], cards: Library, descriptions: Mapping[str, str]
) -> NDArray[np.intp]:
    """Choose the expert whose description's embedding is the nearest to the prompt's."""
    encoder = bundled_encoder()
    wanted = encoder.encode([descriptions[name] for name in cards.names])
    nearest: NDArray[np.intp] = (encoder.encode(prompts) @ wanted.T).argmax(axis=1)
    return nearest


def _by_keywords(
    prompts: Sequence[str], cards: Library, descriptions: Mapping[str, str]
) -> NDArray[np.intp]:
    """Choose the expert whose description shares most words with the prompt, rare ones first.

    A word that fewer descriptions hold counts for more; where none is shared, the first is chosen.
    """
    words = [set(_WORD.findall(descriptions[name].lower())) for name in cards.names]
    held = Counter(word for some in words for word in some)
    weight = {word: np.log(1 + len(words) / count) for word, count in held.items()}

    def match(prompt: str) -> int:
        said = set(_WORD.findall(prompt.lower()))
        shared = [sum(weight[word] for word in said & some) for some in words]
        return int(np.argmax(shared))

    return np.array([match(prompt) for prompt in prompts], dtype=np.intp)
