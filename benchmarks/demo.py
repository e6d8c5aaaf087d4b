"""Run the demo and keep what it prints; writes `results/demo.md`.

python benchmarks/demo.py
"""

from __future__ import annotations

import platform
import time
from pathlib import Path

from report import RESULTS, commit
from rich.console import Console

from tryage.demo.answering import show_answering
from tryage.demo.routing import show_routing


def main() -> None:
    """Run both parts and write the text."""
    console = Console(record=True, width=100, highlight=False)
    start = time.perf_counter()
    show_routing(console)
    show_answering(console, Path("out"))
    seconds = time.perf_counter() - start
    text = "\n".join(line.rstrip() for line in console.export_text().splitlines())
    (RESULTS / "demo.md").write_text(
        f"# What `make demo` prints\n\nCommit {commit()}, Python {platform.python_version()}, "
        f"{platform.machine()}; {seconds:.0f} seconds.\n\n```text\n{text}\n```\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
