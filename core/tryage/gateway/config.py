"""From the file of `tryage serve --config FILE` to settings, cards and keys."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tryage.cards import ModelCard
from tryage.errors import UsageError, nearest
from tryage.gateway.settings import Settings, UpstreamSettings
from tryage.library import Library

EXAMPLE = Path(__file__).with_name("example.toml")
"""A config file with a comment for each key, to begin from."""


def read_settings(file: Path) -> Settings:
    """Return the settings of a config file.

    Raises:
        UsageError: The file cannot be read, or a value in it is at fault; names the place.
    """
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read the config file {str(file)!r}: {error}. "
            "`tryage serve --example` prints one to begin from."
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file}: not valid TOML: {error}.") from None
    try:
        settings = Settings.model_validate(document)
    except ValidationError as error:
        raise UsageError(f"{file}: {_first_fault(error)}") from None
    return settings.model_copy(
        update={"routing": settings.routing.beside(file), "record": settings.record.beside(file)}
    )


def library_of(settings: Settings) -> Library:
    """Return the upstreams' cards, in their order.

    A card is that of the upstream's name, or else of the model behind it, in the file of
    `[routing] library`, or else in the bundled library; `[upstreams.card]` overrides its fields.

    Raises:
        InvalidCard: A card is at fault.
        DuplicateModel: Two upstreams share a name.
        UsageError: The library file cannot be read.
    """
    file = settings.routing.library
    libraries = [Library.bundled()] if file is None else [Library.read(file), Library.bundled()]
    taken = {upstream.name.lower() for upstream in settings.upstreams}
    cards = []
    for upstream in settings.upstreams:
        known = (upstream.name, upstream.served_as)
        found = [lib.find(name) for lib in libraries for name in known if name in lib]
        base = found[0] if found else ModelCard(name=upstream.name)
        # Aliases go, but for the card's own name: two upstreams may serve one model.
        aliases = () if base.name.lower() in taken else (base.name,)
        taken.update(name.lower() for name in aliases)
        own: dict[str, Any] = {"aliases": aliases, **upstream.card, "name": upstream.name}
        cards.append(replace(base, **_known_fields(upstream.name, own)))
    return Library(cards)


def keys_of(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the key of each upstream that needs one, by the upstream's name.

    Raises:
        UsageError: A variable is not set, or what it holds cannot stand in a header.
    """
    keys = {}
    for upstream in settings.upstreams:
        if upstream.key_env is None:
            continue
        key = environment.get(upstream.key_env, "").strip()
        if not key:
            raise UsageError(
                f"the upstream {upstream.name!r} takes its key from {upstream.key_env}, which is "
                f"not set; set it, or leave key_env out where no key is needed."
            )
        if not (key.isascii() and key.isprintable()):
            raise UsageError(f"{upstream.key_env} holds characters that no key has; set it again.")
        keys[upstream.name] = key
    return keys


def _known_fields(name: str, facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts; `ModelCard` tells better of an unknown one than `replace` would."""
    if facts.keys() - ModelCard.__dataclass_fields__.keys():
        ModelCard(**facts)
    return facts


def _first_fault(error: ValidationError) -> str:
    """Return the first fault in one line: the place, what was given, what is allowed."""
    fault = error.errors(include_url=False)[0]
    place = "".join(f"[{p + 1}]" if isinstance(p, int) else f".{p}" for p in fault["loc"])[1:]
    message = fault["msg"].removeprefix("Value error, ")
    message = f"{message[0].lower()}{message[1:].removesuffix('.')}."
    if fault["type"] == "extra_forbidden":
        known = _fields_at(fault["loc"][:-1])
        hint = nearest(str(fault["loc"][-1]), known)
        return f"unknown key {place}.{hint} Known: {', '.join(known)}."
    if fault["type"] == "missing":
        return f"{place} is missing; `tryage serve --example` shows how it is written."
    if not place:
        return message
    return f"{place} = {fault['input']!r}: {message}"


def _fields_at(place: tuple[int | str, ...]) -> list[str]:
    """Return the keys that are known at a place of the file."""
    part: Any = Settings
    for step in place:
        if step == "upstreams":
            part = UpstreamSettings
        elif isinstance(step, str):
            part = part.model_fields[step].annotation
    return list(part.model_fields)
