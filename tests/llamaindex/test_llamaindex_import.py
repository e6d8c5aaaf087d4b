"""Importing the skin: light on providers, and clear about what is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

HIDE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r} or name.startswith({name!r} + "."):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.mark.parametrize("missing", ["llama_index", "llama_index.core"])
def test_without_llama_index_the_pip_line_is_given(missing):
    done = run(
        HIDE.format(name=missing)
        + "from tryage import MissingExtra\n"
        + "try:\n    import llamaindex_tryage\nexcept MissingExtra as error:\n    print(error)"
    )
    assert "pip install 'tryage[llamaindex]'" in done.stdout, done.stderr


def test_another_missing_module_is_not_taken_for_it():
    done = run(HIDE.format(name="wrapt") + "import llamaindex_tryage")
    assert "ModuleNotFoundError: No module named 'wrapt" in done.stderr


def test_no_provider_is_imported():
    done = run("import llamaindex_tryage, sys; print('openai' in sys.modules)")
    assert done.stdout.strip() == "False", done.stderr
