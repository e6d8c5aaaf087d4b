"""Tryage for LlamaIndex: one LLM made of many.

    >>> from llamaindex_tryage import Tryage
    >>> from llamaindex_tryage.testing import FunctionLLM
    >>> llm = Tryage(llms=[FunctionLLM(str.upper, model_name="loud")])
    >>> llm.complete("hello").text
    'HELLO'

`Tryage` stands wherever LlamaIndex takes an LLM; each of its calls goes to the best of the LLMs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tryage import MissingExtra

try:
    import llama_index.core  # noqa: F401
except ModuleNotFoundError as error:
    if error.name not in ("llama_index", "llama_index.core"):
        raise
    raise MissingExtra(
        "llamaindex_tryage needs llama-index-core, which is not installed: "
        "pip install 'tryage[llamaindex]'"
    ) from error

if TYPE_CHECKING:
    from llamaindex_tryage.events import RoutingDecisionEvent
    from llamaindex_tryage.llm import Tryage
    from llamaindex_tryage.postprocessor import TryagePostprocessor
    from llamaindex_tryage.selector import TryageSelector

_HOMES = {
    "RoutingDecisionEvent": "llamaindex_tryage.events",
    "Tryage": "llamaindex_tryage.llm",
    "TryagePostprocessor": "llamaindex_tryage.postprocessor",
    "TryageSelector": "llamaindex_tryage.selector",
}

__all__ = ["RoutingDecisionEvent", "Tryage", "TryagePostprocessor", "TryageSelector"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
