"""Flags for a block of code: `with tryage.flags(cost=0.3): ...`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from tryage.errors import InvalidFlag
from tryage.flags import Flags, as_flags

_current: ContextVar[Flags | None] = ContextVar("tryage_flags", default=None)


@contextlib.contextmanager
def flags(wishes: Flags | str | None = None, /, **values: Any) -> Iterator[Flags]:
    """Set flags for every call inside a `with` block, also across `await`.

    Args:
        wishes: Flags, or their text form; or give single flags by keyword instead.
        values: Fields of `Flags`.

    Raises:
        InvalidFlag: A value is out of range, or both forms were given.
        UnknownFlag: The text holds no such flag.

    Example:
        >>> with flags(cost=0.3):
        ...     current_flags()
        Flags(cost=0.3)
    """
    if wishes is not None and values:
        raise InvalidFlag("give flags(Flags or text) or flags(name=value, ...), not both.")
    set_here = as_flags(wishes) if wishes is not None else as_flags(values)
    outer = _current.get()
    token = _current.set(outer.merged(set_here) if outer else set_here)
    try:
        yield set_here
    finally:
        _current.reset(token)


def current_flags() -> Flags | None:
    """Return the flags set by the `with flags(...)` blocks around this call, if any."""
    return _current.get()
