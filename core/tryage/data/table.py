"""The performance table: prompts × models → score, cost, latency, tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tryage.data.reader import Rows, Texts, read_rows
from tryage.errors import InvalidTable, UnknownModel, nearest

MEASURES = ("cost_usd", "latency_s", "input_tokens", "output_tokens")


@dataclass(frozen=True, eq=False)
class PerformanceTable:
    """Scores of models on prompts, one row per prompt and one column per model.

    Attributes:
        prompt_ids: One id per prompt, unique.
        prompts: The text of each prompt.
        models: The names of the columns.
        scores: float32 (n_prompts, n_models) in [0, 1], higher is better; NaN where not measured.
        domains: The domain of each prompt, "" where none is given.
        measures: Arrays like `scores` under `cost_usd`, `latency_s`, `input_tokens` and
            `output_tokens`, as far as the source has them.
        extras: Object arrays like `scores` for every other column of the source.

    Raises:
        InvalidTable: Shapes disagree, an id stands twice, or a score is outside [0, 1].

    Example:
        >>> table = PerformanceTable.from_scores(["hi"], ["small", "large"], [[0.5, 1.0]])
        >>> table.scores.shape
        (1, 2)
    """

    prompt_ids: tuple[str, ...]
    prompts: tuple[str, ...]
    models: tuple[str, ...]
    scores: NDArray[np.float32]
    domains: tuple[str, ...]
    measures: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    extras: Mapping[str, NDArray[np.object_]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.prompts), len(self.models))
        if self.scores.shape != shape:
            raise InvalidTable(
                f"scores have the shape {self.scores.shape}; {shape} is wanted: (prompts, models)."
            )
        if not (len(self.prompt_ids) == len(self.domains) == shape[0]):
            raise InvalidTable("prompt_ids, prompts and domains must be of one length.")
        if len(set(self.prompt_ids)) != shape[0] or len(set(self.models)) != shape[1]:
            raise InvalidTable("a prompt_id or a model stands twice; both must be unique.")
        with np.errstate(invalid="ignore"):
            bad = np.argwhere((self.scores < 0) | (self.scores > 1) | np.isinf(self.scores))
        if len(bad):
            row, column = bad[0]
            raise InvalidTable(
                f"score {self.scores[row, column]} of {self.models[column]!r} on prompt "
                f"{self.prompt_ids[row]!r} is outside [0, 1]; scale the scores first."
            )

    @classmethod
    def from_scores(
        cls,
        prompts: Sequence[str],
        models: Sequence[str],
        scores: Any,
        domains: Sequence[str] | None = None,
    ) -> PerformanceTable:
        """Return the table of a score matrix; ids are the prompts' numbers.

        Args:
            prompts: n_prompts texts.
            models: n_models names.
            scores: (n_prompts, n_models) in [0, 1], NaN where not measured.
            domains: n_prompts names, where known.
        """
        return cls(
            prompt_ids=tuple(str(i) for i in range(len(prompts))),
            prompts=tuple(prompts),
            models=tuple(models),
            scores=np.asarray(scores, dtype=np.float32),
            domains=tuple(domains) if domains is not None else ("",) * len(prompts),
        )

    @classmethod
    def read(cls, path: str | Path, extras: Sequence[str] | None = None) -> PerformanceTable:
        """Return the table in a file of long form: one row per prompt and model.

        Rows are read in batches and every text is kept once, so that memory follows the prompts
        and the scores, not the file.

        Args:
            path: `.parquet`, `.csv` or `.jsonl`, with the columns `prompt_id`, `prompt`, `model`
                and `score`; `domain`, `cost_usd`, `latency_s`, `input_tokens` and
                `output_tokens` are read where present.
            extras: The other columns to keep in `extras`; every one but `response` if absent.

        Raises:
            InvalidTable: A row or a column is at fault; names file, row and reason.
            MissingExtra: Parquet needs `pip install 'tryage[train]'`.
        """
        return _widen(read_rows(Path(path), MEASURES, extras))

    def rows(self, which: Sequence[int] | NDArray[np.intp]) -> PerformanceTable:
        """Return the table of some prompts, by their numbers, in the order given."""
        index = np.asarray(which, dtype=np.intp)
        return PerformanceTable(
            prompt_ids=tuple(self.prompt_ids[i] for i in index),
            prompts=tuple(self.prompts[i] for i in index),
            models=self.models,
            scores=self.scores[index],
            domains=tuple(self.domains[i] for i in index),
            measures={name: values[index] for name, values in self.measures.items()},
            extras={name: values[index] for name, values in self.extras.items()},
        )

    def only(self, models: Sequence[str]) -> PerformanceTable:
        """Return the table of some models, in the order given.

        Raises:
            UnknownModel: The table has no column of that name.
        """
        for name in models:
            if name not in self.models:
                raise UnknownModel(
                    f"the table has no model {name!r}.{nearest(name, self.models)} "
                    f"It has: {', '.join(self.models)}."
                )
        columns = [self.models.index(name) for name in models]
        return PerformanceTable(
            prompt_ids=self.prompt_ids,
            prompts=self.prompts,
            models=tuple(models),
            scores=self.scores[:, columns],
            domains=self.domains,
            measures={name: values[:, columns] for name, values in self.measures.items()},
            extras={name: values[:, columns] for name, values in self.extras.items()},
        )

    def __len__(self) -> int:
        return len(self.prompts)


def _widen(rows: Rows) -> PerformanceTable:
    """Turn long rows into one row per prompt and one column per model, both as first met."""
    prompt_rows, first = rows.prompt_ids.codes, np.empty(len(rows.prompt_ids.distinct), np.int32)
    first[prompt_rows[::-1]] = np.arange(len(prompt_rows), dtype=np.int32)[::-1]
    _refuse_two_prompts(rows, first)
    shape = (len(first), len(rows.models.distinct))
    cells = prompt_rows.astype(np.int64) * shape[1] + rows.models.codes
    _refuse_duplicates(rows, cells, shape)

    def spread(values: NDArray[Any], missing: Any) -> NDArray[Any]:
        wide = np.full(shape, missing, dtype=values.dtype)
        wide.flat[cells] = values
        return wide

    def of_first(texts: Texts) -> tuple[str, ...]:
        return tuple(texts.distinct[code] for code in texts.codes[first].tolist())

    return PerformanceTable(
        prompt_ids=tuple(rows.prompt_ids.distinct),
        prompts=of_first(rows.prompts),
        models=tuple(rows.models.distinct),
        scores=spread(rows.scores, np.nan),
        domains=of_first(rows.domains),
        measures={name: spread(values, np.nan) for name, values in rows.measures.items()},
        extras={name: spread(values, None) for name, values in rows.extras.items()},
    )


def _refuse_two_prompts(rows: Rows, first: NDArray[np.int32]) -> None:
    prompts, ids = rows.prompts.codes, rows.prompt_ids
    for row in np.flatnonzero(prompts != prompts[first][ids.codes])[:1].tolist():
        code = ids.codes[row]
        raise InvalidTable(
            f"{rows.path}, row {row + 1}: prompt_id {ids.distinct[code]!r} stood for another "
            f"prompt in row {first[code] + 1}; give each prompt an id of its own."
        )


def _refuse_duplicates(rows: Rows, cells: NDArray[np.int64], shape: tuple[int, int]) -> None:
    taken = np.zeros(shape[0] * shape[1], dtype=bool)
    taken[cells] = True
    if np.count_nonzero(taken) == len(cells):
        return
    by_cell = np.argsort(cells, kind="stable")
    again = by_cell[1:][cells[by_cell][1:] == cells[by_cell][:-1]]
    row = int(again.min())
    before = int(np.flatnonzero(cells == cells[row])[0])
    scores = float(rows.scores[before]), float(rows.scores[row])
    cure = (
        "with the same score; drop one of the two"
        if scores[0] == scores[1]
        else f"with the score {scores[0]:g}, not {scores[1]:g}; average repeated samples first"
    )
    model = rows.models.distinct[rows.models.codes[row]]
    raise InvalidTable(
        f"{rows.path}, row {row + 1}: {model!r} on prompt_id "
        f"{rows.prompt_ids.distinct[rows.prompt_ids.codes[row]]!r} stands in row {before + 1} "
        f"already, {cure}."
    )
