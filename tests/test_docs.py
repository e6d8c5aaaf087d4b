"""Every Python block of the documentation runs, and every example in a docstring."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

import tryage
from tests.servers.openai_server import OpenAIServer

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks():
    for page in PAGES:
        if page.is_file():
            for number, code in enumerate(BLOCK.findall(page.read_text(encoding="utf-8")), start=1):
                yield pytest.param(code, id=f"{page.name}-{number}")


@pytest.mark.parametrize("code", list(blocks()))
def test_the_block_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
    with OpenAIServer() as server:
        # Whatever the page calls at OpenAI is answered on this machine.
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_BASE", server.base_url)
        exec(compile(code, "block", "exec"), {"__name__": "__main__"})


def documented():
    for root in (ROOT / "core", ROOT):
        for package in ("tryage", "langchain_tryage", "llamaindex_tryage"):
            for path in sorted((root / package).rglob("*.py")):
                parts = path.relative_to(root).with_suffix("").parts
                yield ".".join(part for part in parts if part != "__init__")


@pytest.mark.parametrize("name", list(documented()))
def test_the_examples_in_docstrings_run(name):
    module = importlib.import_module(name)
    names = {exported: getattr(tryage, exported) for exported in tryage.__all__}
    result = doctest.testmod(module, extraglobs=names, optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
