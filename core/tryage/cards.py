"""What is known of one model."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import field, fields
from datetime import date
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from tryage.errors import InvalidCard, nearest

Capability = Literal["tools", "vision", "audio", "files", "json_schema", "reasoning"]
"""What a model can take or do beyond text in, text out."""

Security = Literal["public", "hosted", "private", "local"]
"""The most private place a model can be had, from least to most private.

`public`: an open endpoint that may keep or train on prompts. `hosted`: a vendor's API under its
terms. `private`: your own account or tenancy in a cloud. `local`: machines that you run.
"""

CAPABILITIES: tuple[Capability, ...] = get_args(Capability)
SECURITY_LEVELS: tuple[Security, ...] = get_args(Security)

T = TypeVar("T")

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Benchmarks = Annotated[Mapping[str, Fraction], AfterValidator(dict)]


def _raise_invalid_card(cls: type[T]) -> type[T]:
    """Make the constructor of `cls` raise our error, in one line, instead of pydantic's."""
    validate: Callable[..., None] = cls.__init__

    @functools.wraps(validate)
    def checked(self: T, *args: Any, **facts: Any) -> None:
        try:
            validate(self, *args, **facts)
        except ValidationError as error:
            raise InvalidCard(_explain(error, facts)) from None

    cls.__init__ = checked  # type: ignore[assignment]
    return cls


def _explain(error: ValidationError, facts: Mapping[str, Any]) -> str:
    """Return the first fault of a card in one line: the key, what was given, what is allowed."""
    fault = error.errors(include_url=False)[0]
    key = str(fault["loc"][0]) if fault["loc"] else "card"
    card = f"model card {facts.get('name', '(no name)')!r}"
    if fault["type"] == "unexpected_keyword_argument":
        known = [f.name for f in fields(ModelCard)]
        return f"{card}: unknown key {key!r}.{nearest(key, known)} Known keys: {', '.join(known)}."
    if fault["type"] == "missing":
        return f"{card}: the key {key!r} is required."
    where = ".".join(str(part) for part in fault["loc"])
    return f"{card}: {where} = {fault['input']!r}: {fault['msg'][0].lower()}{fault['msg'][1:]}."


@_raise_invalid_card
@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ModelCard:
    """One model's facts, checked when made; a fact that nobody knows is `None`.

    Absence is never read as zero: a model counts as the worst of its rivals on a wish that its
    card is silent about, and does not meet a limit that its card cannot prove (see
    `tryage.objective`).

    Attributes:
        name: What the model is called in the library and in decisions; unique there.
        provider: Who serves it, as LangChain's `init_chat_model` spells it where it has a name.
        aliases: Other names for the same model: dated snapshots, hub names, table spellings.
        parameters: Weights in all, as a count (7e9, not 7).
        active_parameters: Weights used for one token, as a count; smaller for mixtures.
        released: The day of its public release.
        context_tokens: Tokens of prompt and answer together that it takes.
        max_output_tokens: Longest answer in tokens.
        input_usd_per_mtok: USD per million prompt tokens.
        output_usd_per_mtok: USD per million answer tokens.
        cached_input_usd_per_mtok: USD per million prompt tokens read from the provider's cache.
        capabilities: What it can take or do, a subset of `CAPABILITIES`; `None` if not known.
        lacks: What it cannot, where the list of capabilities is not the whole of it; `None` if
            it is, so that it lacks all that is not listed.
        open_weights: Whether the weights can be downloaded.
        security: The most private place it can be had, one of `SECURITY_LEVELS`.
        first_token_s: Seconds until the first token of an answer, measured.
        output_tokens_per_s: Tokens a second after that, measured.
        verbosity: Length of its answers relative to the ordinary model's, 1.0.
        readability: How easy its answers are to read, in [0, 1], 1 the easiest.
        benchmarks: Published accuracies in [0, 1] by benchmark (`mmlu`, `gpqa_diamond`, ...).

    Raises:
        InvalidCard: A value is out of range or of the wrong type.

    Example:
        >>> card = ModelCard(name="tiny", parameters=1e9, benchmarks={"mmlu": 0.49})
        >>> card.input_usd_per_mtok is None
        True
    """

    name: Annotated[str, Field(min_length=1)]
    provider: str | None = None
    aliases: tuple[str, ...] = ()
    parameters: Positive | None = None
    active_parameters: Positive | None = None
    released: date | None = None
    context_tokens: Annotated[int, Field(gt=0)] | None = None
    max_output_tokens: Annotated[int, Field(gt=0)] | None = None
    input_usd_per_mtok: NonNegative | None = None
    output_usd_per_mtok: NonNegative | None = None
    cached_input_usd_per_mtok: NonNegative | None = None
    capabilities: frozenset[Capability] | None = None
    lacks: frozenset[Capability] | None = None
    open_weights: bool | None = None
    security: Security | None = None
    first_token_s: NonNegative | None = None
    output_tokens_per_s: Positive | None = None
    verbosity: Positive | None = None
    readability: Fraction | None = None
    benchmarks: Benchmarks = field(default_factory=dict, hash=False)

    def has(self, capability: Capability) -> bool | None:
        """Return whether the model has a capability; `None` where the card does not say.

        Example:
            >>> card = ModelCard(name="m", capabilities={"tools"})
            >>> card.has("tools"), card.has("vision"), ModelCard(name="n").has("vision")
            (True, False, None)
        """
        if self.capabilities is not None and capability in self.capabilities:
            return True
        if self.lacks is None:
            return None if self.capabilities is None else False
        return False if capability in self.lacks else None

    def as_json(self) -> dict[str, Any]:
        """Return the facts that are known as plain JSON values; `ModelCard(**facts)` reads them.

        Example:
            >>> ModelCard(name="m", released="2024-05-13").as_json()
            {'name': 'm', 'released': '2024-05-13'}
        """
        known = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: _plain(value) for name, value in known.items() if value not in (None, (), {})}


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, dict) else value
