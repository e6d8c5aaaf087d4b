"""What the gateway's OpenAPI description says of each path, as FastAPI takes it.

Bodies are read by hand, since what is not understood is to pass through untouched.
"""

from __future__ import annotations

from typing import Any

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "integer", "null"]},
            },
        }
    },
}

_FLAGS = {
    "description": "Wishes: a text such as 'cost=0.3; tools', or an object of flags by name.",
    "anyOf": [{"type": "string"}, {"type": "object"}],
}

_TRYAGE = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "flags": _FLAGS,
        "report": {"type": "boolean", "description": "Tell in the body how it was routed."},
        "previous": {
            "type": ["string", "null"],
            "description": "The model that spoke last in this conversation.",
        },
    },
}

_MESSAGES = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "role": {"enum": ["system", "developer", "user", "assistant", "tool", "function"]},
            "content": {
                "anyOf": [
                    {"type": "string"},
                    {"type": "array", "items": {"type": "object"}},
                    {"type": "null"},
                ]
            },
        },
        "required": ["role"],
    },
}

_COMMON = {
    "model": {
        "type": "string",
        "default": "tryage",
        "description": "tryage, or tryage:FLAGS, or an upstream's name.",
    },
    "stream": {"type": ["boolean", "null"]},
    "tryage": _TRYAGE,
}

_PROMPT = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}

_KINDS = ("application/json", "text/event-stream")

_HEADERS = [
    {"name": name, "in": "header", "required": False, "schema": {"type": "string"}}
    for name in ("x-tryage-flags", "x-tryage-previous")
]

_REFUSALS = {
    400: "The request is at fault.",
    401: "The key is missing or wrong.",
    402: "The key's budget is used up.",
    403: "The key may not do this.",
    404: "There is no such model.",
    408: "The request was too slow to arrive.",
    413: "The body is too large.",
    429: "A rate limit is reached.",
    431: "The headers are too large.",
    502: "No model answered.",
    503: "No model can answer now, or the gateway is shutting down.",
}


def _responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {"application/json": {"schema": _ERROR}}
    return {s: {"description": _REFUSALS[s], "content": content} for s in statuses}


def _post(
    summary: str, field: dict[str, Any], *required: str, kinds: tuple[str, ...] = _KINDS
) -> dict[str, Any]:
    schema = {"type": "object", "properties": {**_COMMON, **field}, "required": list(required)}
    content: dict[str, Any] = {kind: {"schema": {}} for kind in kinds}
    return {
        "summary": summary,
        "responses": {200: {"content": content}, **_responses(*_REFUSALS)},
        "openapi_extra": {
            "parameters": _HEADERS,
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        },
    }


CHAT = _post("Answer a conversation", {"messages": _MESSAGES}, "messages")
COMPLETION = _post("Continue a prompt", {"prompt": _PROMPT}, "prompt")
ROUTE = _post(
    "Decide, and call nobody", {"messages": _MESSAGES, "prompt": _PROMPT}, kinds=_KINDS[:1]
)
MODELS: dict[str, Any] = {"summary": "List the models", "responses": _responses(401, 403, 429)}
MODEL: dict[str, Any] = {
    "summary": "Describe one model",
    "responses": _responses(400, 401, 403, 404, 429),
    "openapi_extra": {
        "parameters": [
            {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
        ]
    },
}
HEALTH: dict[str, Any] = {"summary": "Say whether the gateway is alive"}
READY: dict[str, Any] = {
    "summary": "Say whether requests can be answered",
    "responses": _responses(503),
}
