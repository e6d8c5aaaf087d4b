"""What a response tells of the tokens that it took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.llms import ChatResponse, CompletionResponse

from tryage import Usage

_INPUT = ("prompt_tokens", "input_tokens", "prompt_token_count")
_OUTPUT = ("completion_tokens", "output_tokens", "candidates_token_count")
_DETAILS = ("prompt_tokens_details", "input_tokens_details")


def usage_of(response: ChatResponse | CompletionResponse) -> Usage | None:
    """Return the tokens that a response reports, or `None` where it reports none.

    They are read from where LlamaIndex's own token counter reads them: what the provider answered
    (`raw`), in the words of OpenAI, Anthropic or Google, or else the response's
    `additional_kwargs`.

    Example:
        >>> raw = {"usage": {"prompt_tokens": 12, "completion_tokens": 3}}
        >>> usage_of(CompletionResponse(text="Four.", raw=raw))
        Usage(input_tokens=12, output_tokens=3, cached_input_tokens=0)
    """
    told = _get(response.raw, "usage") or _get(response.raw, "usage_metadata")
    return _usage(told) or _usage(response.additional_kwargs)


def _usage(told: Any) -> Usage | None:
    asked, answered = _first(told, _INPUT), _first(told, _OUTPUT)
    if asked + answered == 0:  # some servers write zeros where they did not count
        return None
    # Anthropic counts beside `input_tokens` what went through its cache; the others within.
    read, written = (_count(told, f"cache_{how}_input_tokens") for how in ("read", "creation"))
    if read or written:
        return Usage(asked + read + written, answered, read)
    details = next((found for name in _DETAILS if (found := _get(told, name))), None)
    return Usage(asked, answered, _count(details, "cached_tokens"))


def _first(told: Any, names: tuple[str, ...]) -> int:
    return next((count for name in names if (count := _count(told, name))), 0)


def _count(told: Any, name: str) -> int:
    value = _get(told, name)
    return value if isinstance(value, int) else 0


def _get(told: Any, name: str) -> Any:
    return told.get(name) if isinstance(told, Mapping) else getattr(told, name, None)
