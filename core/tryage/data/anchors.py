"""Anchor prompts that ship as identifiers: questions of a public benchmark, never their text.

A model that answered them, and whose answers were scored, is placed by `tryage calibrate`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tryage.data.table import PerformanceTable
from tryage.errors import InvalidTable, MissingExtra, UsageError

LIST = Path(__file__).parent / "anchors.toml"


@dataclass(frozen=True)
class AnchorList:
    """Questions of a benchmark, the most informative first.

    Attributes:
        benchmark: Its name, as model cards spell it.
        dataset: Where it is on the Hugging Face hub,
        file: and in which file there.
        question_ids: The questions, by the number that they have in its column `question_id`.
        scores: What known models scored on them, in their order: by model, one `1`, `0` or `-`
            (not measured) a question.

    Example:
        >>> len(AnchorList.bundled().question_ids)
        100
    """

    benchmark: str
    dataset: str
    file: str
    question_ids: tuple[int, ...]
    scores: Mapping[str, str]

    @classmethod
    def bundled(cls) -> AnchorList:
        """Return the list that ships: questions of MMLU-Pro."""
        read = tomllib.loads(LIST.read_text(encoding="utf-8"))
        return cls(**{**read, "question_ids": tuple(read["question_ids"])})

    def beside(self, table: PerformanceTable) -> PerformanceTable:
        """Return the table with what known models scored on those of its prompts that are anchors.

        Prompts are known by the ids that `prompts` gives. Models that the table holds itself keep
        its scores; a table without anchors comes back as it is.
        """
        place = {f"{self.benchmark}/{number}": i for i, number in enumerate(self.question_ids)}
        rows = [row for row, number in enumerate(table.prompt_ids) if number in place]
        if not rows:
            return table
        models = [model for model in self.scores if model not in table.models]
        added = np.full((len(table), len(models)), np.nan, dtype=np.float32)
        for column, model in enumerate(models):
            marks = [self.scores[model][place[table.prompt_ids[row]]] for row in rows]
            added[rows, column] = [np.nan if mark == "-" else float(mark) for mark in marks]
        return replace(
            table,
            models=(*table.models, *models),
            scores=np.concatenate([table.scores, added], axis=1),
            measures={},
            extras={},
        )

    def prompts(self, file: str | Path | None = None) -> list[AnchorPrompt]:
        """Return the questions themselves, from their public source.

        Args:
            file: The dataset's Parquet file, where you have it; fetched from the hub if absent.

        Raises:
            MissingExtra: Reading needs `pip install 'tryage[train]'`.
            UsageError: The hub cannot be reached.
            InvalidTable: The file cannot be read, or lacks a question or a column.
        """
        rows = _read(Path(file) if file is not None else self._fetch())
        by_number = {row["question_id"]: row for row in rows}
        missing = [number for number in self.question_ids if number not in by_number]
        if missing:
            raise InvalidTable(
                f"{len(missing)} of {len(self.question_ids)} anchors, such as question "
                f"{missing[0]}, are not in {file or self.file}; take {self.file} of {self.dataset}."
            )
        return [_prompt(self.benchmark, by_number[number]) for number in self.question_ids]

    def _fetch(self) -> Path:
        try:
            from huggingface_hub import hf_hub_download
        except ImportError as error:
            raise MissingExtra(
                "fetching anchors needs huggingface_hub: pip install 'tryage[train]'."
            ) from error
        try:
            return Path(hf_hub_download(self.dataset, self.file, repo_type="dataset"))
        except (OSError, ValueError, RuntimeError) as error:
            raise UsageError(
                f"{self.dataset} cannot be fetched ({type(error).__name__}); download {self.file} "
                "elsewhere and give its path, or choose anchors from a table of your own."
            ) from error


@dataclass(frozen=True)
class AnchorPrompt:
    """One question to put to a new model.

    Attributes:
        prompt_id: The benchmark, a slash, and its number there.
        prompt: The text, answer options and all.
        answer: The letter of the right option; score 1 for it, else 0.
        domain: Its subject.
    """

    prompt_id: str
    prompt: str
    answer: str
    domain: str


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("reading Parquet needs pyarrow: pip install 'tryage[train]'.") from error
    columns = ["question_id", "question", "options", "answer", "category"]
    try:
        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path, columns=columns).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise InvalidTable(f"{path}: not the benchmark's Parquet file: {reason}.") from error
    if rows and rows[0].keys() != set(columns):
        raise InvalidTable(f"{path}: needs the columns {', '.join(columns)}.")
    return rows


def _prompt(benchmark: str, row: dict[str, Any]) -> AnchorPrompt:
    options = [f"{chr(65 + i)}. {option}" for i, option in enumerate(row["options"])]
    return AnchorPrompt(
        prompt_id=f"{benchmark}/{row['question_id']}",
        prompt="\n".join([row["question"], *options]),
        answer=row["answer"],
        domain=row["category"],
    )
