"""Tryage for LangChain: one chat model made of many.

    from langchain_tryage import ChatTryage

    model = ChatTryage(models=["openai:gpt-4o", "openai:gpt-4o-mini"], flags="cheap")

Names are imported when they are first used, so that `import langchain_tryage` is quick.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tryage import MissingExtra

_core = importlib.util.find_spec("langchain_core")
if _core is None:
    raise MissingExtra(
        "langchain_tryage needs langchain-core, which is not installed: "
        "pip install 'tryage[langchain]'"
    )

if TYPE_CHECKING:
    from langchain_tryage.chat_model import ChatTryage
    from langchain_tryage.decision_model import TryageDecisionModel
    from langchain_tryage.middleware import TryageMiddleware
    from langchain_tryage.router import TryageRouter
    from langchain_tryage.spend import SpendHandler

_HOMES = {
    "ChatTryage": "langchain_tryage.chat_model",
    "SpendHandler": "langchain_tryage.spend",
    "TryageDecisionModel": "langchain_tryage.decision_model",
    "TryageMiddleware": "langchain_tryage.middleware",
    "TryageRouter": "langchain_tryage.router",
}

__all__ = ["ChatTryage", "SpendHandler", "TryageMiddleware", "TryageRouter"]

# Only from langchain-core 1.8 on; looked for on the disk, since to import it would take long.
if any(Path(folder, "decisions").is_dir() for folder in _core.submodule_search_locations or ()):
    __all__ += ["TryageDecisionModel"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
