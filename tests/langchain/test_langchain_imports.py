"""Importing the skin is quick, and says what is missing."""

from __future__ import annotations

import doctest
import importlib.util
import subprocess
import sys

import pytest

import langchain_tryage
import langchain_tryage.chat_model
import langchain_tryage.testing


def in_a_fresh_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


PATHS = f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r};"


def test_importing_loads_nothing_heavy() -> None:
    heavy = in_a_fresh_process(
        f"{PATHS} import langchain_tryage; "
        "print([m for m in ('langchain_core', 'langchain', 'torch') if m in sys.modules])"
    )
    assert heavy == "[]"


def test_using_it_loads_no_provider_and_no_agents() -> None:
    heavy = in_a_fresh_process(
        f"{PATHS} from langchain_tryage import ChatTryage; "
        "print([m for m in ('langchain', 'langchain_openai', 'langgraph') if m in sys.modules])"
    )
    assert heavy == "[]"


def test_without_langchain_the_error_says_how_to_get_it() -> None:
    said = in_a_fresh_process(
        f"{PATHS} sys.modules['langchain_core'] = None\n"
        "from tryage import MissingExtra\n"
        "try:\n    import langchain_tryage\nexcept MissingExtra as error:\n    print(error)"
    )
    assert said.endswith("pip install 'tryage[langchain]'")


def test_without_the_agents_the_middleware_says_how_to_get_them() -> None:
    said = in_a_fresh_process(
        f"{PATHS} sys.modules['langchain'] = None\n"
        "from tryage import MissingExtra\n"
        "from langchain_tryage import TryageRouter\n"
        "try:\n    from langchain_tryage import TryageMiddleware\n"
        "except MissingExtra as error:\n    print(error)"
    )
    assert said.endswith("pip install 'tryage[langchain]'")


def test_without_decision_models_the_error_says_which_core_has_them() -> None:
    said = in_a_fresh_process(
        f"{PATHS} sys.modules['langchain_core.decisions'] = None\n"
        "from tryage import MissingExtra\n"
        "try:\n    from langchain_tryage import TryageDecisionModel\n"
        "except MissingExtra as error:\n    print(error)"
    )
    assert said.startswith("TryageDecisionModel needs langchain-core 1.8, and ")
    assert said.endswith("pip install -U 'langchain-core>=1.8'")


def test_everything_that_is_public_can_be_imported() -> None:
    names = in_a_fresh_process(f"{PATHS} from langchain_tryage import *; print(*dir())").split()
    assert set(langchain_tryage.__all__) <= set(names)
    has_decisions = importlib.util.find_spec("langchain_core.decisions") is not None
    assert ("TryageDecisionModel" in names) == has_decisions


def test_public_names() -> None:
    for name in langchain_tryage.__all__:
        assert getattr(langchain_tryage, name).__name__ == name
        assert name in dir(langchain_tryage)
    with pytest.raises(AttributeError, match="has no attribute 'ChatTriage'"):
        _ = langchain_tryage.ChatTriage


@pytest.mark.parametrize("module", [langchain_tryage.testing, langchain_tryage.chat_model])
def test_examples_in_docstrings(module: object) -> None:
    results = doctest.testmod(module)  # type: ignore[arg-type]
    assert results.attempted
    assert not results.failed
