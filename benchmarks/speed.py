"""Measure the speed that the design asks for; writes `results/speed.md`.

    python benchmarks/speed.py

Each row names the limit or the rival that the figure stands beside, in the same run. The rows of
the skins are measured by `langchain_overhead.py` and `llamaindex_overhead.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import numpy as np
from report import median_us, write

from tryage import Flags, Library, ModelCard, Router

PROMPT = (
    "A train leaves the station at 9:40 in the morning and arrives at 13:05 after three stops of "
    "four minutes each. How many minutes was it in motion, and what was its average speed over "
    "the whole journey of 240 kilometres? Explain each step of your reasoning briefly."
)
MANY = 200_000


def main() -> None:
    """Measure every row and write the table."""
    rows = [*one_decision(), *batch(), *many_models(), import_time(), memory()]
    write(
        "speed",
        "Speed of the core",
        ("what", "measured", "target", "measured / target"),
        rows,
    )


def row(
    what: str, value: float, target: float, unit: str, *, more_is_better: bool = False
) -> list[str]:
    """Return one row; a ratio under 1 meets the target, or over 1 where more is better."""
    ratio = value / target
    met = ratio >= 1 if more_is_better else ratio <= 1
    sign = "≥" if more_is_better else "≤"
    verdict = f"{ratio:.2f}" + ("" if met else " (missed)")
    return [what, f"{value:,.3g} {unit}" if value < 1000 else f"{value:,.0f} {unit}",
            f"{sign} {target:,g} {unit}", verdict]  # fmt: skip


def twenty() -> Library:
    """Return the first twenty bundled models with all that the flags below weigh."""
    known = [c for c in Library.bundled() if c.input_usd_per_mtok and c.output_tokens_per_s]
    return Library(known[:20])


def one_decision() -> list[list[str]]:
    """Time one decision over twenty models, without and with flags."""
    router = Router(twenty())
    wishes = Flags(cost=0.2, latency=0.1, max_cost_usd=0.05)
    return [
        row("one decision, 20 models, 60-token prompt",
            median_us(lambda: router.route(PROMPT)), 100, "µs"),
        row("the same with cost, latency and a limit on cost",
            median_us(lambda: router.route(PROMPT, wishes)), 100, "µs"),
    ]  # fmt: skip


def batch() -> list[list[str]]:
    """Time a batch on one core: predictions alone, and decisions."""
    router = Router(twenty())
    prompts = [f"{i} {PROMPT}" for i in range(10_000)]
    router.route_batch(prompts[:100])
    rows = []
    for what, run in (
        ("batch, predictions", lambda: router.predictor.predict(prompts)),
        ("batch, whole decisions", lambda: router.route_batch(prompts)),
    ):
        start = time.process_time()  # all threads' time together: per core
        run()
        rate = len(prompts) / (time.process_time() - start)
        rows.append(row(what, rate, 10_000, "prompts/s per core", more_is_better=True))
    return rows


def many_models() -> list[list[str]]:
    """Time one decision over 200,000 models, in a process of its own for its memory."""
    figures = json.loads(_in_a_new_process("many"))
    return [
        row("one decision, 200,000 models", figures["plain_ms"], 5, "ms"),
        row("the same with weights on cost and size", figures["flags_ms"], 5, "ms"),
        row("memory of that process", figures["rss_mb"], 500, "MB"),
    ]


def measure_many() -> None:
    """Print the figures of `many_models` as JSON."""
    rng = np.random.default_rng(0)
    sizes, prices, accuracy = rng.random((3, MANY))
    router = Router(
        Library(
            ModelCard(
                name=f"model-{i}",
                parameters=10 ** (8 + 4 * sizes[i]),
                input_usd_per_mtok=10 * prices[i],
                output_usd_per_mtok=30 * prices[i],
                benchmarks={"mmlu": accuracy[i]},
            )
            for i in range(MANY)
        )
    )
    wishes = Flags(cost=0.2, size=0.1)
    plain = median_us(lambda: router.route(PROMPT), repeats=50, warm_up=5)
    flags = median_us(lambda: router.route(PROMPT, wishes), repeats=50, warm_up=5)
    figures = {"plain_ms": plain / 1000, "flags_ms": flags / 1000, "rss_mb": _resident_mb()}
    print(json.dumps(figures))


def import_time() -> list[str]:
    """Time `import tryage` in fresh processes."""
    code = "import time; t = time.perf_counter(); import tryage; print(time.perf_counter() - t)"
    times = [float(_python("-c", code)) for _ in range(11)]
    return row("import tryage", float(np.median(times)), 0.2, "s")


def memory() -> list[str]:
    """Measure the resident memory of a process that has routed with the default router."""
    return row("resident memory, default router", float(_in_a_new_process("memory")), 150, "MB")


def measure_memory() -> None:
    """Print the resident memory in MB after one decision."""
    Router.default().route(PROMPT)
    print(_resident_mb())


def _resident_mb() -> float:
    with open("/proc/self/status", encoding="ascii") as status:
        kib = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    return kib / 1024


def _in_a_new_process(part: str) -> str:
    return _python(os.path.abspath(__file__), part)


def _python(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


if __name__ == "__main__":
    parts = {"many": measure_many, "memory": measure_memory}
    parts[sys.argv[1]]() if len(sys.argv) > 1 else main()
