"""The page on the paper's experiment names every setting, every file of a run, every option.

That its Python runs is seen where all pages' does.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import get_args

import pytest
import typer
from pydantic_core import PydanticUndefined

from tryage.cli import app
from tryage.paper.settings import (
    Base,
    Corpus,
    ExpertPlan,
    JointPlan,
    RouterPlan,
    Settings,
    Text,
    default_experts,
)

PAGE = (Path(__file__).parents[2] / "docs" / "paper.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([a-z]+(?:\.[a-z_]+)?)` \|(?: (.+?))? \| (.+) \|$", re.MULTILINE)
WITHOUT = {key: without for key, without, _ in ROW.findall(PAGE.partition("| key |")[2])}
FILES = re.findall(r"^\| `([a-z/.]+)` \| [^|]+ \|$", PAGE, re.MULTILINE)
COMMANDS = re.findall(r"^    (tryage paper.*)$", PAGE, re.MULTILINE)
PARTS = {
    "corpora": Corpus,
    "text": Text,
    "experts": ExpertPlan,
    "router": RouterPlan,
    "joint": JointPlan,
}


def keys():
    for name, field in Settings.model_fields.items():
        if name in PARTS:
            for key, within in PARTS[name].model_fields.items():
                yield f"{name}.{key}", within
        else:
            yield name, field


KEYS = dict(keys())


def test_the_page_knows_the_keys_of_the_file_and_no_others():
    assert list(WITHOUT) == list(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_the_page_says_what_holds_without_a_key(key):
    default = KEYS[key].default
    if default is PydanticUndefined:
        assert WITHOUT[key] == "needed"
    else:
        assert WITHOUT[key] == ("" if default is None else f"`{json.dumps(default)}`")


def test_the_page_names_every_base():
    (row,) = re.findall(r"^\| `experts.base` .*$", PAGE, re.MULTILINE)
    assert set(re.findall(r"`([a-z]+)`", row)) == set(get_args(Base))


def test_the_files_on_the_page_are_good(tmp_path):
    blocks = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        (tmp_path / "mine.toml").write_text(block, encoding="utf-8")
        settings = Settings.read(tmp_path / "mine.toml")
        assert settings.corpora[0].path == tmp_path / "text/opinions"


def test_there_are_as_many_experts_by_themselves_as_the_page_says():
    general = [plan for plan in default_experts(["law", "code"]) if not plan.text]
    experts = default_experts([corpus.domain for corpus in Settings.full().corpora])
    assert (len(experts), len(general)) == (11, 2)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_on_the_page_can_be_given(command):
    _, name, *options = shlex.split(command, comments=True)
    typer.main.get_command(app).commands[name].make_context(name, options)


def test_every_way_to_run_it_is_on_the_page():
    options = typer.main.get_command(app).commands["paper"].params
    told = " ".join(COMMANDS).split()
    assert {option.opts[0] for option in options} <= set(told)


def test_the_page_names_every_file_of_a_run(paper_run):
    told = json.loads((paper_run / "results.json").read_text(encoding="utf-8"))["files"]
    drawn = [file for file in told["figures"] if file.endswith(".svg")]
    assert {*told["tables"], *drawn} == {file for file in FILES if "/" in file}
    assert {path.name for path in paper_run.iterdir()} == (
        {file for file in FILES if "/" not in file} | {"tables", "figures"}
    )
    for file in drawn:
        assert (paper_run / file).with_suffix(".png").is_file()
