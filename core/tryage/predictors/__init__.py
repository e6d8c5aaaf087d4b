"""Predictors by name: ours and third parties', all through one door.

A predictor is registered by an entry point of the group `tryage.predictors`, in `pyproject.toml`:

    [project.entry-points."tryage.predictors"]
    mine = "my_package:MyPredictor"
"""

from __future__ import annotations

import functools
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from tryage.errors import UnknownPredictor, nearest
from tryage.predictors.base import Predictor, read_artifact

__all__ = ["Predictor", "get", "load", "names"]


@functools.cache
def _registered() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group="tryage.predictors")}


def names() -> tuple[str, ...]:
    """Return the names of all registered predictors, sorted."""
    return tuple(sorted(_registered()))


def get(name: str) -> type[Predictor]:
    """Return the predictor class registered under a name.

    Raises:
        UnknownPredictor: Nobody registered that name.
    """
    entry = _registered().get(name)
    if entry is None:
        raise UnknownPredictor(
            f"no predictor is called {name!r}.{nearest(name, names())} "
            f"Registered: {', '.join(names())}."
        )
    predictor: type[Predictor] = entry.load()
    return predictor


def load(directory: str | Path) -> Predictor:
    """Return the predictor saved in a directory, whatever its class.

    Raises:
        CorruptArtifact: The directory does not hold a complete saved predictor.
        UnknownPredictor: It was saved by a predictor that is not registered here.
    """
    config, _ = read_artifact(Path(directory))
    return get(config["predictor"]).load(directory)
