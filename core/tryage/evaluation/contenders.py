"""What is compared: a predictor and the baselines, by their predictions on the same prompts."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tryage import predictors
from tryage.cards import ModelCard
from tryage.data.table import PerformanceTable
from tryage.errors import UnknownModel, UsageError
from tryage.library import Library
from tryage.predictors.base import Predictor
from tryage.predictors.baselines import PerDomainBestPredictor

Array = NDArray[np.float64]

BASELINES = (
    "random",
    "cheapest",
    "best_single",
    "prompt_length",
    "per_domain_best",
    "knn",
    "oracle",
)
_PIECES = 10


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a predictor says of a table's prompts.

    Attributes:
        quality: float64 (n_prompts, n_models), -inf for a model that it does not know and so never
            chooses.
        seconds: Time per prompt in each of up to ten pieces of the table.
        unknown: The models that it does not know.
    """

    quality: Array
    seconds: Array
    unknown: tuple[str, ...] = ()


def predict(predictor: Predictor, table: PerformanceTable, cards: Library) -> Predictions:
    """Return a fitted predictor's predictions for a table's prompts and models.

    Args:
        predictor: Fitted.
        table: Prompts and models.
        cards: One card per model of the table, in its order.

    Raises:
        UnknownModel: It knows none of the models.
    """
    known = [card for card in cards if _knows(predictor, card)]
    quality = np.full(table.scores.shape, -np.inf)
    if not known:
        raise UnknownModel(
            f"the predictor knows none of the table's models ({', '.join(table.models[:6])}, ...); "
            f"it knows {', '.join(predictor.models[:6])}, .... Train it on such a table."
        )
    names = [card.name for card in known]
    bound = predictor.for_library(Library(known))
    parts, seconds = [], []
    for rows in np.array_split(np.arange(len(table)), min(_PIECES, len(table))):
        prompts = [table.prompts[row] for row in rows.tolist()]
        start = time.perf_counter()
        parts.append(bound.predict(prompts))
        seconds.append((time.perf_counter() - start) / len(prompts))
    quality[:, [table.models.index(name) for name in names]] = np.concatenate(parts)
    return Predictions(
        quality, np.array(seconds), tuple(name for name in table.models if name not in names)
    )


def predict_as(
    name: str, train: PerformanceTable, test: PerformanceTable, cards: Library
) -> Predictions | None:
    """Return a baseline's predictions for the test part, learned from the training part.

    `per_domain_best` is told the domains of the test part, and `oracle` its scores. `None` where
    the baseline cannot learn from the table: `cheapest`, where no cost is known.
    """
    if name == "oracle":
        lookup = predict(predictors.get(name)().fit(test), test, cards)
        # One text may stand in several rows with different scores; the oracle knows each.
        return replace(lookup, quality=np.nan_to_num(test.scores.astype(np.float64)))
    try:
        fitted = predictors.get(name)().fit(train)
    except UsageError:
        if name != "cheapest":
            raise
        return None
    if isinstance(fitted, PerDomainBestPredictor):
        fitted = fitted.reveal(test)
    return predict(fitted, test, cards)


def is_fitted(predictor: Predictor) -> bool:
    """Return whether a predictor has learned, or was loaded."""
    return hasattr(predictor, "models_")


def _knows(predictor: Predictor, card: ModelCard) -> bool:
    if card.name in predictor.models:
        return True
    try:
        predictor.for_library(Library([card]))
    except UnknownModel:
        return False
    return True
