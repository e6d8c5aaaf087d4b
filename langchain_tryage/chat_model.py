"""`ChatTryage`: one chat model made of many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from langchain_core.language_models import (
    BaseChatModel,
    LangSmithParams,
    LanguageModelInput,
    ModelProfile,
)
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.prompt_values import ChatPromptValue
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from pydantic import BaseModel, ConfigDict, Field, InstanceOf, PrivateAttr

from langchain_tryage.calls import RoutedCall, Setup, both_callbacks
from langchain_tryage.candidates import Candidates, Models, as_cards
from langchain_tryage.entry_points import TransparentChatModel
from langchain_tryage.inputs import request_from
from langchain_tryage.parameters import (
    PER_CALL,
    per_call_defaults,
    pushed_down,
    warn_of_uncounted,
    warn_of_unused,
)
from langchain_tryage.portability import Recipient
from langchain_tryage.profiles import common_profile, common_provider, count_with
from langchain_tryage.structured import RoutedStructuredOutput
from langchain_tryage.tools import BoundTools, tokens_of_tools
from tryage import (
    CircuitBreaker,
    Flags,
    ModelCard,
    Predictor,
    Router,
    UnknownModel,
    __version__,
    as_flags,
    needs_of,
    output_limit,
)

_SAMPLING = ("temperature", "max_tokens")
"""The router's own fields that the models take, too."""


class ChatTryage(TransparentChatModel):
    """One chat model made of many: each call goes to the model that is best for it.

    ???+ info "Setup"

        ```bash
        pip install 'tryage[langchain]'
        ```

        Add the packages of the providers whose models you name, such as `langchain-openai`, and
        set their keys, such as `OPENAI_API_KEY`; Tryage itself has none.

    ??? info "Key init args: routing"

        | Param | Type | Description |
        | --- | --- | --- |
        | `models` | `list` or `dict` | Chat models or `"provider:model"` strings. |
        | `flags` | `Flags`, `str` or `dict` | What you want beside quality. |
        | `cards` | `list[ModelCard]` | What you know of models that no library holds. |
        | `predictor` | `Predictor` | Predicts how well each model would do. |
        | `prompt_flags` | `bool` | Whether prompts may hold flags. |

    ??? info "Key init args: completion"

        | Param | Type | Description |
        | --- | --- | --- |
        | `temperature` | `float` | Sampling temperature. |
        | `max_tokens` | `int` | Longest answer in tokens; expected cost counts no more. |
        | `stop` | `list[str]` or `str` | Where answers end. |
        | any other | | As `ChatOpenAI` takes it; for the models built from strings. |

    ??? info "Key init args: client"

        | Param | Type | Description |
        | --- | --- | --- |
        | `timeout`, `max_retries`, `api_key`, `base_url` | | For the models built from strings. |

    Flags come from four places, the later the stronger: `flags` here; `tryage_flags` in
    `config["configurable"]` for one call; `with tryage.flags(...)` around it; and, where
    `prompt_flags` is switched on, `[Flag: ...]` in the prompt. `model="name"` with a call has the
    model of that name answer.

    A model that fails is rested for a while, and the call goes to the next in the ranking; in a
    stream only until the first content has arrived. An error that every model would give comes
    back as it is.

    Args:
        models: Chat models or strings for `init_chat_model`; in a mapping, under your own names.
        flags: Wishes for every call.
        cards: Cards of your own, or dictionaries of their facts; other models take the bundled
            card of their name.
        predictor: Predicts quality; the bundled default predictor by default.
        prompt_flags: Read flags from user messages, and take them out before a model sees them.
            Only for prompts whose authors you trust.
        breaker: Remembers which models failed of late; share one between routers over the same
            models.
        **kwargs: Settings of every chat model (`cache`, `callbacks`, `rate_limiter`, `tags`, ...),
            and parameters for the models that are built from strings: `temperature`,
            `max_tokens`, `timeout`, `api_key`, ...

    Raises:
        EmptyLibrary: There is no model.
        DuplicateModel: Two models go by one name.
        UsageError: One is neither a chat model nor a string, or has no name.
        MissingExtra: A string's provider needs a package that is not installed.
        InvalidFlag: A flag has a value that it cannot have.
        UnknownFlag: There is no such flag.

    ??? example "Instantiate"

        >>> from langchain_tryage.testing import FunctionChatModel
        >>> from tryage import ModelCard
        >>> model = ChatTryage(
        ...     models=[
        ...         FunctionChatModel(str.upper, model_name="loud"),
        ...         FunctionChatModel(str.lower, model_name="quiet"),
        ...     ],
        ...     cards=[
        ...         ModelCard(name="loud", parameters=70e9, benchmarks={"mmlu": 0.8}),
        ...         ModelCard(name="quiet", parameters=1e9, benchmarks={"mmlu": 0.3}),
        ...     ],
        ... )

    ??? example "Invoke"

        >>> answer = model.invoke("Hello")
        >>> answer.content
        'HELLO'
        >>> answer.response_metadata["tryage"]["model"]
        'loud'

    ??? example "Stream"

        >>> [chunk.text for chunk in model.stream("Hello there")]
        ['HELLO', ' THERE', '']

    ??? example "Async"

        >>> import asyncio
        >>> asyncio.run(model.ainvoke("Hello")).content
        'HELLO'

    ??? example "Tool calling"

        Each model binds the tools with its own `bind_tools`; those that cannot are left out.

        >>> def add(a: int, b: int) -> int:
        ...     "Add two numbers."
        ...     return a + b
        >>> model.bind_tools([add]).invoke("Hello").tool_calls
        []

    ??? example "Structured output and JSON mode"

        Each model keeps to the schema in its own way: `model.with_structured_output(Schema)`, or
        with `method="json_mode"`. Where an answer that was not streamed does not keep to it, the
        next model is asked.

    ??? example "Image and audio input"

        Messages go to the model as they are; models that cannot take their blocks are left out.
        A card says what a model can take: `ModelCard(name=..., capabilities={"vision"})`.

    ??? example "Token usage and cost"

        >>> answer.usage_metadata["input_tokens"]
        1
        >>> answer.response_metadata["tryage"]["cost_usd"] is None  # no prices on its card
        True

    ??? example "Logprobs"

        >>> "logprobs" in model.invoke("Hello", logprobs=True).response_metadata
        False

        They stand where the picked model puts them.

    ??? example "Response metadata"

        >>> sorted(answer.response_metadata)
        ['model_name', 'tryage']
        >>> answer.response_metadata["tryage"]["attempts"]
        [{'model': 'loud', 'error': None}]

    ??? example "Flags for one call"

        >>> model.invoke("Hello", {"configurable": {"tryage_flags": "smallest model"}}).content
        'hello'

    ??? example "One model in particular"

        >>> model.invoke("Hello", model="quiet").content
        'hello'
    """

    models: dict[str, BaseChatModel]
    """The models by name."""

    flags: InstanceOf[Flags]
    """Wishes for every call."""

    cards: tuple[InstanceOf[ModelCard], ...] = ()
    """The caller's own cards."""

    predictor: InstanceOf[Predictor] | None = None
    """Predicts quality; `None` for the bundled one."""

    prompt_flags: bool = False
    """Whether user messages may hold flags."""

    breaker: InstanceOf[CircuitBreaker] = Field(exclude=True, repr=False)
    """Remembers which models failed of late."""

    model_name: str = Field(default="tryage", alias="model")
    """What the router goes by; the models' own names stand in traces."""

    temperature: float | None = None
    max_tokens: int | None = None
    stop: list[str] | str | None = Field(default=None, alias="stop_sequences")
    streaming: bool | None = None
    model_kwargs: dict[str, Any] = Field(default_factory=dict, exclude=True, repr=False)
    """What else the constructor was given."""

    _setup: Setup = PrivateAttr()

    model_config = ConfigDict(
        arbitrary_types_allowed=True, populate_by_name=True, protected_namespaces=()
    )

    def __init__(
        self,
        models: Models = (),
        *,
        flags: Flags | str | dict[str, Any] | None = None,
        cards: Iterable[ModelCard | dict[str, Any]] = (),
        predictor: Predictor | None = None,
        prompt_flags: bool = False,
        breaker: CircuitBreaker | None = None,
        **kwargs: Any,
    ) -> None:
        names = {name for f, info in type(self).model_fields.items() for name in (f, info.alias)}
        extra = {key: value for key, value in kwargs.items() if key not in names}
        by_name = tuple(extra)
        extra |= kwargs.pop("model_kwargs", None) or {}
        fields = {key: value for key, value in kwargs.items() if key in names}
        parameters = {key: fields[key] for key in _SAMPLING if fields.get(key) is not None} | extra
        candidates = Candidates.of(models, parameters)
        warn_of_unused(candidates, by_name, (name for name in names if name))
        warn_of_uncounted(candidates)
        fields |= {
            "models": candidates.models,
            "flags": as_flags(flags),
            "cards": as_cards(cards),
            "predictor": predictor,
            "prompt_flags": prompt_flags,
            "breaker": breaker if breaker is not None else CircuitBreaker(),
            "model_kwargs": extra,
        }
        super().__init__(**fields)
        self.metadata = _with_version(self.metadata)
        library = candidates.library(self.cards)
        ready = {name: pushed_down(model, self) for name, model in self.models.items()}
        self._setup = Setup(
            router=Router(library, predictor, self.flags),
            models=ready,
            recipients={name: Recipient.of(name, model) for name, model in ready.items()},
            defaults=per_call_defaults(candidates, parameters),
            only={name: Flags(allow=frozenset({name})) for name in ready},
            output_limit=output_limit(parameters),
        )

    @property
    def router(self) -> Router:
        """What decides: ask it, to see a decision without making a call."""
        return self._setup.router

    @property
    def model(self) -> str:
        """The same as `model_name`."""
        return self.model_name

    def candidate(self, name: str) -> BaseChatModel:
        """Return the model of this name, as it is called: with the router's settings.

        Raises:
            UnknownModel: There is none.
        """
        try:
            return self._setup.models[name]
        except KeyError:
            raise UnknownModel(
                f"{name!r} is none of the models; they are: {', '.join(self._setup.models)}."
            ) from None

    def route_call(
        self,
        input: LanguageModelInput,
        config: RunnableConfig,
        kwargs: dict[str, Any],
        needs: frozenset[Any] = frozenset(),
    ) -> RoutedCall:
        """Return a call with what was decided for it; no model is called yet.

        Args:
            input: What the models are asked.
            config: The config of the call, complete.
            kwargs: The arguments of the call; changed here.
            needs: Capabilities without which the call fails, beside what input and arguments show.

        Raises:
            EmptyPrompt: The input holds neither text nor an attachment.
            NoEligibleModel: The limits exclude every model.
            UnknownFlag: The config or the prompt names a flag that does not exist.
        """
        setup = self._setup
        prompt = self._convert_input(input)
        forced = setup.only.get(kwargs["model"]) if "model" in kwargs else None
        if forced is not None:
            del kwargs["model"]
        if self.stop and "stop" not in kwargs:
            kwargs["stop"] = self._stops()
        messages, request = request_from(
            prompt.to_messages(),
            config,
            setup.router.library,
            prompt_flags=self.prompt_flags,
            needs=needs | needs_of(kwargs),
            only=forced,
            max_output_tokens=output_limit(kwargs) or setup.output_limit,
            tool_tokens=tokens_of_tools(kwargs, setup.tools),
        )
        if self.prompt_flags:
            input = prompt = ChatPromptValue(messages=messages)
        return RoutedCall(
            decision=setup.router.route(request),
            setup=setup,
            input=input,
            prompt=prompt,
            messages=messages,
            config=self._own_config(config),
            kwargs=kwargs,
        )

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return the router with tools for whichever model is picked.

        Each model binds them with its own `bind_tools`. Models that cannot call tools are left
        out.

        Args:
            tools: Tools, functions, classes or dictionaries.
            tool_choice: Which tool to call: a name, `"any"`, `"auto"` or `"none"`.
            **kwargs: More for the models' `bind_tools`, such as `strict` or
                `parallel_tool_calls`.
        """
        if tool_choice is not None:
            kwargs["tool_choice"] = tool_choice
        bound = BoundTools.of(tools, kwargs)
        router = self.model_copy()
        router._setup = replace(self._setup, tools=bound)
        return router.bind(tools=bound.formatted, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Return a runnable whose answers keep to a schema, from whichever model is picked.

        Each model does it with its own `with_structured_output`.

        Args:
            schema: A Pydantic class, a `TypedDict` or a JSON schema.
            include_raw: Return a dictionary of the message, the parsed value and the error.
            **kwargs: More for the models' `with_structured_output`, such as `method` or `strict`.
        """
        return RoutedStructuredOutput(self, schema, include_raw=include_raw, options=kwargs)

    def get_token_ids(self, text: str) -> list[int]:
        """Return the first model's token ids of a text."""
        return self._first().get_token_ids(text)

    def get_num_tokens(self, text: str) -> int:
        """Return how many tokens a text is for the first model that counts them; about, if none."""
        return count_with(
            self._setup.models.values(), lambda model: model.get_num_tokens(text), text
        )

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Return the tokens of a conversation for the first model that counts them; or about."""
        return count_with(
            self._setup.models.values(),
            lambda model: model.get_num_tokens_from_messages(messages, tools),
            "".join(message.text for message in messages),
        )

    def _stops(self) -> list[str] | None:
        return [self.stop] if isinstance(self.stop, str) else self.stop

    def _first(self) -> BaseChatModel:
        return next(iter(self._setup.models.values()))

    def _own_config(self, config: RunnableConfig) -> RunnableConfig:
        """Return the config with the constructor's callbacks, tags and metadata beneath it."""
        if self.metadata or self.tags or self.callbacks:
            config = cast(RunnableConfig, dict(config))
            config["metadata"] = {**(self.metadata or {}), **(config.get("metadata") or {})}
            config["tags"] = [*(self.tags or []), *(config.get("tags") or [])]
            config["callbacks"] = both_callbacks(self.callbacks, config.get("callbacks"))
        return config

    def _resolve_model_profile(self) -> ModelProfile | None:
        return common_profile(self.models.values())

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self._stops(), **kwargs)
        params["ls_provider"] = common_provider(self.models.values())
        return params

    @property
    def _llm_type(self) -> str:
        return "tryage-chat"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {
            "model_name": self.model_name,
            "models": list(self.models),
            "flags": self.flags.as_json(),
        }

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Return that it is: with its models' constructors, their secrets as references."""
        return True

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """What stands for flags, cards and per-call arguments where the router is serialised."""
        return {
            "flags": self.flags.as_json(),
            "cards": [card.as_json() for card in self.cards],
            **{key: value for key, value in self.model_kwargs.items() if key in PER_CALL},
        }

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        yield "models", list(self.models)
        yield "flags", self.flags


def _with_version(metadata: dict[str, Any] | None) -> dict[str, Any]:
    """Return metadata that also tells Tryage's version, where traces hold those of LangChain."""
    versions = (metadata or {}).get("lc_versions") or {}
    return {**(metadata or {}), "lc_versions": {**versions, "tryage": __version__}}
