"""What the benchmark scripts share: timing, the commit, and results as text."""

from __future__ import annotations

import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def median_us(call: Callable[[], object], repeats: int = 2000, warm_up: int = 50) -> float:
    """Return the median wall time of a call in microseconds."""
    for _ in range(warm_up):
        call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times) / 1000


def interleaved_us(calls: dict[str, Callable[[], object]], repeats: int = 2000) -> dict[str, float]:
    """Return the median of each call in microseconds, taken in turns to share the noise."""
    times: dict[str, list[int]] = {name: [] for name in calls}
    for repeat in range(repeats + 50):
        for name, call in calls.items():
            start = time.perf_counter_ns()
            call()
            if repeat >= 50:
                times[name].append(time.perf_counter_ns() - start)
    return {name: statistics.median(taken) / 1000 for name, taken in times.items()}


def commit() -> str:
    """Return the commit of the working tree, marked where it has changes."""
    shown = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=10"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return shown.stdout.strip() or "unknown"


def write(
    name: str,
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    below: Sequence[str] = (),
) -> Path:
    """Write a table as Markdown under `results`, print it, and return the file's path.

    Args:
        name: Of the file.
        title: Above the table.
        header: The names of the columns.
        rows: The table.
        below: Paragraphs that stand below it.
    """
    lines = [
        f"# {title}",
        "",
        f"Commit {commit()}, Python {platform.python_version()}, {platform.machine()}.",
        "",
        f"| {' | '.join(header)} |",
        f"|{' --- |' * len(header)}",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        *(line for paragraph in below for line in (paragraph, "")),
    ]
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.md"
    path.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))
    return path
