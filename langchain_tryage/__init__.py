"""Tryage for LangChain: one chat model made of many.

    from langchain_tryage import ChatTryage

    model = ChatTryage(models=["openai:gpt-4o", "openai:gpt-4o-mini"], flags="cheap")

Names are imported when they are first used, so that `import langchain_tryage` is quick.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from tryage import MissingExtra

if importlib.util.find_spec("langchain_core") is None:
    raise MissingExtra(
        "langchain_tryage needs langchain-core, which is not installed: "
        "pip install 'tryage[langchain]'"
    )

if TYPE_CHECKING:
    from langchain_tryage.chat_model import ChatTryage

_HOMES = {"ChatTryage": "langchain_tryage.chat_model"}

__all__ = ["ChatTryage"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
