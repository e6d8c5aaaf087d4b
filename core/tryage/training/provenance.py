"""What an artefact learned from, so that it is not judged on the same prompts unawares."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tryage.data.leaks import fingerprints
from tryage.data.table import PerformanceTable
from tryage.errors import CorruptArtifact

FILE = "trained_on.safetensors"


def write_provenance(directory: Path, tables: Mapping[str, PerformanceTable]) -> None:
    """Write beside an artefact what it learned from: a fingerprint of each prompt, and no text."""
    from safetensors.numpy import save

    prompts = fingerprints(prompt for table in tables.values() for prompt in table.prompts)
    sizes = {name: [len(table), len(table.models)] for name, table in tables.items()}
    (directory / FILE).write_bytes(save({"prompts": prompts}, {"tables": json.dumps(sizes)}))


def seen_prompts(directory: Path, table: PerformanceTable) -> NDArray[np.intp] | None:
    """Return the rows of a table whose prompts an artefact learned from; `None` if not known.

    Raises:
        CorruptArtifact: The file is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        learned = load((directory / FILE).read_bytes())["prompts"]
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, KeyError) as error:
        raise CorruptArtifact(
            f"{directory / FILE}: cannot be read ({type(error).__name__}: {error}). "
            "Train the predictor again."
        ) from error
    rows = [row for row, p in enumerate(table.prompts) if np.isin(fingerprints([p]), learned)]
    return np.array(rows, dtype=np.intp)
