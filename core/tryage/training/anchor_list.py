r"""The list of anchor questions that ships, made by one command.

    python -m tryage.training.anchor_list --table ../shared/data/tables/mmlu_pro.parquet

Chooses them with the bundled predictor from the training side of the split that the benchmarks
use, and writes identifiers and known models' scores only.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from tryage.data.anchors import LIST
from tryage.data.split import split_by_prompt
from tryage.data.table import PerformanceTable
from tryage.predictors.default import DefaultPredictor

K = 100
HEAD = """\
# Anchor questions, the most informative first: identifiers only, the text stays with its source.
# Written by `python -m tryage.training.anchor_list`, from the training side of the benchmarks'
# split. `scores`: what known models got, question by question (TIGER-Lab's runs, Apache-2.0).

benchmark = "mmlu_pro"
dataset = "TIGER-Lab/MMLU-Pro"
file = "data/test-00000-of-00001.parquet"
"""


def main() -> None:
    """Choose the anchors and write the list."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, required=True, help="mmlu_pro.parquet")
    parser.add_argument("--out", type=Path, default=LIST, help=f"file to write ({LIST.name})")
    arguments = parser.parse_args()
    table = PerformanceTable.read(arguments.table, extras=("question_id",))
    chosen = DefaultPredictor.bundled().informative(split_by_prompt(table, 0.3, 0).train, K)
    numbers = [
        str(int(next(cell for cell in cells if cell is not None)))
        for cells in chosen.extras["question_id"]
    ]
    lines = [", ".join(numbers[at : at + 12]) for at in range(0, len(numbers), 12)]
    body = ",\n    ".join(lines)
    scores = [
        f'"{model}" = "{"".join(map(_mark, column))}"'
        for model, column in zip(chosen.models, chosen.scores.T.tolist(), strict=True)
    ]
    text = "\n".join([f"{HEAD}question_ids = [\n    {body},\n]", "", "[scores]", *scores, ""])
    arguments.out.write_text(text, encoding="utf-8")


def _mark(score: float) -> str:
    return "-" if math.isnan(score) else str(round(score))


if __name__ == "__main__":
    main()
