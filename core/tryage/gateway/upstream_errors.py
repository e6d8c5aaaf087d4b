"""How an upstream can fail: an error for all that is no answer.

    UpstreamFailed                      it gave no answer
    ├── ErrorTold                       it told an error of its own
    │   ├── ErrorStatus                 as an HTTP status
    │   └── ErrorInStream               in a stream
    ├── Malformed                       what it sent is no answer
    ├── EmptyStream                     it ended a stream without any content
    └── CutStream                       it ended a stream in the middle
    ConnectionError
    ├── Unreachable                     there was no way to it
    └── ConnectionBroke                 the way to it broke off
    TimeoutError
    ├── ConnectTimeout                  it did not take the connection in time
    ├── FirstTokenTimeout               it showed nothing in time
    ├── Stalled                         it stopped in the middle of a stream
    └── WholeTimeout                    it did not come to the end in time
    NoRoom                              it was not asked: it is at its own limit

`tryage.failures` judges them, by their statuses and base classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tryage.gateway import jsons

Headers = Mapping[str, str]

_TOO_LONG = {"context_length_exceeded", "exceed_context_size_error"}
"""How servers name a prompt that is too long, as a code or as a type."""


_ABOUT_THE_PROMPT = ("context_length_exceeded", "content_filter")

JSON = {"content-type": "application/json"}


class UpstreamFailed(Exception):
    """An upstream gave no answer.

    Attributes:
        status_code: What it stands for as an HTTP status; `tryage.failures` judges by it.
        code: The error's code, if the upstream gave one.
        status: The HTTP status that came, if one did.
    """

    def __init__(self, message: str, status: int | None = None, code: object = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    status_code = 502


class ErrorTold(UpstreamFailed):
    """It answered with an error of its own.

    Attributes:
        response: The response that tells it, fit to be handed to a client.
    """

    def __init__(self, message: str, status: int, response: Response) -> None:
        super().__init__(message, status, _code_in(response.body))
        self.status_code = response.status if response.status >= 400 else 502
        self.response = response


class ErrorStatus(ErrorTold):
    """It told an error as an HTTP status."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"HTTP {response.status}", response.status, response)


class ErrorInStream(ErrorTold):
    """It began a stream, and told an error in it."""

    def __init__(self, error: object) -> None:
        given = error.get("code") if isinstance(error, dict) else None
        status = given if isinstance(given, int) and 400 <= given < 600 else 502
        if code_of(error) in _ABOUT_THE_PROMPT:
            status = 400
        told = Response(status, JSON, jsons.dumps({"error": error}), {})
        super().__init__("an error in the stream", 200, told)


class Malformed(UpstreamFailed):
    """It answered with something that is no answer."""


class EmptyStream(UpstreamFailed):
    """It ended a stream without any content."""


class CutStream(UpstreamFailed):
    """It ended a stream in the middle."""


class Unreachable(ConnectionError):
    """There was no way to it."""


class ConnectionBroke(ConnectionError):
    """The way to it broke off."""


class ConnectTimeout(TimeoutError):
    """It did not take the connection in time."""


class FirstTokenTimeout(TimeoutError):
    """It showed nothing in time."""


class Stalled(TimeoutError):
    """It stopped in the middle of a stream."""


class WholeTimeout(TimeoutError):
    """It did not come to the end in time."""


class NoRoom(Exception):
    """It was not asked: one more call would be beyond its own limits.

    Attributes:
        retry_after_s: Seconds until there is room.
    """

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("at its limit")
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Response:
    """What came back: `value` is the JSON object of an answer."""

    status: int
    headers: Headers
    body: bytes
    value: Mapping[str, Any]


def _code_in(body: bytes) -> object:
    """Return the code in the body of an error, if there is one."""
    try:
        value = jsons.loads(body)
    except ValueError:
        return None
    return code_of(value.get("error")) if isinstance(value, dict) else None


def code_of(error: object) -> object:
    """Return the code of an error in OpenAI's form, under one name where servers have several."""
    if not isinstance(error, dict):
        return None
    names = {name for name in (error.get("code"), error.get("type")) if isinstance(name, str)}
    return "context_length_exceeded" if names & _TOO_LONG else error.get("code")
