"""`TryageRouter`: the decision alone, as a step of a chain."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.runnables import RunnableConfig, RunnableSerializable
from pydantic import ConfigDict, InstanceOf, PrivateAttr

from langchain_tryage.inputs import Routable, library_of, messages_of, request_from
from tryage import Decision, Flags, Library, ModelCard, Predictor, Request, Router, as_flags


class TryageRouter(RunnableSerializable[LanguageModelInput, Decision | str]):
    """Decides which model is best for each prompt, and calls none.

    For one chat model that also calls it, with failover, take `ChatTryage`. This is for what you
    build yourself: LangChain's `RouterRunnable`, a graph's conditional edge, a log of what would
    have been picked.

    Flags come from the same places as `ChatTryage`'s, the later the stronger: `flags` here;
    `tryage_flags` in `config["configurable"]`; `with tryage.flags(...)` around the call; and,
    where `prompt_flags` is switched on, `[Flag: ...]` in the prompt. What the messages hold, such
    as images, leaves out models that cannot take it.

    Args:
        models: Names, cards, a `Library`, or chat models as `ChatTryage` takes them; the bundled
            library by default. `"provider:model"` stands for a model that the library knows.
        flags: Wishes for every call.
        cards: Cards for models that are given by name or as chat models.
        predictor: Predicts quality; the bundled default predictor by default.
        prompt_flags: Read flags from user messages. They are not taken out for whoever is handed
            the prompt next. Only for prompts whose authors you trust.
        as_key: Return the model's name in place of the `Decision`.

    Raises:
        EmptyLibrary: There is no model.
        DuplicateModel: Two models go by one name.
        UnknownModel: A card is of none of the models.
        UsageError: One is neither a name nor a card nor a chat model.
        InvalidFlag: A flag has a value that it cannot have.
        UnknownFlag: There is no such flag.

    Example:
        >>> from langchain_core.runnables import RouterRunnable, RunnablePassthrough
        >>> from langchain_tryage.testing import FunctionChatModel
        >>> models = {
        ...     "gpt-4o": FunctionChatModel(str.upper, model_name="gpt-4o"),
        ...     "gpt-4o-mini": FunctionChatModel(str.lower, model_name="gpt-4o-mini"),
        ... }
        >>> router = TryageRouter(models, flags="cheap", as_key=True)
        >>> router.invoke("Hello")
        'gpt-4o-mini'
        >>> chain = {"key": router, "input": RunnablePassthrough()} | RouterRunnable(models)
        >>> chain.invoke("Hello").content
        'hello'
    """

    models: InstanceOf[Library]
    """The cards of the models to choose from."""

    flags: InstanceOf[Flags]
    """Wishes for every call."""

    predictor: InstanceOf[Predictor] | None = None
    """Predicts quality; `None` for the bundled one."""

    prompt_flags: bool = False
    """Whether user messages may hold flags."""

    as_key: bool = False
    """Whether the model's name is returned in place of the decision."""

    _router: Router = PrivateAttr()

    model_config = ConfigDict(arbitrary_types_allowed=True)

    def __init__(
        self,
        models: Routable | None = None,
        *,
        flags: Flags | str | dict[str, Any] | None = None,
        cards: Iterable[ModelCard | dict[str, Any]] = (),
        predictor: Predictor | None = None,
        prompt_flags: bool = False,
        as_key: bool = False,
        **kwargs: Any,
    ) -> None:
        kwargs |= {
            "models": library_of(models, cards),
            "flags": as_flags(flags),
            "predictor": predictor,
            "prompt_flags": prompt_flags,
            "as_key": as_key,
        }
        super().__init__(**kwargs)
        self._router = Router(self.models, predictor, self.flags)

    @property
    def router(self) -> Router:
        """What decides, without LangChain around it."""
        return self._router

    @property
    def OutputType(self) -> Any:  # noqa: N802 (LangChain's name)
        """What comes out: text with `as_key`, else a `Decision`, which has no JSON schema."""
        return str if self.as_key else Any

    def invoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Decision | str:
        """Return what is decided for a prompt.

        Raises:
            EmptyPrompt: The input holds neither text nor an attachment.
            NoEligibleModel: The limits exclude every model.
            UnknownFlag: The config or the prompt names a flag that does not exist.
            UsageError: The input is no prompt.
        """
        # Here and below: functions of input and config are accepted, though not declared.
        return self._call_with_config(self._decide, input, config, **kwargs)  # type: ignore[arg-type]

    async def ainvoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Decision | str:
        """Return what is decided for a prompt; like `invoke`."""
        return await self._acall_with_config(self._adecide, input, config, **kwargs)  # type: ignore[arg-type]

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Decision | str]:
        """Return what is decided for each prompt, with one prediction for all of them."""
        return self._batch_with_config(
            self._decide_all,  # type: ignore[arg-type]
            inputs,
            config,
            return_exceptions=return_exceptions,
            **kwargs,
        )

    async def abatch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Decision | str]:
        """Return what is decided for each prompt; like `batch`."""
        return await self._abatch_with_config(
            self._adecide_all,  # type: ignore[arg-type]
            inputs,
            config,
            return_exceptions=return_exceptions,
            **kwargs,
        )

    def _decide(self, input: LanguageModelInput, config: RunnableConfig) -> Decision | str:
        return self._told(self._router.route(self._request(input, config)))

    async def _adecide(self, input: LanguageModelInput, config: RunnableConfig) -> Decision | str:
        return self._decide(input, config)

    def _decide_all(
        self, inputs: list[LanguageModelInput], config: list[RunnableConfig]
    ) -> list[Exception | Decision | str]:
        asked = list(zip(inputs, config, strict=True))
        try:
            decisions = self._router.route_batch([self._request(*one) for one in asked])
        except Exception:  # each input has its own answer or its own error
            return [self._attempt(*one) for one in asked]
        return [self._told(decision) for decision in decisions]

    async def _adecide_all(
        self, inputs: list[LanguageModelInput], config: list[RunnableConfig]
    ) -> list[Exception | Decision | str]:
        return self._decide_all(inputs, config)

    def _attempt(
        self, input: LanguageModelInput, config: RunnableConfig
    ) -> Exception | Decision | str:
        try:
            return self._decide(input, config)
        except Exception as error:  # handed on to `batch`, which raises it or returns it
            return error

    def _request(self, input: LanguageModelInput, config: RunnableConfig) -> Request:
        messages = messages_of(input)
        return request_from(messages, config, self.models, prompt_flags=self.prompt_flags)[1]

    def _told(self, decision: Decision) -> Decision | str:
        return decision.model if self.as_key else decision
