"""LlamaIndex's spans around the router's entry points: spared while nobody listens.

LlamaIndex puts a span around every entry point of an LLM, also where no handler would hear of it:
about as much work as all the rest that the router does beside deciding. An application that
traces sees the spans as ever. The span around the call tells which step of LlamaIndex makes it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar

from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.dispatcher import DISPATCHER_SPAN_DECORATED_ATTR, Dispatcher
from llama_index_instrumentation.event_handlers import NullEventHandler
from llama_index_instrumentation.span import active_span_id
from llama_index_instrumentation.span_handlers import NullSpanHandler

C = TypeVar("C", bound=type[Any])

dispatcher = get_dispatcher(__name__)

_caller: ContextVar[str | None] = ContextVar("tryage_caller", default=None)
_UUID = len("-00000000-0000-0000-0000-000000000000")


def heard(by: Dispatcher = dispatcher) -> bool:
    """Return whether any handler hears what a dispatcher sends."""
    while True:
        if any(type(handler) is not NullSpanHandler for handler in by.span_handlers):
            return True
        if any(type(handler) is not NullEventHandler for handler in by.event_handlers):
            return True
        if not by.propagate:
            return False
        by = by.parent


def calling_step() -> str:
    """Return the innermost step of LlamaIndex around the router's call, as `Class.method`.

    Blank where there is none.
    """
    return (_caller.get() or "")[:-_UUID]


def spared(cls: C) -> C:
    """Return the class with its spans left out of calls that nobody traces.

    Each call notes the span around it, since its own would hide that.
    """
    for name, method in list(vars(cls).items()):
        if hasattr(method, DISPATCHER_SPAN_DECORATED_ATTR) and hasattr(method, "__wrapped__"):
            setattr(cls, name, _spared(method))
    return cls


def _spared(traced: Any) -> Callable[..., Any]:
    bare = traced.__wrapped__

    if inspect.iscoroutinefunction(bare):

        @functools.wraps(bare)
        async def acall(self: object, *args: Any, **kwargs: Any) -> Any:
            token = _caller.set(active_span_id.get())
            try:
                method = traced if heard() else bare
                return await method.__get__(self)(*args, **kwargs)
            finally:
                _caller.reset(token)

        return acall

    @functools.wraps(bare)
    def call(self: object, *args: Any, **kwargs: Any) -> Any:
        token = _caller.set(active_span_id.get())
        try:
            method = traced if heard() else bare
            return method.__get__(self)(*args, **kwargs)
        finally:
            _caller.reset(token)

    return call
