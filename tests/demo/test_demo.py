"""Both parts of the demo run, on fewer passages than a user sees."""

from __future__ import annotations

import io
import subprocess
import sys
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
    chance = next(line for line in shown.splitlines() if "random expert" in line)
    assert "11% [11%, 11%]" in chance  # of nine: reckoned, and not drawn
    assert (tmp_path / "tryage-pareto.png").stat().st_size > 10_000


# What only `tryage[train]` installs cannot be found; two experts that need no torch answer.
WITHOUT_TRAIN = """
import sys
from pathlib import Path
import numpy as np
from rich.console import Console

ABSENT = {"model2vec", "pandas", "pyarrow", "scipy", "sentence_transformers", "skeletoken",
          "sklearn", "umap"}

class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, *rest):
        return None if name.split(".")[0] in ABSENT else self.finder.find_spec(name, *rest)
    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]

from tryage.demo import answering
from tryage.experts import Filled, load_tokenizer

class Fake:
    tokenizer = load_tokenizer()
    def __init__(self, name, parameters):
        self.name, self.parameters = name, parameters
    def judge(self, prompts):
        likes = np.array([prompt.domain < "m" for prompt in prompts])
        loss = np.where(likes == (self.name == "first"), 2.0, 4.0)
        return loss.astype(np.float32), (loss < 3).astype(np.float32)
    def fill(self, text):
        return Filled(text=text.replace("[MASK]", "word"), words=(), probabilities=())

answering.load_experts = lambda: (Fake("first", 1e6), Fake("second", 4e6))
answering.show_answering(Console(width=120), Path(sys.argv[1]))
assert not ABSENT & {name.split(".")[0] for name in sys.modules}
"""


def test_the_second_part_needs_only_what_the_demo_installs(tmp_path):
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", WITHOUT_TRAIN, str(tmp_path)],
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = {line.split("│")[1].strip(): line for line in done.stdout.splitlines() if "│" in line}
    assert "100.0%" in rows["oracle (knows the losses)"]
    assert "100.0%" in rows["best for the domain, told it"]  # the domain tells it all here
    assert "50% [50%, 50%]" in rows["random expert"]
    assert float(rows["Tryage"].split("│")[2].partition("%")[0]) > 90
    assert "1.00M" in rows["1"]  # λ = 1 calls the smallest alone
    assert (tmp_path / "tryage-pareto.png").exists()
