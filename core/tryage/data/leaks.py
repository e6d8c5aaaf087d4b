"""Leaks between tables: prompts to be judged on that were there to learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from tryage.data.table import PerformanceTable
from tryage.data.text import normalise

Key = Callable[[str], str]


def shared_prompts(
    table: PerformanceTable, other: PerformanceTable, key: Key = normalise
) -> NDArray[np.intp]:
    """Return the rows of a table whose prompts the other table holds too, in order.

    Args:
        table: The one whose rows are numbered.
        other: The one that may hold them.
        key: What two prompts have in common when they are one; `question_of` also leaves out the
            answer options of multiple choice, which differ between benchmarks.

    Example:
        >>> a = PerformanceTable.from_scores(["Hi there!", "数学"], ["m"], [[1], [0]])
        >>> b = PerformanceTable.from_scores(["物理", "hi  there"], ["n"], [[1], [1]])
        >>> shared_prompts(a, b)
        array([0])
    """
    known = {key(prompt) for prompt in other.prompts}
    rows = [row for row, prompt in enumerate(table.prompts) if key(prompt) in known]
    return np.array(rows, dtype=np.intp)


def without_prompts_of(
    table: PerformanceTable, others: Iterable[PerformanceTable], key: Key = normalise
) -> PerformanceTable:
    """Return a table without the prompts that one of the others holds too.

    Args:
        table: What to filter.
        others: The tables that are to share nothing with it.
        key: As for `shared_prompts`.
    """
    known = {key(prompt) for other in others for prompt in other.prompts}
    return table.rows([row for row, p in enumerate(table.prompts) if key(p) not in known])


def fingerprints(prompts: Iterable[str]) -> NDArray[np.uint64]:
    """Return 64 bits for each distinct normalised prompt, sorted: enough to know it again by.

    An artefact keeps these of what it learned from, and none of the texts.
    """
    import hashlib  # loads OpenSSL, which few need

    digests = {
        hashlib.blake2b(normalise(p).encode("utf-8", "replace"), digest_size=8).digest()
        for p in prompts
    }
    return np.sort(np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64))
