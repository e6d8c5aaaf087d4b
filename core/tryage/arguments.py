"""What the arguments of a call ask of a model, under the names that providers' clients share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tryage.cards import Capability

_OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "num_predict")
_FREE_FORMS = ("text", "json_object")
"""Response formats that keep to no schema."""

_NOTHING: Final[frozenset[Capability]] = frozenset()
_TOOLS: Final[frozenset[Capability]] = frozenset({"tools"})
_SCHEMA: Final[frozenset[Capability]] = frozenset({"json_schema"})


def needs_of(arguments: Mapping[str, Any]) -> frozenset[Capability]:
    """Return the capabilities without which a call fails: tools, or keeping to a JSON schema.

    Args:
        arguments: Of the call, by name: `tools` and `response_format` among them.

    Example:
        >>> needs_of({"response_format": {"type": "json_schema", "json_schema": {}}})
        frozenset({'json_schema'})
        >>> needs_of({"response_format": {"type": "json_object"}})
        frozenset()
    """
    if not arguments:
        return _NOTHING
    needs = _TOOLS if arguments.get("tools") else _NOTHING
    form = arguments.get("response_format")
    if form is None or (isinstance(form, Mapping) and form.get("type") in _FREE_FORMS):
        return needs
    return needs | _SCHEMA


def output_limit(arguments: Mapping[str, Any]) -> int | None:
    """Return the most tokens that the answer may have, where the call says it.

    Example:
        >>> output_limit({"max_completion_tokens": 100})
        100
    """
    if not arguments:
        return None
    limits = (arguments[name] for name in _OUTPUT_LIMITS if arguments.get(name))
    return next((limit for limit in limits if isinstance(limit, int)), None)
