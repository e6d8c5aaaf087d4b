"""The command, from folders to the report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
pytest.importorskip("pyarrow")

from tests.paper.paper_folders import tiny_settings, write_corpora
from tryage.errors import UsageError
from tryage.paper import experiment
from tryage.paper.chains import chat_tryage, llama_tryage
from tryage.paper.models import load_models
from tryage.paper.settings import Settings

ROOT = Path(__file__).parents[2]
STAGES = ("texts-", "expert-", "tables-", "run-")


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Settings:
    return tiny_settings(write_corpora(tmp_path_factory.mktemp("corpora"), sentences=40))


@pytest.fixture(scope="module")
def out(settings, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    experiment.run(settings, folder, lambda step: None)
    return folder


def test_the_whole_runs_and_says_what_was_found(settings, out):
    record = json.loads((out / "results.json").read_text())
    found = record["results"]
    for name in ("selection_accuracy", "mean_loss", "best_single_loss", "per_domain_best_loss",
                 "oracle_loss", "oracle_gap_closed"):  # fmt: skip
        assert isinstance(found[name], float)
    assert found["oracle_loss"] <= found["mean_loss"]
    assert (out / record["files"]["report"]).stat().st_size > 1000
    assert record["run"]["digest"] == settings.digest


def test_what_was_made_answers_in_a_chain(settings, out):
    models = load_models(out)
    assert models.cards.names == tuple(expert.name for expert in settings.experts)
    assert models.router.models == models.cards.names
    passage = "the court held that a [MASK] was not binding"
    for made in (chat_tryage, llama_tryage):
        model = made(models.experts, models.cards, models.router, prompt_flags=True)
        ask = model.invoke if made is chat_tryage else model.complete
        answer = ask(passage)
        assert answer.text.startswith("the court held that a ")
        assert "[MASK]" not in answer.text


def test_nothing_is_done_twice(settings, out):
    made = {p: p.stat().st_mtime_ns for p in (out / "cache").rglob("*.safetensors")}
    made |= {p: p.stat().st_mtime_ns for p in (out / "cache").rglob("*.parquet")}
    steps: list[str] = []
    experiment.run(settings, out, steps.append)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in made.items())
    assert not any("masking" in step for step in steps)


def test_a_changed_setting_redoes_what_hangs_on_it_alone(settings, out):
    before = {path.name for path in (out / "cache").iterdir()}
    experiment.run(settings.model_copy(update={"seeds": (1,)}), out, lambda step: None)
    new = {path.name for path in (out / "cache").iterdir()} - before
    assert [name.split("-")[0] for name in new] == ["run"]


RUN = """
import sys, torch
from pathlib import Path
from tests.paper.paper_folders import tiny_settings
from tryage.paper import experiment
from tryage.paper.settings import Corpus
torch.set_num_threads(1)
root = Path(sys.argv[1])
corpora = tuple(Corpus(domain=name, path=root / name) for name in ("law", "sums", "code"))
experiment.run(tiny_settings(corpora), Path(sys.argv[2]), lambda step: None)
"""


def test_a_run_that_is_killed_at_any_stage_goes_on(settings, out, tmp_path):
    corpora = settings.corpora[0].path.parent
    cache = tmp_path / "cache"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for stage in (*STAGES[:3], None):
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(corpora), str(tmp_path)], cwd=ROOT, env=environment
        )
        while stage and process.poll() is None and not _has(cache, stage):
            time.sleep(0.01)
        if stage:
            process.send_signal(signal.SIGKILL)
        assert process.wait() == (-signal.SIGKILL if stage else 0)
    whole, pieces = _of_experts(out), _of_experts(tmp_path)
    assert pieces == whole


def _of_experts(out: Path) -> list[dict[str, object]]:
    """What each expert makes of each domain; where a prompt goes can hang on the last bit."""
    rows = json.loads((out / "results.json").read_text())["tables"]["domains"]
    return [row for row in rows if row["expert"] != "routed"]


def _has(cache: Path, stage: str) -> bool:
    return cache.is_dir() and any(
        next(folder.iterdir(), None) for folder in cache.iterdir() if folder.name.startswith(stage)
    )


def test_a_bad_corpus_stops_the_run_before_any_work(settings, tmp_path):
    (tmp_path / "empty").mkdir()
    corpus = settings.corpora[0].model_copy(update={"path": tmp_path / "empty"})
    bad = settings.model_copy(update={"corpora": (corpus, *settings.corpora[1:])})
    with pytest.raises(UsageError, match="corpus 'law': no file of"):
        experiment.run(bad, tmp_path / "out", lambda step: None)
