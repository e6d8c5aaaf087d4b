"""What an error from a model means for the call: try another, or give it back?

Providers share no class of errors, so this reads what they do share: an HTTP status, an
`is_retryable` mark, and the names of the few base classes that stand for a lost connection.
Messages are never searched for words.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from typing import Any


class Verdict(Enum):
    """Whose fault an error is."""

    MODEL = "model"
    """The model or the way to it: rest it and try the next."""

    FIT = "fit"
    """This model is not up to this call, as with too long a context, or an answer that keeps to no
    schema: try the next, rest nobody."""

    CALL = "call"
    """The call itself: every model would refuse it, so give the error back."""


_MODEL_STATUS = {401, 402, 403, 404, 408, 409, 425, 429}
_CONNECTION_ERRORS = {
    "APIConnectionError",  # openai, anthropic, groq and the other generated clients
    "TransportError",  # httpx: every failure below HTTP
    "ClientConnectionError",  # aiohttp
    "ConnectTimeoutError",  # botocore
    "EndpointConnectionError",
    "ReadTimeoutError",
}
_NOT_UP_TO_IT = {
    "ContextOverflowError",  # langchain-core
    "ContextWindowExceededError",  # litellm
    "OutputParserException",  # langchain-core, llama-index: the answer is not of the structure
    "NoRoom",  # tryage.gateway: at the limit that its settings give it
}


def judge(error: BaseException) -> Verdict:
    """Return what an error from a model means for the call.

    Example:
        >>> judge(TimeoutError())
        <Verdict.MODEL: 'model'>
        >>> judge(ValueError("no such tool"))
        <Verdict.CALL: 'call'>
    """
    classes = {cls.__name__ for cls in type(error).__mro__}
    if classes & _NOT_UP_TO_IT or _code(error) == "context_length_exceeded":
        return Verdict.FIT
    status = _status(error)
    if status is not None:
        faulty = status in _MODEL_STATUS or status >= 500
        return Verdict.MODEL if faulty else Verdict.CALL
    retryable = getattr(error, "is_retryable", None)
    if isinstance(retryable, bool):
        return Verdict.MODEL if retryable else Verdict.CALL
    if isinstance(error, ConnectionError | TimeoutError) or classes & _CONNECTION_ERRORS:
        return Verdict.MODEL
    return Verdict.CALL


def retry_after_s(error: BaseException) -> float | None:
    """Return the seconds that the provider asked to wait, if the error carries them.

    The header holds seconds or a date (RFC 9110, 10.2.3); a date that has passed is 0 seconds.
    """
    response = getattr(error, "response", None)
    get: Callable[[str], Any] | None = getattr(getattr(response, "headers", None), "get", None)
    given = get("retry-after") if get is not None else None
    if not given:
        return None
    try:
        seconds = float(given)
    except (TypeError, ValueError):
        return _seconds_until(str(given))
    return seconds if 0 <= seconds < math.inf else None


def _seconds_until(date: str) -> float | None:
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime  # slow to load, and seldom needed

    try:
        when = parsedate_to_datetime(date)
    except ValueError:
        return None
    if when.tzinfo is None:  # the zone "-0000": UTC of unknown origin
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that an error carries under any of the usual names."""
    response = getattr(error, "response", None)
    candidates = [getattr(error, name, None) for name in ("status_code", "http_status", "code")]
    candidates.append(getattr(response, "status_code", None))
    if isinstance(response, dict):  # botocore
        candidates.append(response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
    for value in candidates:
        if isinstance(value, int) and 400 <= value < 600:
            return int(value)
    return None


def _code(error: BaseException) -> object:
    return getattr(error, "code", None)
