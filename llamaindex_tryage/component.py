"""The router as a LlamaIndex component: its fields, and its copies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Self

from llama_index.core.callbacks import CallbackManager
from llama_index.core.llms import LLM, LLMMetadata
from llama_index.core.llms.function_calling import FunctionCallingLLM
from pydantic import (
    Field,
    PlainSerializer,
    PrivateAttr,
    SerializeAsAny,
    SkipValidation,
    field_serializer,
)

from llamaindex_tryage.candidates import Candidates, named
from llamaindex_tryage.metadata import label, metadata_of
from llamaindex_tryage.purposes import Purpose, split_flags
from llamaindex_tryage.serde import card_as_json, llm_from, predictor_as_json, redacted
from tryage import Flags, ModelCard, Predictor, UsageError, as_flags

_Wishes = Annotated[
    SkipValidation[Flags], PlainSerializer(Flags.as_json, return_type=dict[str, Any])
]
_ROUTING_FIELDS = frozenset({"llms", "names", "flags", "cards", "predictor"})
_OF_THE_LLMS = ("system_prompt", "output_parser", "query_wrapper_prompt")
_FORMATS_OF_THE_LLMS = ("messages_to_prompt", "completion_to_prompt")


class Component(FunctionCallingLLM):
    """What the router is made of, and what it says of itself; see `Tryage`."""

    llms: list[SerializeAsAny[LLM]] = Field(description="The LLMs to choose from.")
    names: list[str] = Field(description="What each of them is called in decisions.")
    flags: _Wishes = Field(default_factory=Flags, description="Wishes for every call.")
    purpose_flags: dict[Purpose, _Wishes] = Field(
        default_factory=dict, description="Wishes for calls of one purpose."
    )
    cards: list[SkipValidation[ModelCard]] = Field(
        default_factory=list, description="The caller's own model cards."
    )
    predictor: SkipValidation[Predictor] | None = Field(
        default=None, description="How well each would do; the bundled default if none."
    )
    prompt_flags: bool = Field(
        default=False, description="Whether to read `[Flag: ...]` marks in what users say."
    )
    _lent: dict[str, CallbackManager] = PrivateAttr(default_factory=dict)

    def __init__(
        self,
        llms: Sequence[LLM] | Mapping[str, LLM],
        flags: Flags | str | dict[str, Any] | None = None,
        cards: Sequence[ModelCard | dict[str, Any]] = (),
        predictor: Predictor | None = None,
        prompt_flags: bool = False,
        *,
        names: Sequence[str] | None = None,
        callback_manager: CallbackManager | None = None,
        rate_limiter: Any = None,
        **settings: Any,
    ) -> None:
        _check_settings(settings)
        if isinstance(llms, Mapping):
            names = list(llms)
        several = list(llms.values() if isinstance(llms, Mapping) else llms)
        every, by_purpose = split_flags(flags)
        super().__init__(
            llms=several,
            names=list(named(several, names)),
            flags=every,
            purpose_flags=by_purpose,
            cards=[card if isinstance(card, ModelCard) else ModelCard(**card) for card in cards],
            predictor=predictor,
            prompt_flags=prompt_flags,
            callback_manager=callback_manager or CallbackManager([]),
            rate_limiter=rate_limiter,
            **settings,
        )
        self._candidates  # noqa: B018  # what cannot be raises here, not on the first call

    @classmethod
    def class_name(cls) -> str:
        """Return the id under which LlamaIndex saves this class."""
        return "Tryage"

    @property
    def metadata(self) -> LLMMetadata:
        """The most that any of the LLMs can do; each one's own is read once, and may fail."""
        return self._own_metadata

    def to_payload(self) -> dict[str, Any]:
        """Return what observability may see of this router: no keys."""
        name = label(self.names)
        return {"class_name": self.class_name(), "model": name, **self.metadata.model_dump()}

    @cached_property
    def _candidates(self) -> Candidates:
        """The LLMs with all that deciding takes; made anew where fields have changed."""
        by_name = dict(zip(self.names, self.llms, strict=True))
        return Candidates(by_name, self.cards, self.predictor, self.flags)

    @cached_property
    def _own_metadata(self) -> LLMMetadata:
        return metadata_of(self._candidates)

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        yield "llms", self.names  # and not the LLMs, which show their keys
        yield "flags", self.flags
        if self.purpose_flags:
            yield "purpose_flags", self.purpose_flags

    # Copies. What is remembered (health, cards, metadata) is made anew from the public fields.

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OF_THE_LLMS and value is not None:
            raise _refusal(name)
        if name == "flags":
            value, self.purpose_flags = split_flags(value)
        elif name == "purpose_flags":
            value = {purpose: as_flags(given) for purpose, given in value.items()}
        elif name == "llms":
            names = list(value) if isinstance(value, Mapping) else None
            value = list(value.values() if isinstance(value, Mapping) else value)
            super().__setattr__("names", list(named(value, names)))
        super().__setattr__(name, value)
        if name in _ROUTING_FIELDS:
            self._forget()

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied._forget()
        copied._lent = {}
        return copied

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        shell = self.__copy__()  # without the privates, which hold locks
        return super(Component, shell).__deepcopy__(memo)

    def __getstate__(self) -> dict[str, Any]:
        # Nothing that decides is dropped if it cannot be pickled: that raises.
        own = type(self).model_fields.keys() - LLM.model_fields.keys() - {"purpose_flags"}
        state = {name: getattr(self, name) for name in (*own, "pydantic_program_mode")}
        return {"__dict__": {**state, "flags": {**self.flags.given(), **self.purpose_flags}}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state["__dict__"])  # type: ignore[misc]

    def _forget(self) -> None:
        vars(self).pop("_candidates", None)
        vars(self).pop("_own_metadata", None)

    @field_serializer("llms", mode="wrap")
    def _write_llms(self, llms: list[LLM], write: Callable[[Any], Any]) -> Any:
        return redacted(write(llms))

    @field_serializer("cards")
    def _write_cards(self, cards: list[ModelCard]) -> list[dict[str, Any]]:
        return [card_as_json(card) for card in cards]

    @field_serializer("predictor")
    def _write_predictor(self, predictor: Predictor | None) -> dict[str, Any] | None:
        return predictor_as_json(predictor)

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> Self:
        """Return the router that `to_dict` described.

        Args:
            data: What `to_dict` gave. Keys are not in it: they are looked for in the environment.
            kwargs: Values to put in place of those, such as `predictor=` or `llms=`.

        Raises:
            UsageError: It had a predictor of its own and none is given, or an LLM's class is not
                imported.
        """
        flags = {**data.get("flags", {}), **data.get("purpose_flags", {})}
        given = {**data, "flags": flags, **kwargs}
        if "llms" in kwargs and "names" not in kwargs:
            given.pop("names", None)  # they are those of other LLMs
        for name in ("class_name", "purpose_flags"):
            given.pop(name, None)
        if isinstance(given.get("predictor"), Mapping):
            raise UsageError(
                f"this router had the predictor {given['predictor'].get('name')!r}, which plain "
                "values do not hold; load it and give it: from_dict(data, predictor=...)."
            )
        if not isinstance(given["llms"], Mapping):
            given["llms"] = [llm_from(described) for described in given["llms"]]
        return cls(**given)


def _check_settings(settings: Mapping[str, Any]) -> None:
    """Raise for fields that the LLM class has and the router cannot honour, and for others."""
    known = LLM.model_fields.keys()
    for name, value in settings.items():
        if name not in known:
            raise UsageError(
                f"Tryage takes no {name!r}; settings of a model belong to the LLM in llms."
            )
        if value is not None and name in (*_OF_THE_LLMS, *_FORMATS_OF_THE_LLMS):
            raise _refusal(name)


def _refusal(name: str) -> UsageError:
    return UsageError(
        f"{name} is set on the router, where no LLM would see it; set it on each of the llms."
    )
