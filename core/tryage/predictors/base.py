"""The predictor contract: how well would each model do on each prompt?"""

from __future__ import annotations

import json
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from tryage.data.table import PerformanceTable
from tryage.errors import CorruptArtifact, NotFitted, UnknownModel, nearest
from tryage.library import Library, names_of
from tryage.predictors.staging import staged

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "weights.safetensors"


@dataclass(eq=False)
class Predictor(ABC):
    """Predicts quality in [0, 1] for prompts × models; knows nothing of flags.

    A subclass is a dataclass: its fields are its hyperparameters, and the constructor only stores
    them. What `fit` learns goes into attributes that end in `_`: numpy arrays, or what JSON can
    hold. `save` and `load` then work with nothing more to write.

    Attributes:
        name: The name it is registered under.
        models_: The models of the columns, in order; set by `fit`.
    """

    name: ClassVar[str]

    @abstractmethod
    def fit(self, table: PerformanceTable) -> Self:
        """Learn from a table and return self."""

    @abstractmethod
    def predict(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Return the predicted quality, float32 (n_prompts, n_models) in [0, 1].

        Columns stand in the order of `models`. The same prompt gives the same row, alone or in a
        batch.

        Raises:
            NotFitted: Neither `fit` nor `load` came before.
        """

    @property
    def models(self) -> tuple[str, ...]:
        """The models of the columns, in order.

        Raises:
            NotFitted: Neither `fit` nor `load` came before.
        """
        self._check_fitted()
        models: tuple[str, ...] = vars(self)["models_"]
        return models

    def _check_fitted(self) -> None:
        if not hasattr(self, "models_"):
            raise NotFitted(
                f"{type(self).__name__} has not learned yet: call fit(table), or load(directory)."
            )

    def for_library(self, library: Library) -> Predictor:
        """Return a predictor whose columns are the library's models, in the library's order.

        Args:
            library: The models to predict for; each is looked up by every name it is known by.

        Raises:
            UnknownModel: A model of the library is not among `models`.
        """
        if self.models == library.names:
            return self
        known = {name.lower(): column for column, name in enumerate(self.models)}
        columns = []
        for card in library:
            column = next((known[name] for name in names_of(card) if name in known), None)
            if column is None:
                raise UnknownModel(
                    f"{type(self).__name__} learned nothing of {card.name!r}."
                    f"{nearest(card.name, self.models)} It knows: {', '.join(self.models[:12])}. "
                    "Train it on a table with that model, or use the default predictor."
                )
            columns.append(column)
        return _Columns(self, np.array(columns), library.names)

    def save(self, directory: str | Path) -> Path:
        """Write `config.json` and `weights.safetensors` into the directory and return it.

        If that fails half-way, on a full disc for one, what was there before stays whole.
        """
        from safetensors.numpy import save

        self._check_fitted()
        directory = Path(directory)
        arrays, plain = {}, {}
        for key, value in vars(self).items():
            if key.endswith("_") and not key.startswith("_"):
                if isinstance(value, np.ndarray):
                    arrays[key] = np.ascontiguousarray(value)
                else:
                    plain[key] = value
        weights = save(arrays)
        config = {
            "predictor": self.name,
            "parameters": asdict(self),
            "learned": plain,
            "weights_crc32": zlib.crc32(weights),
        }
        text = json.dumps(config, indent=1) + "\n"
        with staged(directory) as fresh:
            (fresh / WEIGHTS_FILE).write_bytes(weights)
            (fresh / CONFIG_FILE).write_text(text, encoding="utf-8")
        return directory

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """Return the predictor that `save` wrote into the directory.

        Raises:
            CorruptArtifact: A file is missing, truncated, damaged or of another predictor.
        """
        config, arrays = read_artifact(Path(directory))
        if config["predictor"] != cls.name:
            raise CorruptArtifact(
                f"{directory}: holds a {config['predictor']!r} predictor, not {cls.name!r}; "
                "use tryage.predictors.load, which finds the class."
            )
        learned = {**config["learned"], **arrays}
        strangers = [
            *(config["parameters"].keys() - cls.__dataclass_fields__.keys()),
            *(key for key in learned if not key.endswith("_") or key.startswith("_")),
        ]
        if strangers:
            raise CorruptArtifact(
                f"{directory}: {', '.join(sorted(strangers))} is nothing that {cls.name!r} saves; "
                "it was saved by another version. Train it again."
            )
        predictor = cls(**config["parameters"])
        for key, value in learned.items():
            setattr(predictor, key, tuple(value) if isinstance(value, list) else value)
        return predictor


@dataclass(eq=False)
class _Columns(Predictor):
    """Some columns of another predictor, under other names."""

    name: ClassVar[str] = "columns"
    source: Predictor
    columns: NDArray[np.intp]
    models_: tuple[str, ...]

    def fit(self, table: PerformanceTable) -> Self:
        raise NotImplementedError("fit the predictor that the columns were taken from.")

    def predict(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        return self.source.predict(prompts)[:, self.columns]


def read_artifact(directory: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the config and the arrays of a saved predictor.

    Raises:
        CorruptArtifact: A file is missing, truncated or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        config = json.loads((directory / CONFIG_FILE).read_text(encoding="utf-8"))
        weights = (directory / WEIGHTS_FILE).read_bytes()
        missing = {"predictor", "parameters", "learned", "weights_crc32"} - config.keys()
        if missing:
            raise KeyError(", ".join(sorted(missing)))
        if not isinstance(config["parameters"], dict) or not isinstance(config["learned"], dict):
            raise ValueError(f"{CONFIG_FILE} has another form")
        if zlib.crc32(weights) != config["weights_crc32"]:
            raise ValueError(f"{WEIGHTS_FILE} differs from the one that was saved")
        return config, load(weights)
    except (OSError, ValueError, KeyError, AttributeError, SafetensorError) as error:
        raise CorruptArtifact(
            f"{directory}: not a complete saved predictor ({type(error).__name__}: {error}). "
            "Copy or train it again."
        ) from error
