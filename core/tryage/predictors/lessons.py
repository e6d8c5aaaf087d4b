"""What the default predictor learns from: tables, laid one below the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tryage.cards import ModelCard
from tryage.data.table import PerformanceTable
from tryage.encoders.form import form
from tryage.encoders.static import StaticEncoder
from tryage.library import Library
from tryage.predictors.ability import CardPrior, fit_prior

Array = NDArray[np.float32]
Ints = NDArray[np.intp]

# Unit vectors are blown up and forms shrunk, so that the vector has the greater say.
_VECTOR_SCALE, _FORM_SCALE, _FORM_LIMIT = 4.0, 0.25, 3.0


@dataclass(frozen=True, eq=False)
class Features:
    """The features of prompts, standardised, and how to take them raw again.

    Attributes:
        values: float32 (n_prompts, n_features).
        shift: float32 (n_features,), what was taken off.
        scale: float32 (n_features,), what the rest was multiplied by.
        low: float32 (n_form,), the least raw form features,
        high: and the greatest.
    """

    values: Array
    shift: Array
    scale: Array
    low: Array
    high: Array

    @classmethod
    def of(cls, encoder: StaticEncoder, texts: Sequence[str]) -> Features:
        """Return the features of texts."""
        vectors, forms = encoder.encode(texts), form(texts)
        mean, sd = forms.mean(axis=0), np.maximum(forms.std(axis=0), 0.05)
        low, high = mean - _FORM_LIMIT * sd, mean + _FORM_LIMIT * sd
        shift = np.concatenate([np.zeros(vectors.shape[1]), mean]).astype(np.float32)
        scale = np.concatenate([np.full(vectors.shape[1], _VECTOR_SCALE), _FORM_SCALE / sd])
        raw = np.concatenate([vectors, np.minimum(np.maximum(forms, low), high)], axis=1)
        return cls(
            (raw - shift) * scale.astype(np.float32), shift, scale.astype(np.float32), low, high
        )

    def raw(self, weights: Array, bias: Array) -> tuple[Array, Array]:
        """Return the weights and the bias that do to raw features what these do to `values`."""
        weights = self.scale[:, None] * weights
        return weights, bias - self.shift @ weights


@dataclass(frozen=True, eq=False)
class Lessons:
    """What the default predictor learns from.

    Attributes:
        features: The prompts of all tables, n_prompts, one table below the other.
        scores: float32 (n_prompts, n_models) in [0, 1], NaN where not measured.
        domains: (n_prompts,), the number of each prompt's domain, below `n_domains`.
        n_domains: How many domains there are, those of different tables apart.
        ability: float32 (n_models,), each model's general ability.
        models: The names of the models.
        known: Other names of models, in lower case, with the models' numbers.
        prior: How abilities are read off cards.
    """

    features: Features
    scores: Array
    domains: Ints
    n_domains: int
    ability: Array
    models: tuple[str, ...]
    known: dict[str, int]
    prior: CardPrior


@dataclass(frozen=True)
class Anchors:
    """Prompts of one level of difficulty, with what we expect in place of measurements.

    Attributes:
        name: The level.
        ease: Log-odds of success at ability 0.
        slope: What one unit of ability adds to them.
        prompts: The texts.
        repeats: How often each is shown, since they are few.
    """

    name: str
    ease: float
    slope: float
    prompts: Sequence[str]
    repeats: int = 12

    def table(self, models: Sequence[str], ability: Array) -> PerformanceTable:
        """Return the table that one would expect of models with these abilities."""
        scores = 1 / (1 + np.exp(-(self.ease + self.slope * ability)))
        prompts = [*self.prompts] * self.repeats
        return PerformanceTable.from_scores(
            prompts, models, np.tile(scores, (len(prompts), 1)), [self.name] * len(prompts)
        )


def gather(
    tables: Mapping[str, PerformanceTable],
    library: Library,
    anchors: Sequence[Anchors],
    encoder: StaticEncoder,
) -> Lessons:
    """Return the lessons in tables and anchors; see `DefaultPredictor.fit_tables`."""
    columns, models, known = _identify(tables, library)
    prior, ability = _abilities(tables, columns, models, library)
    everyone = list(range(len(models)))
    sources = [(key, table, columns[key]) for key, table in tables.items()]
    sources += [(f"anchors/{a.name}", a.table(models, ability), everyone) for a in anchors]
    numbers: dict[tuple[str, str], int] = {}
    scores, domains, texts = [], [], []
    for key, table, where in sources:
        measured = np.flatnonzero(~np.isnan(table.scores).all(axis=1))
        block = np.full((len(measured), len(models)), np.nan, dtype=np.float32)
        block[:, where] = table.scores[measured]
        scores.append(block)
        texts += [table.prompts[row] for row in measured]
        domains += [numbers.setdefault((key, table.domains[row]), len(numbers)) for row in measured]
    return Lessons(
        features=Features.of(encoder, texts),
        scores=np.concatenate(scores),
        domains=np.array(domains, dtype=np.intp),
        n_domains=len(numbers),
        ability=ability,
        models=models,
        known=known,
        prior=prior,
    )


def _identify(
    tables: Mapping[str, PerformanceTable], library: Library
) -> tuple[dict[str, list[int]], tuple[str, ...], dict[str, int]]:
    """Return each table's columns among all models, the models' names, and their other names.

    With one table the names stay the table's own; with several, the library's names unite them.
    Two columns of one table are two models, even where one card stands for both.
    """
    numbers: dict[str, int] = {}
    names: list[str] = []
    known: dict[str, int] = {}
    columns: dict[str, list[int]] = {}
    for key, table in tables.items():
        columns[key] = []
        for model in table.models:
            card = library.find(model) if model in library else None
            spellings = [model, f"{model} (2)"]
            if card and len(tables) > 1:
                spellings.insert(0, card.name)
            free = (s for s in spellings if numbers.get(s.lower()) not in columns[key])
            name = next(free)
            number = numbers.setdefault(name.lower(), len(names))
            if number == len(names):
                names.append(name)
            known.setdefault(model.lower(), number)
            for other in (card.name, *card.aliases) if card else ():
                known.setdefault(other.lower(), number)
            columns[key].append(number)
    return columns, tuple(names), known


def _abilities(
    tables: Mapping[str, PerformanceTable],
    columns: Mapping[str, list[int]],
    models: Sequence[str],
    library: Library,
) -> tuple[CardPrior, Array]:
    """Return how cards are read, and the general ability of each model."""
    cards = [library.find(m) if m in library else ModelCard(name=m) for m in models]
    listed = {card.name for card in cards}
    cards += [card for card in library if card.name not in listed]
    evidence = {}
    for key, table in tables.items():
        seen = ~np.isnan(table.scores)
        means = np.where(seen, table.scores, 0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
        evidence[key] = {
            column: float(mean)
            for column, mean, count in zip(columns[key], means, seen.sum(axis=0), strict=True)
            if count
        }
    prior, ability = fit_prior(cards, evidence)
    return prior, ability[: len(models)].astype(np.float32)
