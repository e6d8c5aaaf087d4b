"""Every Python block of the documentation runs, and every example in a docstring."""

from __future__ import annotations

import doctest
import gc
import importlib
import re
import shlex
import shutil
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from llama_index.core import Settings
from llama_index.core.instrumentation import get_dispatcher

import tryage
from tests.servers.openai_server import OpenAIServer
from tryage.gateway.assembly import assemble
from tryage.gateway.serve import listen, server_of
from tryage.gateway.settings import Settings as GatewaySettings

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
CURL = re.compile(r"^\$ (curl .*)$", re.MULTILINE)
GATEWAY = "http://127.0.0.1:8000"
"""Where the pages say that a gateway listens; the tests' own listens elsewhere."""
PAPER = "out/paper"
"""Where the pages say that a run of the paper's experiment lies."""


def programs():
    """Yield what a reader would run: blocks of the front pages, whole pages of docs, examples."""
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for number, code in enumerate(BLOCK.findall(page.read_text(encoding="utf-8")), start=1):
            yield pytest.param(page, code, id=f"{page.name}-{number}")
    for page in sorted((ROOT / "docs").rglob("*.md")):
        blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
        yield pytest.param(page, "\n".join(blocks), id=str(page.relative_to(ROOT)))
    for example in sorted((ROOT / "examples").glob("*.py")):
        code = example.read_text(encoding="utf-8")
        yield pytest.param(example, code, id=f"examples/{example.name}")


@pytest.fixture
def nothing_stays():
    """Undo what a program does to LlamaIndex as a whole, and let go of what it made."""
    settings, dispatcher = dict(vars(Settings)), get_dispatcher()
    handlers = list(dispatcher.event_handlers)
    yield
    vars(Settings).update(settings)
    dispatcher.event_handlers[:] = handlers
    gc.collect()


@pytest.mark.filterwarnings("ignore:.* no tokens when streaming")  # at OpenAI itself they do
@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")  # LlamaIndex
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # its memories' sqlite
@pytest.mark.parametrize(("path", "code"), list(programs()))
def test_the_program_runs(path, code, tmp_path, monkeypatch, nothing_stays, request):
    if PAPER in code:
        (tmp_path / PAPER).parent.mkdir()
        (tmp_path / PAPER).symlink_to(request.getfixturevalue("paper_run"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
    with OpenAIServer() as server:
        # Whatever the page calls at OpenAI is answered on this machine.
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_BASE", server.base_url)
        if GATEWAY not in code:
            run(path, code)
            return
        with gateway(server, tmp_path) as address:
            run(path, code.replace(GATEWAY, address))


def run(path, code):
    exec(compile(code, str(path), "exec"), {"__name__": "__main__", "__file__": str(path)})


@contextmanager
def gateway(server, folder):
    """Run the whole gateway before two models of the server; yields its address."""
    names = ("gpt-4o-mini", "gpt-4o")
    settings = GatewaySettings.model_validate(
        {
            "server": {"port": 0},
            "record": {"url": f"sqlite:///{folder}/tryage.db"},
            "upstreams": [{"name": name, "base_url": server.base_url} for name in names],
        }
    )
    with listen(settings.server) as bound:
        running = server_of(assemble(settings), settings.server)
        thread = threading.Thread(target=running.run, args=([bound],))
        thread.start()  # who connects before it has started waits in the socket's queue
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            running.should_exit = True
            thread.join()


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "gateway.md"])
def test_the_calls_with_curl_are_answered(page, tmp_path):
    commands = CURL.findall(page.read_text(encoding="utf-8"))
    assert commands
    with OpenAIServer() as server, gateway(server, tmp_path) as address:
        for command in commands:
            words = shlex.split(command.replace(GATEWAY, address))
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            assert "heard: " in done.stdout


def documented():
    for root in (ROOT / "core", ROOT):
        for package in ("tryage", "langchain_tryage", "llamaindex_tryage"):
            for path in sorted((root / package).rglob("*.py")):
                parts = path.relative_to(root).with_suffix("").parts
                yield ".".join(part for part in parts if part != "__init__")


@pytest.mark.parametrize("name", list(documented()))
def test_the_examples_in_docstrings_run(name):
    try:
        module = importlib.import_module(name)
    except tryage.MissingExtra as error:  # made for a framework newer than the one that is here
        pytest.skip(str(error))
    names = {exported: getattr(tryage, exported) for exported in tryage.__all__}
    result = doctest.testmod(module, extraglobs=names, optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
