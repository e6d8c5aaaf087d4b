"""Measure what routing adds to a call of a LlamaIndex LLM; writes `results/llamaindex_overhead.md`.

    python benchmarks/llamaindex_overhead.py

The LLM answers at once, so that nothing but the two layers is timed: its own `chat`, and the same
`chat` through `Tryage` with the default router, decision included, taken in turns in one run. The
last column is what remains of the addition with a predictor that need not look at the prompt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from llama_index.core.llms import ChatMessage
from report import interleaved_us, write
from speed import PROMPT

from llamaindex_tryage import Tryage
from llamaindex_tryage.testing import FunctionLLM
from tryage.testing import FunctionPredictor

TARGET_US = 150
CANDIDATES = {
    2: ("gpt-4o", "gpt-4o-mini"),
    8: (
        *("gpt-4o", "gpt-4o-mini", "claude-3-5-haiku", "gemini-1.5-flash"),
        *("mistral-large", "llama-3.1-8b", "qwen2.5-7b", "deepseek-v3"),
    ),
}


def main() -> None:
    """Measure every row and write the table."""
    rows = [row for count in CANDIDATES for row in measured(count)]
    write(
        "llamaindex_overhead",
        "What `Tryage` adds to a LlamaIndex LLM",
        (
            "call",
            "LLMs",
            "the LLM's own",
            "through Tryage",
            "ratio",
            "added",
            "target",
            "unpredicted",
        ),
        rows,
    )


def measured(count: int) -> list[list[str]]:
    """Return one row for each way to call, with this many LLMs to choose from."""
    llms = [FunctionLLM(lambda text: "At noon.", model_name=name) for name in CANDIDATES[count]]
    router = Tryage(llms=llms)
    blind = Tryage(llms=llms, predictor=FunctionPredictor(lambda text, model: 0.5))
    messages = [ChatMessage(role="user", content=PROMPT)]
    chosen = llms[router.names.index(router.chat(messages).additional_kwargs["tryage"]["model"])]
    loop = asyncio.new_event_loop()
    ways: dict[str, Callable[[Tryage | FunctionLLM], object]] = {
        "chat": lambda llm: llm.chat(messages),
        "achat": lambda llm: loop.run_until_complete(llm.achat(messages)),
        "stream_chat": lambda llm: list(llm.stream_chat(messages)),
        "complete": lambda llm: llm.complete(PROMPT),
    }
    rows = []
    for name, call in ways.items():
        times = interleaved_us({
            "own": lambda call=call: call(chosen),
            "routed": lambda call=call: call(router),
            "blind": lambda call=call: call(blind),
        })  # fmt: skip
        rows.append(row(name, count, **times))
    loop.close()
    return rows


def row(name: str, count: int, own: float, routed: float, blind: float) -> list[str]:
    """Return one row of the table."""
    added = routed - own
    verdict = f"≤ {TARGET_US} µs" + ("" if added <= TARGET_US else " (missed)")
    return [
        f"`{name}`",
        str(count),
        f"{own:.0f} µs",
        f"{routed:.0f} µs",
        f"{routed / own:.2f}",
        f"{added:.0f} µs",
        verdict,
        f"{blind - own:.0f} µs",
    ]


if __name__ == "__main__":
    main()
