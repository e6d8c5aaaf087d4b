"""`tryage paper`, as a process: what it refuses, and how it says so."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

CORPORA = """
[[corpora]]
domain = "law"
path = "law"
[[corpora]]
domain = "code"
"""
EXPERTS = """
[[experts]]
name = "bert"
model = "nobody/has-such-a-model"
[[experts]]
name = "own"
"""


def paper(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-c", "from tryage.cli import main; main()", "paper", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        timeout=300,
    )


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("stepz = 1", "run.toml: stepz: there is no such setting"),
        (CORPORA, "corpus 'law': there is no"),
        (EXPERTS, "expert 'bert': 'nobody/has-such-a-model' is no folder, and the Hugging Face"),
    ],
    ids=["typo", "no corpus", "no hub"],
)
def test_what_cannot_be_run_is_named_in_one_line(tmp_path, config, words):
    (tmp_path / "run.toml").write_text(config)
    done = paper("--config", "run.toml", "--out", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_named_before_any_work(tmp_path):
    (tmp_path / "out").write_text("a file")
    done = paper("--quick", "--out", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("tryage: cannot write to --out 'out'")
    assert done.stderr.count("\n") == 1


def test_quick_and_a_file_exclude_each_other(tmp_path):
    done = paper("--quick", "--config", "run.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert "exclude each other" in done.stderr
