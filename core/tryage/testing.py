"""Fakes that ship: for the tests of Tryage, and of what is built on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from tryage.data.table import PerformanceTable
from tryage.library import Library
from tryage.predictors.base import Predictor


@dataclass(eq=False)
class FunctionPredictor(Predictor):
    """A function from prompt and model to quality, as a predictor for any library.

    Attributes:
        function: Gives the quality of one model on one prompt.

    Example:
        >>> likes_short = FunctionPredictor(lambda prompt, model: 1 / len(model))
        >>> library = Library.of(["a", "bbbb"])
        >>> likes_short.for_library(library).predict(["hi"]).tolist()
        [[1.0, 0.25]]
    """

    name: ClassVar[str] = "function"
    function: Callable[[str, str], float]

    def fit(self, table: PerformanceTable) -> Self:
        """Take the table's models and return self."""
        self.models_ = table.models
        return self

    def for_library(self, library: Library) -> Predictor:
        """Return a predictor of the same function for the library's models."""
        bound = FunctionPredictor(self.function)
        bound.models_ = library.names
        return bound

    def predict(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Return the function's values, float32 (n_prompts, n_models)."""
        values = [[self.function(prompt, model) for model in self.models] for prompt in prompts]
        return np.array(values, dtype=np.float32).reshape(len(prompts), len(self.models))


class Upstream(Exception):
    """An error as a provider's client raises it: with an HTTP status."""

    def __init__(self, status_code: int, **attributes: Any) -> None:
        super().__init__(f"HTTP {status_code}")
        self.status_code = status_code
        vars(self).update(attributes)
