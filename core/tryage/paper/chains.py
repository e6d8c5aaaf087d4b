"""Experts and their router in a framework: a `ChatTryage` of LangChain, a `Tryage` of LlamaIndex.

They answer a prompt that holds `[MASK]` with the text completed. Of the core, only this module and
the demo's chains know the skins, and both stand above them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tryage.cards import ModelCard
from tryage.experts import Expert
from tryage.predictors.base import Predictor

if TYPE_CHECKING:
    from langchain_tryage import ChatTryage
    from llamaindex_tryage import Tryage
    from tryage.paper.published import PublishedExpert


def chat_tryage(
    experts: Sequence[Expert | PublishedExpert],
    cards: Iterable[ModelCard],
    predictor: Predictor,
    **options: Any,
) -> ChatTryage:
    """Return a LangChain chat model that fills masks with the expert predicted best.

    Args:
        experts: What to choose from.
        cards: One for each.
        predictor: Fitted on these experts.
        options: Further fields of `ChatTryage`, such as `flags` or `prompt_flags`.
    """
    from langchain_tryage import ChatTryage
    from langchain_tryage.testing import FunctionChatModel

    models = {e.name: FunctionChatModel(_answer(e), model_name=e.name) for e in experts}
    return ChatTryage(models=models, cards=tuple(cards), predictor=predictor, **options)


def llama_tryage(
    experts: Sequence[Expert | PublishedExpert],
    cards: Iterable[ModelCard],
    predictor: Predictor,
    **options: Any,
) -> Tryage:
    """Return a LlamaIndex LLM that fills masks with the expert predicted best.

    Args:
        experts: What to choose from.
        cards: One for each.
        predictor: Fitted on these experts.
        options: Further fields of `Tryage`, such as `flags` or `prompt_flags`.
    """
    from llamaindex_tryage import Tryage
    from llamaindex_tryage.testing import FunctionLLM

    llms = {e.name: FunctionLLM(_answer(e), model_name=e.name) for e in experts}
    return Tryage(llms=llms, cards=tuple(cards), predictor=predictor, **options)


def _answer(expert: Expert | PublishedExpert) -> Callable[[str], str]:
    return lambda text: expert.fill(text).text
