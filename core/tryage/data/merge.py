"""Several tables as one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tryage.data.table import PerformanceTable
from tryage.errors import InvalidTable


def merged(tables: Mapping[str, PerformanceTable]) -> PerformanceTable:
    """Return the table of all prompts of several tables, in the order given.

    Tables of different models are refused: a mean over the prompts that one model happened to get
    says nothing beside a mean over others. Prompt ids begin with the name of their table; `extras`
    are left out.

    Args:
        tables: One or more, by name; their models may stand in different orders.

    Raises:
        InvalidTable: There is none, or one has other models than the first.
    """
    if not tables:
        raise InvalidTable("no table was given; give at least one.")
    (first, table), *others = tables.items()
    if not others:
        return table
    for name, other in others:
        differing = sorted(set(table.models) ^ set(other.models))
        if differing:
            raise InvalidTable(
                f"{first} and {name} have different models ({', '.join(differing[:6])}"
                f"{', ...' if len(differing) > 6 else ''}). Give tables of the same models, or one "
                "at a time; only `tryage train --predictor default` learns from others together."
            )
    parts = {name: part.only(table.models) for name, part in tables.items()}
    shape_of = {name: part.scores.shape for name, part in parts.items()}
    measures = sorted({m for part in parts.values() for m in part.measures})
    return PerformanceTable(
        prompt_ids=tuple(f"{name}/{id}" for name, part in parts.items() for id in part.prompt_ids),
        prompts=tuple(prompt for part in parts.values() for prompt in part.prompts),
        models=table.models,
        scores=np.concatenate([part.scores for part in parts.values()]),
        domains=tuple(domain for part in parts.values() for domain in part.domains),
        measures={
            measure: np.concatenate(
                [
                    part.measures.get(measure, np.full(shape_of[name], np.nan))
                    for name, part in parts.items()
                ]
            )
            for measure in measures
        },
    )
