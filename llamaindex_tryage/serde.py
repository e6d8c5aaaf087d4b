"""What a router is as plain values, and back: without keys, the same every time."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass
from datetime import date
from typing import Any

import numpy as np
from llama_index.core.llms import LLM

from tryage import ModelCard, Predictor, UsageError

_SECRET = re.compile(
    r"(^|_)(api_?key|key|secret|password|passwd|token|credentials?|authorization|headers)$",
    re.IGNORECASE,
)


def redacted(value: Any) -> Any:
    """Return plain values without the entries whose names say that they hold a secret.

    They are left out rather than blanked, so that a copy made from the rest looks for its key
    where a new LLM would, in the environment.

    Example:
        >>> redacted({"model": "m", "api_key": "sk-1", "more": [{"x-api-key": "2", "top_k": 3}]})
        {'model': 'm', 'more': [{'top_k': 3}]}
    """
    if isinstance(value, Mapping):
        return {k: redacted(v) for k, v in value.items() if not _is_secret(str(k))}
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    return value


def _is_secret(name: str) -> bool:
    spelled = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.replace("-", "_"))
    return _SECRET.search(spelled) is not None


def card_as_json(card: ModelCard) -> dict[str, Any]:
    """Return what a card says as plain JSON values, in the order of its fields."""
    said = {field.name: getattr(card, field.name) for field in fields(card)}
    return {name: _plain(value) for name, value in said.items() if value not in (None, (), {})}


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return list(value)
    return value.isoformat() if isinstance(value, date) else value


def predictor_as_json(predictor: Predictor | None) -> dict[str, Any] | None:
    """Return what tells one predictor from another: name, parameters, a sum of what it learned."""
    if predictor is None:
        return None
    parameters = asdict(predictor) if is_dataclass(predictor) else {}
    learned = 0
    for name, value in sorted(vars(predictor).items()):
        if name.endswith("_"):
            data = value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
            learned = zlib.crc32(data, zlib.crc32(name.encode(), learned))
    return {
        "name": predictor.name,
        "parameters": {name: _described(value) for name, value in parameters.items()},
        "learned_crc32": learned,
    }


def _described(value: Any) -> Any:
    """Return plain values as they are, and of anything else only what stays from run to run."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return getattr(value, "__qualname__", type(value).__qualname__)


def llm_from(data: LLM | Mapping[str, Any]) -> LLM:
    """Return the LLM that `to_dict` described; LLMs pass through.

    Its class is found by name among the LLM classes that are imported.

    Raises:
        UsageError: No imported class has that name.
    """
    if isinstance(data, LLM):
        return data
    name = data.get("class_name")
    cls = next((c for c in _subclasses(LLM) if _class_name(c) == name), None)
    if cls is None:
        raise UsageError(
            f"no LLM class that is imported is called {name!r}; "
            "import the one that this was saved from, then load again."
        )
    llm: LLM = cls.from_dict(dict(data))
    return llm


def _subclasses(cls: type[Any]) -> Iterator[type[Any]]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def _class_name(cls: type[Any]) -> object:
    return None if getattr(cls, "__abstractmethods__", None) else cls.class_name()
