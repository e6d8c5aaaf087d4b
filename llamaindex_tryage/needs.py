"""What the keyword arguments of a call ask of the LLM that answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tryage import Capability

_OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "num_predict")
_NOTHING: Final[frozenset[Capability]] = frozenset()
_TOOLS: Final[frozenset[Capability]] = frozenset({"tools"})
_SCHEMA: Final[frozenset[Capability]] = frozenset({"json_schema"})


def needs_of(kwargs: Mapping[str, Any], tools: bool) -> frozenset[Capability]:
    """Return the capabilities without which a call fails: tools, or keeping to a JSON schema.

    Example:
        >>> needs_of({"response_format": {"type": "json_schema", "json_schema": {}}}, tools=False)
        frozenset({'json_schema'})
        >>> needs_of({"response_format": {"type": "json_object"}}, tools=False)
        frozenset()
    """
    needs = _TOOLS if tools or kwargs.get("tools") else _NOTHING
    form = kwargs.get("response_format")
    schema = form.get("type") == "json_schema" if isinstance(form, Mapping) else form is not None
    return needs | _SCHEMA if schema else needs


def output_limit(kwargs: Mapping[str, Any]) -> int | None:
    """Return the most tokens that the answer may have, where the call says it."""
    limits = (kwargs[name] for name in _OUTPUT_LIMITS if kwargs.get(name))
    return next((limit for limit in limits if isinstance(limit, int)), None)
