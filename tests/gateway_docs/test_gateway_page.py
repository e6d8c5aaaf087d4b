"""The page on the gateway names every key of the config file, and what holds without it."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tryage.gateway.config import EXAMPLE
from tryage.gateway.metrics import Metrics
from tryage.gateway.settings import Settings, UpstreamSettings

PAGE = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([a-z]+\.[a-z_]+)` \|(?: (.+?))? \| (.+) \|$", re.MULTILINE)
WITHOUT = {key: without for key, without, _ in ROW.findall(PAGE)}


def parts():
    for name, field in Settings.model_fields.items():
        yield name, UpstreamSettings if name == "upstreams" else field.annotation


KEYS = {
    f"{name}.{key}": field for name, part in parts() for key, field in part.model_fields.items()
}


def test_the_page_knows_the_keys_of_the_file_and_no_others():
    assert list(WITHOUT) == list(KEYS)


@pytest.mark.parametrize("key", [key for key in KEYS if not key.startswith("upstreams.")])
def test_the_page_says_what_holds_without_a_key(key):
    default = KEYS[key].default
    assert WITHOUT[key] == ("" if default is None else f"`{json.dumps(default)}`")


def test_the_page_says_which_keys_of_an_upstream_are_needed():
    needed = {key for key, field in KEYS.items() if field.is_required()}
    assert {key for key, without in WITHOUT.items() if without == "needed"} == needed


@pytest.mark.parametrize("key", KEYS)
def test_the_example_holds_every_key(key):
    part, name = key.split(".")
    text = EXAMPLE.read_text(encoding="utf-8")
    beneath = re.split(r"^\[", text, flags=re.MULTILINE)
    tables = [table for table in beneath if re.match(rf"\[?{part}\]", table)]
    assert any(re.search(rf"^(# )?{name} = ", table, re.MULTILINE) for table in tables) or any(
        table.startswith(f"{key}]") for table in beneath
    )


def test_the_configs_on_the_page_are_good():
    blocks = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        Settings.model_validate(tomllib.loads(block))


def test_the_page_names_every_metric():
    metrics = Metrics(CollectorRegistry(), record=_Nothing(), reference="gpt-4o")
    told = metrics.exposition(_Still())[0].decode()
    served = set(re.findall(r"^# TYPE (\w+)", told, re.MULTILINE))
    named = set(re.findall(r"`(tryage_[a-z_]+)`", PAGE.partition("| metric |")[2]))
    assert named == {name for name in served if not name.endswith("_created")}


class _Nothing:
    buffered = dropped = 0


class _Still:
    def states(self):
        return {}
