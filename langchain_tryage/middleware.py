"""`TryageMiddleware`: the best model for each model call of an agent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any, cast

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage
from langchain_core.runnables.config import ensure_config

from langchain_tryage.calls import both_callbacks
from langchain_tryage.candidates import Candidates, Models
from langchain_tryage.delegation import acall_through, call_through
from langchain_tryage.inputs import request_from
from langchain_tryage.metadata import reported
from langchain_tryage.portability import Recipient, portable, portable_arguments
from tryage import (
    CircuitBreaker,
    Decision,
    Flags,
    MissingExtra,
    ModelCard,
    Predictor,
    Router,
    count_tokens,
    needs_of,
    output_limit,
)
from tryage.failures import Verdict, judge, retry_after_s
from tryage.strategies import Outcome

try:
    from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
    from langchain.agents.middleware.types import ContextT, ResponseT
    from langchain.agents.structured_output import ProviderStrategy
except ImportError as error:
    raise MissingExtra(
        "TryageMiddleware needs langchain 1.x, which is not installed: "
        "pip install 'tryage[langchain]'"
    ) from error


class TryageMiddleware(AgentMiddleware[AgentState[ResponseT], ContextT, ResponseT]):
    """Has each model call of an agent answered by the model that is best for it.

    It decides anew for each call, on all that the call holds: the conversation with the system
    message, attachments, tools and response format. Only while a model waits for the results of
    its tools it stays, unless it fails. The model that `create_agent` was given is never called.

    Flags come from the same places as `ChatTryage`'s, the later the stronger: `flags` here;
    `tryage_flags` in `config["configurable"]` of the agent's call; `with tryage.flags(...)` around
    it; and, where `prompt_flags` is switched on, `[Flag: ...]` in user messages.

    A model that fails is rested for a while, and the next in the ranking answers. For a last
    resort beyond these models, put LangChain's `ModelFallbackMiddleware` behind this one; before
    it, its fallback would be overridden.

    Args:
        models: Chat models or `"provider:model"` strings; in a mapping, under your own names.
        flags: Wishes for every call.
        cards: Cards of your own; other models take the bundled card of their name.
        predictor: Predicts quality; the bundled default predictor by default.
        prompt_flags: Read flags from user messages, and take them out before a model sees them.
            Only for prompts whose authors you trust.
        breaker: Remembers which models failed of late; share one between routers over the same
            models.

    Raises:
        EmptyLibrary: There is no model.
        DuplicateModel: Two models go by one name.
        UsageError: One is neither a chat model nor a string, or has no name.
        MissingExtra: A string's provider needs a package that is not installed.
        InvalidFlag: A flag has a value that it cannot have.
        UnknownFlag: There is no such flag.

    Example:
        >>> from langchain.agents import create_agent
        >>> from langchain_tryage.testing import FunctionChatModel
        >>> large = FunctionChatModel(str.upper, model_name="gpt-4o")
        >>> small = FunctionChatModel(str.lower, model_name="gpt-4o-mini")
        >>> agent = create_agent(large, middleware=[TryageMiddleware([large, small])])
        >>> config = {"configurable": {"tryage_flags": "cheapest"}}
        >>> state = agent.invoke({"messages": ["Hello"]}, config)
        >>> state["messages"][-1].response_metadata["tryage"]["model"]
        'gpt-4o-mini'
    """

    def __init__(
        self,
        models: Models,
        *,
        flags: Flags | str | dict[str, Any] | None = None,
        cards: Iterable[ModelCard | dict[str, Any]] = (),
        predictor: Predictor | None = None,
        prompt_flags: bool = False,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        super().__init__()
        candidates = Candidates.of(models, {})
        self.models = candidates.models
        self.router = Router(candidates.library(cards), predictor, flags)
        self._recipients = {n: Recipient.of(n, model) for n, model in self.models.items()}
        self.prompt_flags = prompt_flags
        self.breaker = breaker if breaker is not None else CircuitBreaker()

    def wrap_model_call(
        self,
        request: ModelRequest[ContextT],
        handler: Callable[[ModelRequest[ContextT]], ModelResponse[ResponseT]],
    ) -> ModelResponse[ResponseT]:
        """Return the answer of the best model, or of the next in the ranking where it fails.

        Raises:
            NoEligibleModel: The limits exclude every model.
            AllModelsFailed: No model answered.
            Exception: What is no model's fault, such as the interrupt of a graph, as it is.
        """
        request, decision = self._decided(request)
        watch = _Watch()
        outcome = call_through(
            decision,
            self.breaker,
            lambda name: handler(self._request_for(name, request, decision, watch)),
        )
        return self._told(decision, outcome, watch)

    async def awrap_model_call(
        self,
        request: ModelRequest[ContextT],
        handler: Callable[[ModelRequest[ContextT]], Awaitable[ModelResponse[ResponseT]]],
    ) -> ModelResponse[ResponseT]:
        """Return the answer of the best model; like `wrap_model_call`."""
        request, decision = self._decided(request)
        watch = _Watch()
        outcome = await acall_through(
            decision,
            self.breaker,
            lambda name: handler(self._request_for(name, request, decision, watch)),
        )
        return self._told(decision, outcome, watch)

    def _decided(self, request: ModelRequest[ContextT]) -> tuple[ModelRequest[ContextT], Decision]:
        """Return the request, without flags in the prompt where they are read, and the decision."""
        system = [request.system_message] if request.system_message else []
        messages, asked = request_from(
            [*system, *request.messages],
            ensure_config(),
            self.router.library,
            prompt_flags=self.prompt_flags,
            needs=_needs(request),
            max_output_tokens=output_limit(request.model_settings),
            tool_tokens=count_tokens(str(request.tools)) if request.tools else 0,
        )
        if self.prompt_flags:
            request = request.override(messages=cast(list[AnyMessage], messages[len(system) :]))
        return request, self.router.route(asked)

    def _request_for(
        self, name: str, request: ModelRequest[ContextT], decision: Decision, watch: _Watch
    ) -> ModelRequest[ContextT]:
        """Return the request for one of the models, whose run then says why it was picked."""
        watch.answered, watch.error = False, None
        model = self.models[name]
        quality = decision.quality[decision.library.position(name)]
        told = {"tryage_model": name, "tryage_quality": round(float(quality), 4)}
        # A copy, since a binding's metadata is lost when the agent binds tools.
        picked = model.model_copy(
            update={
                "metadata": {**(model.metadata or {}), **told},
                "callbacks": both_callbacks(model.callbacks, [watch]),
            }
        )
        return request.override(model=picked, **self._portable(request, name))

    def _portable(self, request: ModelRequest[ContextT], name: str) -> dict[str, Any]:
        """Return what of a request changes, so that it holds nothing that only others know."""
        recipient = self._recipients[name]
        system = [request.system_message] if request.system_message else []
        asked: list[BaseMessage] = [*system, *request.messages]
        fit = portable(asked, recipient, self._recipients)
        settings = portable_arguments({**request.model_settings, "tools": request.tools}, recipient)
        changes: dict[str, Any] = {"tools": settings.pop("tools"), "model_settings": settings}
        if fit is not asked:
            changes["messages"] = fit[len(system) :]
            if system:
                changes["system_message"] = fit[0]
        return changes

    def _told(
        self, decision: Decision, outcome: Outcome[ModelResponse[ResponseT]], watch: _Watch
    ) -> ModelResponse[ResponseT]:
        """Return the response; the report is on it only where the routed model wrote it."""
        if watch.error is not None and judge(watch.error) is Verdict.MODEL:
            # Another middleware hid the failure, and had a model of its own answer.
            self.breaker.failed(outcome.model, retry_after_s(watch.error))
        if not watch.answered:
            return outcome.value
        result = [
            reported(message, decision, outcome) if isinstance(message, AIMessage) else message
            for message in outcome.value.result
        ]
        return replace(outcome.value, result=result)


class _Watch(BaseCallbackHandler):
    """Sees how the last run of the routed models ended, whatever other middleware makes of it."""

    run_inline = True

    def __init__(self) -> None:
        self.answered = False
        self.error: BaseException | None = None

    def on_chat_model_start(self, *arguments: Any, **kwargs: Any) -> None:
        """Do nothing; without this, the messages would be put into one text for `on_llm_start`."""

    def on_llm_end(self, *arguments: Any, **kwargs: Any) -> None:
        self.answered, self.error = True, None

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.answered, self.error = False, error


def _needs(request: ModelRequest[Any]) -> frozenset[Any]:
    """Return the capabilities without which a model call fails."""
    needs = needs_of({**request.model_settings, "tools": request.tools})
    if isinstance(request.response_format, ProviderStrategy):
        needs |= {"json_schema"}
    elif request.response_format is not None:
        # A model that has a way of its own to keep to a schema uses it; the others call a tool.
        needs |= {"tools"}
    return needs
