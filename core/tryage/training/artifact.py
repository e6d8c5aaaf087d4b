r"""The bundled weights, made and described by one command.

    python -m tryage.training.artifact --tables ../shared/data/tables \
        --out core/tryage/predictors/weights

Distils the encoder, judges the recipe on a tenth of the questions held out of all tables, trains on
everything, and writes the weights, the encoder and `README.md`, their model card. Takes a few
minutes on two cores; faster with OPENBLAS_NUM_THREADS=1 where other work runs beside it.
"""

from __future__ import annotations

import argparse
import time
import tomllib
import zlib
from pathlib import Path

import numpy as np

from tryage.data.table import PerformanceTable
from tryage.data.text import question_of
from tryage.encoders.static import CHECKSUM_FILE, StaticEncoder
from tryage.errors import UsageError
from tryage.library import Library
from tryage.predictors.default import DefaultPredictor
from tryage.predictors.lessons import Anchors
from tryage.training.artifact_card import SOURCES, Judgement, judge, model_card
from tryage.training.distil import distil

ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
LIMIT_BYTES = 12_000_000


def read_tables(directory: Path) -> dict[str, PerformanceTable]:
    """Return the tables that are known by name, in the order of `SOURCES`.

    Raises:
        UsageError: The folder holds none of them.
    """
    paths = {name: directory / f"{name}.parquet" for name in SOURCES}
    tables = {name: PerformanceTable.read(p) for name, p in paths.items() if p.exists()}
    if not tables:
        raise UsageError(f"{directory}: holds none of {', '.join(SOURCES)} (.parquet).")
    return tables


def read_anchors() -> list[Anchors]:
    """Return the prompts with a prior in place of measurements."""
    text = (Path(__file__).parent / "anchors.toml").read_text(encoding="utf-8")
    return [Anchors(**level) for level in tomllib.loads(text)["levels"]]


def held_out(table: PerformanceTable, tenth: int = 5) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which prompts are held out, (n_prompts,): by question, so alike in every table.

    The recipe was chosen on tenth 0; tenth 5 is what the model card reports.
    """
    return np.array([zlib.crc32(question_of(p).encode()) % 10 == tenth for p in table.prompts])


def build(tables: Path, out: Path, encoder: str) -> DefaultPredictor:
    """Write weights, encoder and model card into a folder, and return the predictor.

    Args:
        tables: Folder of the public tables.
        out: Folder to write.
        encoder: What to distil; or a folder that holds a distilled encoder, taken as it is.

    Raises:
        UsageError: The outcome is larger than may ship.
    """
    library, anchors = Library.bundled(), read_anchors()
    start = time.perf_counter()
    whole = read_tables(tables)
    distilled = (Path(encoder) / CHECKSUM_FILE).exists()
    static = StaticEncoder.load(encoder) if distilled else distil(encoder)
    judgements: list[Judgement] = []
    masks = {name: held_out(table) for name, table in whole.items()}
    known = {name: t.rows(np.flatnonzero(~masks[name])) for name, t in whole.items()}
    trial = _train(known, library, anchors, static)
    for name, table in whole.items():
        unseen = table.rows(np.flatnonzero(masks[name]))
        judgements.append(judge(name, trial, known[name], unseen, library))
    predictor = _train(whole, library, anchors, static)
    predictor.save(out)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    if size > LIMIT_BYTES:
        raise UsageError(f"{out}: {size:,} bytes; {LIMIT_BYTES:,} may ship. Use fewer dimensions.")
    seconds = time.perf_counter() - start
    card = model_card(predictor, whole, anchors, judgements, size, seconds)
    (out / "README.md").write_text(card, encoding="utf-8")
    return predictor


def _train(
    tables: dict[str, PerformanceTable],
    library: Library,
    anchors: list[Anchors],
    encoder: StaticEncoder,
) -> DefaultPredictor:
    return DefaultPredictor().fit_tables(tables, library, anchors=anchors, encoder=encoder)


def main() -> None:
    """Make the artifact from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", type=Path, required=True, help="folder of the public tables")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--encoder", default=ENCODER, help=f"hub name or folder ({ENCODER})")
    arguments = parser.parse_args()
    build(arguments.tables, arguments.out, arguments.encoder)


if __name__ == "__main__":
    main()
