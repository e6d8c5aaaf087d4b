"""What a client asks for: a model's name, headers and a body, read once."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tryage.errors import (
    EmptyPrompt,
    InvalidFlag,
    NoEligibleModel,
    TryageError,
    UnknownFlag,
    UnknownModel,
    nearest,
)
from tryage.flags import Flags, as_flags
from tryage.gateway import jsons
from tryage.gateway.refusals import Refused
from tryage.gateway.wire import request_from, without_flags
from tryage.library import Library
from tryage.request import Request

ROUTER = "tryage"
PRESETS = ("cheap", "cheapest", "fast", "fastest", "small", "smallest", "recent", "secure",
           "concise", "readable")  # fmt: skip
"""Wishes that `/v1/models` lists as `tryage:WISH`; every other text of flags works as well."""

FLAGS_HEADER, PREVIOUS_HEADER = "x-tryage-flags", "x-tryage-previous"
_OBJECT_KEYS = ("flags", "report", "previous")
_MODEL = re.compile(rb'("model"\s*:\s*)"[^"\\]*"')
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for an answer.

    Attributes:
        model: What the client named, such as `tryage:cheapest`.
        upstream: The upstream that this names; `None` where the router decides.
        request: What the router looks at.
        stream: Whether the client wants a stream.
        report: Whether it wants to be told in the body how it was routed.
        raw: The body's bytes.
        body: What they say.
        is_changed: Whether `body` is no longer what `raw` says.
    """

    model: str
    upstream: str | None
    request: Request
    stream: bool
    report: bool
    raw: bytes
    body: dict[str, Any]
    is_changed: bool

    def body_for(self, served_as: str) -> bytes:
        """Return the body for an upstream that knows its model by this name.

        The client's own bytes but for that name, wherever it can be found in them for sure; else
        they are written anew, and whole numbers beyond 64 bits become floating-point ones.
        """
        name = jsons.dumps(served_as)
        if not self.is_changed and rb"\u00" not in self.raw:  # no letter is written as an escape
            # Inside of a string a quote is escaped, so that what is found is a key.
            found = _MODEL.findall(self.raw)
            if len(found) == 1:
                return _MODEL.sub(lambda match: match[1] + name, self.raw)
        return jsons.dumps({**self.body, "model": served_as})


def read(
    raw: bytes, headers: Mapping[str, str], library: Library, *, prompt_flags: bool = False
) -> Asked:
    """Return what a request asks for.

    Args:
        raw: Its body.
        headers: Its headers, by their names in lower case.
        library: The upstreams' cards.
        prompt_flags: Whether to read flags from the prompt, and take them out.

    Raises:
        Refused: The request is at fault.
    """
    body = parsed(raw)
    model = body.get("model", ROUTER)
    if not isinstance(model, str) or not model:
        raise Refused(400, "invalid_value", "model: give a model's name as a text.", param="model")
    options = _options(body)
    try:
        upstream, flags = named(model, library)
        for param, wishes in ((FLAGS_HEADER, headers.get(FLAGS_HEADER)),
                              ("tryage.flags", options.get("flags"))):  # fmt: skip
            if wishes is not None:
                flags = flags.merged(_flags(wishes, param))
        previous = headers.get(PREVIOUS_HEADER) or options.get("previous")
        request = request_from(body, flags=flags, previous=previous, prompt_flags=prompt_flags)
    except TryageError as error:
        raise refusal_of(error) from None
    is_changed = "tryage" in body or prompt_flags
    if is_changed:
        body = {key: value for key, value in body.items() if key != "tryage"}
        body = without_flags(body) if prompt_flags else body
    return Asked(
        model=model[:_LONGEST_NAME],
        upstream=upstream,
        request=request,
        stream=body.get("stream") is True,
        report=bool(options.get("report")),
        raw=raw,
        body=body,
        is_changed=is_changed,
    )


def parsed(raw: bytes) -> dict[str, Any]:
    """Return the JSON object of a body.

    Raises:
        Refused: It is none.
    """
    try:
        body = jsons.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refused(400, "invalid_json", "the body is no JSON object; send one in UTF-8.")
    return body


def refusal_of(error: TryageError) -> Refused:
    """Return an error of the core as what the client is told."""
    if isinstance(error, Refused):
        return error
    for kind, code, param in (
        (UnknownFlag, "unknown_flag", "tryage.flags"),
        (InvalidFlag, "invalid_flag", "tryage.flags"),
        (UnknownModel, "unknown_model", "tryage.flags"),
        (EmptyPrompt, "empty_prompt", "messages"),
        (NoEligibleModel, "no_eligible_model", None),
    ):
        if isinstance(error, kind):
            return Refused(400, code, str(error), param=param)
    return Refused(400, "invalid_request", str(error))


def named(model: str, library: Library) -> tuple[str | None, Flags]:
    """Return the upstream that a model's name means, and the flags in it.

    Args:
        model: An upstream's name, or `tryage`, or `tryage:` and a text of flags.
        library: The upstreams' cards.

    Returns:
        The card's name, or `None` where the router decides.

    Raises:
        Refused: It means neither.
    """
    router, _, wishes = model.partition(":")
    if router == ROUTER:
        return None, _flags(wishes, "model")
    if model in library:
        return library.find(model).name, Flags()
    known = (ROUTER, *library.names)
    raise Refused(
        404,
        "model_not_found",
        f"the model {model[:_LONGEST_NAME]!r} does not exist.{nearest(model, known)} "
        f"There are: {', '.join(known[:20])}; GET /v1/models lists them all.",
        param="model",
    )


def _options(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `tryage` object of a body, checked."""
    options = body.get("tryage", {})
    if not isinstance(options, dict):
        advice = f"give an object with {', '.join(_OBJECT_KEYS)}"
        raise Refused(400, "invalid_value", f"tryage: {advice}.", param="tryage")
    for key, value in options.items():
        param = f"tryage.{key[:_LONGEST_NAME]}"
        if key not in _OBJECT_KEYS:
            hint = f"{nearest(key, _OBJECT_KEYS)} Known: {', '.join(_OBJECT_KEYS)}."
            raise Refused(400, "unknown_parameter", f"{param} is unknown.{hint}", param=param)
        if key == "report" and not isinstance(value, bool):
            raise Refused(400, "invalid_value", f"{param}: give true or false.", param=param)
        if key == "previous" and not isinstance(value, str | None):
            raise Refused(400, "invalid_value", f"{param}: give a model's name.", param=param)
    return options


def _flags(wishes: object, param: str) -> Flags:
    try:
        if isinstance(wishes, str):
            return _parsed(wishes)
        if isinstance(wishes, dict):
            for value in wishes.values():
                isinstance(value, int) and float(value)
            return as_flags(wishes)
    except (UnknownFlag, InvalidFlag) as error:
        code = "unknown_flag" if isinstance(error, UnknownFlag) else "invalid_flag"
        raise Refused(400, code, str(error), param=param) from None
    except (TypeError, OverflowError):  # a list inside of a set, a number beyond all floats
        pass
    advice = "give a text such as 'cost=0.3; tools', or an object such as {\"cost\": 0.3}"
    raise Refused(400, "invalid_flag", f"{param}: {advice}.", param=param)


_parsed = functools.lru_cache(maxsize=1024)(Flags.parse)
