"""Both parts of the demo run, on fewer passages than a user sees."""

from __future__ import annotations

import io
from collections import defaultdict

import pytest
from rich.console import Console

from tryage.demo.routing import PROMPTS, show_routing


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=100)


def test_the_first_part_routes_and_reckons_the_saving(console):
    show_routing(console)
    shown = console.file.getvalue()
    for part in ("quality alone", "tolerance 0.05; cheapest", "smallest model", "saved", "%"):
        assert part in shown
    assert PROMPTS[0] in shown


def test_the_second_part_lets_real_models_answer(console, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    from tryage.demo import answering

    def few(split):
        by_domain = defaultdict(list)
        for prompt in load_all(split):
            by_domain[prompt.domain].append(prompt)
        return [prompt for prompts in by_domain.values() for prompt in prompts[:12]]

    load_all = answering.load_passages
    monkeypatch.setattr(answering, "load_passages", few)
    answering.show_answering(console, tmp_path)
    shown = console.file.getvalue()
    for part in ("LangChain: prompt | ChatTryage", "LlamaIndex: Tryage", "right:", "Tryage",
                 "random expert", "best single", "oracle", "mean parameters"):  # fmt: skip
        assert part in shown
    assert (tmp_path / "tryage-pareto.png").stat().st_size > 10_000
