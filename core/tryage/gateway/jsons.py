"""JSON as others send it: quickly where it is strict, and by Python's reader where it is not."""

from __future__ import annotations

import json
from typing import Any

import orjson


def loads(raw: bytes) -> Any:
    """Return the value of a JSON text.

    What orjson refuses and clients accept is read too: NaN, infinities, half of a surrogate pair.

    Raises:
        ValueError: It is no JSON, or nested too deeply.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        try:
            return json.loads(raw)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None


def dumps(value: Any) -> bytes:
    """Return a value that `loads` gave as JSON text."""
    try:
        return orjson.dumps(value)
    except TypeError:  # a whole number beyond 64 bits, or half of a surrogate pair
        return json.dumps(value).encode()
