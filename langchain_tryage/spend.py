"""What a run of calls cost, counted by a callback handler."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from langchain_tryage.usage import is_cached, usage_of
from tryage import Library, Spend

NO_NAME = "unknown"
"""What a model is counted under where neither its run nor its answer names it."""


class SpendHandler(BaseCallbackHandler):
    """Adds up what every chat model below it costs: Tryage's own calls and all others, once each.

    Hand it over as a callback, to one call, a chain or an agent. One handler may serve many calls
    at once.

    Args:
        reference: The model to compare with: the one that would have been called without a router.
        library: Where cards are looked up first, such as `ChatTryage(...).router.library`; then
            the bundled library.

    Raises:
        UnknownModel: No library holds the reference model.
        UsageError: The reference model's card has no prices.

    Example:
        >>> from langchain_tryage import ChatTryage
        >>> from langchain_tryage.testing import FunctionChatModel
        >>> model = ChatTryage([FunctionChatModel(str.upper, model_name="gpt-4o-mini")])
        >>> handler = SpendHandler(reference="gpt-4o")
        >>> _ = model.invoke("Hello", {"callbacks": [handler]})
        >>> handler.spend.models["gpt-4o-mini"].calls
        1
        >>> handler.spend.saved_usd > 0
        True
    """

    def __init__(self, reference: str | None = None, library: Library | None = None) -> None:
        self.spend = Spend(reference, library)
        self._running: dict[UUID, str | None] = {}

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Note which model the run is of."""
        self._running[run_id] = (metadata or {}).get("tryage_model")

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Add the answer of a run."""
        if run_id not in self._running:  # told twice, or no chat model
            return
        model = self._running.pop(run_id)
        for row in response.generations:
            message = row[0].message if row and isinstance(row[0], ChatGeneration) else None
            name = model or _name_of(message)
            if is_cached(message):
                self.spend.add_cached(name)
            else:
                self.spend.add(name, usage_of(message))

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Add the failure of a run."""
        if run_id in self._running:
            self.spend.add_failed(self._running.pop(run_id) or NO_NAME)

    def __repr__(self) -> str:
        return f"SpendHandler({self.spend!r})"


def _name_of(message: BaseMessage | None) -> str:
    name = {} if message is None else message.response_metadata
    return str(name.get("model_name") or NO_NAME)
