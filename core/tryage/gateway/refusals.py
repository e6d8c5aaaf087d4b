"""Errors in the form that OpenAI's API gives them, so that its clients raise the right class."""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import Mapping
from typing import Any

import orjson

from tryage.errors import TryageError

_log = logging.getLogger("tryage.gateway")


class Refused(TryageError):
    """A request that the gateway answers with an error of its own.

    Attributes:
        status: The HTTP status.
        message: For people: what was given, what is allowed, what to do next.
        code: For programs, such as `model_not_found`.
        param: The field of the request that is at fault, if one is.
        retry_after_s: Seconds after which to ask again, where that helps.

    Example:
        >>> Refused(401, "invalid_api_key", "no key was given.").as_json()["error"]["type"]
        'authentication_error'
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s

    def as_json(self) -> dict[str, Any]:
        """Return the body of the response."""
        return error_json(self.status, self.code, self.message, self.param)

    def body(self) -> bytes:
        """Return the body of the response as JSON text."""
        return orjson.dumps(self.as_json())

    def headers(self) -> dict[str, str]:
        """Return the headers of the response, beside those of every response."""
        return {} if self.retry_after_s is None else {"retry-after": whole_seconds(self)}


def bug(error: Exception) -> Refused:
    """Return what a client is told of an error that is our own fault, and log where it came from.

    The log does not hold its message, which may quote a prompt.
    """
    frames = "".join(traceback.format_tb(error.__traceback__))
    _log.error("%s in a request: this is a bug\n%s", type(error).__name__, frames)
    return Refused(500, "internal_error", "the gateway failed; its log says where.")


_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def error_json(status: int, code: str, message: str, param: str | None = None) -> dict[str, Any]:
    """Return an error in OpenAI's form."""
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def whole_seconds(refused: Refused) -> str:
    """Return the seconds of `Retry-After`, which are whole and at least 1."""
    return str(max(1, math.ceil(refused.retry_after_s or 0)))
