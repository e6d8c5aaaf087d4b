"""What `ChatTryage.invoke` costs over calling the chosen model itself, beside its peers.

    python benchmarks/langchain_overhead.py [--rounds N]

Writes `results/langchain_overhead.md`.

All cases call the same in-process model, which answers at once. They take turns, one call each, in
an order drawn anew for each round: a noisy machine slows all of them alike, and none has the
processor's caches to itself, as no application has. Figures are medians over the rounds; where the
machine has other work to do, the lowest tenth tells more. Compare rows: the microseconds are this
machine's.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableBranch
from report import write
from rich.progress import track

from langchain_tryage import ChatTryage
from langchain_tryage.testing import FunctionChatModel
from tryage.testing import FunctionPredictor

PROMPT = (
    "Explain to a student of physics, in plain words and with one example from daily life, why "
    "entropy never falls in a closed system, what Maxwell's demon would have to do for it to fall, "
    "and why the demon cannot be built. Name the assumption that most textbooks leave out."
)
BUNDLED = ("gpt-4o", "gpt-4o-mini", "claude-3-5-sonnet", "llama-3.1-8b", "mistral-large")
WARM_UP = 50
TARGET_US = 150


def cases() -> dict[str, Callable[[], Any]]:
    """Return what is measured, by name; the model itself comes first."""
    models = [FunctionChatModel(lambda text: "Yes.", model_name=name) for name in BUNDLED]
    first = models[0]
    constant = FunctionPredictor(lambda prompt, model: 0.9 if model == BUNDLED[0] else 0.5)
    tryage = ChatTryage(models, flags=f"only {BUNDLED[0]}")
    fixed = ChatTryage(models, predictor=constant)
    fallbacks = first.with_fallbacks(models[1:])
    branch = RunnableBranch((lambda prompt: len(prompt) < 10, models[1]), first)
    messages = [HumanMessage(PROMPT)]
    return {
        "the model itself": lambda: first.invoke(PROMPT),
        "ChatTryage, default predictor": lambda: tryage.invoke(PROMPT),
        "ChatTryage, constant predictor": lambda: fixed.invoke(PROMPT),
        "with_fallbacks": lambda: fallbacks.invoke(PROMPT),
        "RunnableBranch": lambda: branch.invoke(PROMPT),
        "the decision alone": lambda: tryage.router.route(PROMPT),
        "the model itself, messages": lambda: first.invoke(messages),
        "ChatTryage, messages": lambda: tryage.invoke(messages),
    }


def measure(rounds: int) -> dict[str, list[float]]:
    """Return the microseconds of the call in each round, by case."""
    measured = list(cases().items())
    times: dict[str, list[float]] = {name: [] for name, _ in measured}
    order = random.Random(0)
    gc.disable()
    for number in track(range(WARM_UP + rounds), description="rounds", transient=True):
        order.shuffle(measured)
        for name, call in measured:
            start = time.perf_counter()
            call()
            elapsed = time.perf_counter() - start
            if number >= WARM_UP:
                times[name].append(elapsed * 1e6)
        if number % 50 == 0:
            gc.collect()
    gc.enable()
    return times


def summarise(times: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Return a row for each case: how long it takes, and how much more than the model itself."""
    own = times["the model itself"]
    own_low = _low(own)
    return [
        {
            "case": name,
            "median_us": round(statistics.median(values), 1),
            "over_model_us": round(_median_of(lambda a, b: a - b, values, own), 1),
            "ratio": round(_median_of(lambda a, b: a / b, values, own), 2),
            "p10_us": round(_low(values), 1),
            "over_model_p10_us": round(_low(values) - own_low, 1),
        }
        for name, values in times.items()
    ]


def _low(values: list[float]) -> float:
    return statistics.quantiles(values, n=10)[0]


def _median_of(
    compare: Callable[[float, float], float], values: list[float], own: list[float]
) -> float:
    return statistics.median(compare(a, b) for a, b in zip(values, own, strict=True))


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1000, help="how often the cases take turns")
    rows = summarise(measure(parser.parse_args().rounds))
    write(
        "langchain_overhead",
        f"What `ChatTryage.invoke` adds to the chosen model's own; target ≤ {TARGET_US} µs",
        ("case", "median, µs", "over the model, µs", "ratio", "lowest tenth, µs", "over, µs"),
        [[str(value) for value in row.values()] for row in rows],
    )


if __name__ == "__main__":
    main()
