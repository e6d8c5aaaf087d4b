"""The text form of flags: words to `Flags`, and flags written inside a prompt.

A text is a list of parts, separated by `;` or `,`. A part is one of

- a wish: `small` (weight 0.3) or `smallest` (weight 1); likewise `cheap`, `fast`, `recent`,
  `secure`, `concise`, `readable` and their superlatives, with or without `model` after it;
- a weight, a worth or a limit by name: `cost=0.3`, `worth $0.01`, `max cost $0.002`,
  `max latency 2s`, `max params 10B`, `min context 100k`, `released after 2024-06-01`,
  `min security local`, `tolerance 0.02`;
- a capability that is required: `tools`, `vision`, `audio`, `files`, `json schema`, `reasoning`;
- `only NAME` or `not NAME`, once for each model.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from tryage.cards import CAPABILITIES
from tryage.errors import InvalidFlag, UnknownFlag, nearest
from tryage.flags import WEIGHTS, Flags

WISH, SUPERLATIVE = 0.3, 1.0
"""The weights that `small` and `smallest` stand for."""

_WISHES: dict[str, tuple[str, ...]] = {
    "size": ("small", "smallest", "smaller", "tiny"),
    "cost": ("cheap", "cheapest", "cheaper", "low cost", "lowest cost"),
    "latency": ("fast", "fastest", "faster", "low latency", "lowest latency", "quick"),
    "recency": ("recent", "most recent", "new", "newest", "latest"),
    "security": ("secure", "most secure", "private", "most private", "safe", "safest"),
    "verbosity": ("concise", "most concise", "terse", "tersest", "short", "shortest"),
    "readability": ("readable", "most readable", "easy to read", "plain language"),
    "stickiness": ("sticky", "same model"),
}
_SUPERLATIVES = re.compile(r"^(?:most |lowest )|est$")
_WEIGHT_OF_WORDS = {
    words: (name, SUPERLATIVE if _SUPERLATIVES.search(words) else WISH)
    for name, synonyms in _WISHES.items()
    for words in synonyms
}

_VALUE_WORDS = {
    "worth_usd": ("worth", "worth usd"),
    "max_cost_usd": ("max cost", "max cost usd", "maximum cost", "under $"),
    "max_latency_s": ("max latency", "max latency s", "maximum latency"),
    "max_params": ("max params", "max parameters", "max size", "maximum size"),
    "min_context_tokens": ("min context", "min context tokens", "context"),
    "released_after": ("released after", "newer than", "after"),
    "min_security": ("min security", "at least"),
    "tolerance": ("tolerance", "within"),
}
_NAME_OF_WORDS = {words: name for name, synonyms in _VALUE_WORDS.items() for words in synonyms}

_KEYS = sorted((*_NAME_OF_WORDS, *WEIGHTS), key=len, reverse=True)
_UNITS: dict[str, dict[str, float]] = {
    "worth_usd": {"": 1, "usd": 1},
    "max_cost_usd": {"": 1, "usd": 1},
    "max_latency_s": {"": 1, "s": 1, "ms": 0.001},
    "max_params": {"": 1, "m": 1e6, "b": 1e9, "t": 1e12},
    "min_context_tokens": {"": 1, "k": 1e3, "m": 1e6},
}
_IN_PROMPT = re.compile(r"\[\s*flags?\s*:\s*([^\[\]]*)\]\s*", re.IGNORECASE)


def parse(text: str) -> Flags:
    """Return the flags that a text asks for.

    Args:
        text: Parts separated by `;` or `,`; see the module's text for the words.

    Raises:
        UnknownFlag: A part is no flag; the message names the nearest and the known ones.
        InvalidFlag: A flag has a value that it cannot have, or stands twice with two values.

    Example:
        >>> parse("smallest model; max cost $0.002; tools").as_json()
        {'size': 1.0, 'max_cost_usd': 0.002, 'require': ['tools']}
    """
    found: dict[str, Any] = {}
    for part in re.split(r"[;,]", text):
        words = " ".join(part.strip().lower().split())
        if not words:
            continue
        name, value = _read_part(words, part.strip())
        if isinstance(value, frozenset):
            found[name] = found.get(name, frozenset()) | value
        elif found.setdefault(name, value) != value:
            raise InvalidFlag(f"{name} is given twice, as {found[name]!r} and {value!r}.")
    return Flags(**found)


def take_from_prompt(prompt: str) -> tuple[str, Flags | None]:
    """Return the prompt without its `[Flag: ...]` marks, and the flags that they asked for.

    Only for prompts whose author you trust: a prompt may hold text from strangers.

    Raises:
        UnknownFlag: A mark holds no known flag.

    Example:
        >>> take_from_prompt("[Flag: smallest model] Explain tides.")
        ('Explain tides.', Flags(size=1.0))
    """
    marks = [mark for mark in _IN_PROMPT.findall(prompt) if mark.strip()]
    if not marks:
        return prompt, None
    return without_marks(prompt), parse("; ".join(marks))


def without_marks(text: str) -> str:
    """Return the text without its `[Flag: ...]` marks, whatever stands in them.

    For what was read before, or is not to be read: an earlier turn, a prompt made of several.

    Example:
        >>> without_marks("user: [Flag: bogus] Hi")
        'user: Hi'
    """
    return _IN_PROMPT.sub("", text)


def unknown_flag(given: str) -> UnknownFlag:
    """Return the error for a word that is no flag, with the nearest one and the known ones."""
    names = [f.name for f in fields(Flags) if f.init]
    limits = [n for n in names if n not in (*WEIGHTS, "worth_usd")]
    words = [*names, *_WEIGHT_OF_WORDS, *_NAME_OF_WORDS, *CAPABILITIES, "only", "not"]
    return UnknownFlag(
        f"unknown flag {given!r}.{nearest(given.lower(), words)} Weights: {', '.join(WEIGHTS)}. "
        f"In dollars: worth_usd. Limits: {', '.join(limits)}. "
        f"Words: {', '.join(s[0] for s in _WISHES.values())}, ..."
    )


def _read_part(words: str, original: str) -> tuple[str, Any]:
    """Return the flag of one part and its value. `original` keeps the case of model names."""
    wish = re.sub(r" (?:model|models|answer|answers)$", "", words)
    if wish in _WEIGHT_OF_WORDS:
        return _WEIGHT_OF_WORDS[wish]
    capability = wish.replace(" ", "_").replace("-", "_")
    if capability in CAPABILITIES:
        return "require", frozenset({capability})
    if match := re.fullmatch(r"(only|not|allow|deny)(?:\s*=\s*|\s+)(\S+)", original, re.IGNORECASE):
        name = "allow" if match[1].lower() in ("only", "allow") else "deny"
        return name, frozenset({match[2]})
    if match := re.fullmatch(r"require(?:\s*=\s*|\s+)(\S.*)", words):
        return "require", frozenset({match[1].replace(" ", "_")})
    return _read_value(words)


def _read_value(words: str) -> tuple[str, Any]:
    """Return the flag and the value of `name=value`, `name value` or `under $value`."""
    spaced = words.replace("_", " ")
    for key in _KEYS:
        rest = spaced[len(key) :]
        if spaced.startswith(key) and rest and not (key[-1].isalpha() and rest[0].isalnum()):
            name = _NAME_OF_WORDS.get(key, key)
            return name, _READERS.get(name, _read_number)(name, rest.strip(" =:<>"))
    raise unknown_flag(re.split(r"[=:\s]", words)[0] if "=" in words else words)


def _read_number(name: str, text: str) -> float:
    """Return `$0.002`, `2s`, `500ms`, `10B` or `100k` as a number in the flag's own unit."""
    match = re.fullmatch(r"\$?\s*(-?\d*\.?\d+(?:e[+-]?\d+)?)\s*([a-z]*)", text)
    scale = _UNITS.get(name, {"": 1.0}).get(match[2]) if match else None
    if match is None or scale is None:
        example = _EXAMPLES.get(name, "0.3")
        raise InvalidFlag(f"{name} {text!r}: give a number, for example {example}.")
    return float(match[1]) * scale


def _read_word(name: str, text: str) -> str:
    return text


_READERS: dict[str, Callable[[str, str], Any]] = {
    "released_after": _read_word,
    "min_security": _read_word,
    "min_context_tokens": lambda name, text: int(_read_number(name, text)),
}
_EXAMPLES = {
    "worth_usd": "$0.01",
    "max_cost_usd": "$0.002",
    "max_latency_s": "2s",
    "max_params": "10B",
    "min_context_tokens": "100k",
    "tolerance": "0.02",
}
