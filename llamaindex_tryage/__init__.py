"""Tryage for LlamaIndex: one LLM made of many.

    >>> from llamaindex_tryage import Tryage
    >>> from llamaindex_tryage.testing import FunctionLLM
    >>> llm = Tryage(llms=[FunctionLLM(str.upper, model_name="loud")])
    >>> llm.complete("hello").text
    'HELLO'

`Tryage` stands wherever LlamaIndex takes an LLM; each of its calls goes to the best of the LLMs.
"""

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

from llamaindex_tryage.events import RoutingDecisionEvent
from llamaindex_tryage.llm import Tryage
from llamaindex_tryage.messages import RoutedMessage

__all__ = ["RoutedMessage", "RoutingDecisionEvent", "Tryage"]
