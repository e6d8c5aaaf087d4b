"""What the test server answers: text, tool calls or JSON, worked out from the request alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

USAGE = {"prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 17}
"""What every call is said to have used."""


@dataclass(frozen=True)
class Reply:
    """An assistant's message."""

    text: str = ""
    tool_calls: tuple[dict[str, Any], ...] = ()

    @property
    def finish_reason(self) -> str:
        return "tool_calls" if self.tool_calls else "stop"

    @property
    def words(self) -> list[str]:
        return re.findall(r"\s*\S+|\s+$", self.text)


def reply_to(body: dict[str, Any]) -> Reply:
    """Return the reply to the body of a request.

    A tool that is asked for by `tool_choice` is called; so is the first tool when a user spoke
    last. A `response_format` is answered with JSON that fits; where no schema
    is given, with the keys that stand in quotes. All else is answered with a text
    that names the model and what the user said.
    """
    said = _text(next((m for m in reversed(body["messages"]) if m["role"] == "user"), {}))
    tool = _wanted_tool(body)
    if tool is not None:
        return Reply(tool_calls=(_tool_call(tool, said),))
    kind = (body.get("response_format") or {}).get("type")
    if kind == "json_schema":
        schema = body["response_format"]["json_schema"]["schema"]
        return Reply(json.dumps(_example(schema, said, schema), ensure_ascii=False))
    if kind == "json_object":
        keys = re.findall(r"'(\w+)'", said) or ["answer"]
        return Reply(json.dumps(dict.fromkeys(keys, said), ensure_ascii=False))
    text = f"{body['model']} heard: {said}" if said else f"{body['model']} is listening."
    stops = body.get("stop") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        text = text.split(stop)[0]
    return Reply(text)


def completion(model: str, reply: Reply) -> dict[str, Any]:
    """Return a whole answer."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
    if reply.tool_calls:
        message["tool_calls"] = list(reply.tool_calls)
    choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason}
    return {**_frame(model, "chat.completion"), "choices": [choice], "usage": USAGE}


def events(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events of a stream: the role alone, the content, the end, the usage if wished."""
    model, reply = body["model"], reply_to(body)
    frame = _frame(model, "chat.completion.chunk")

    def event(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**frame, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    yield event({"role": "assistant", "content": ""})
    for word in reply.words:
        yield event({"content": word})
    for index, call in enumerate(reply.tool_calls):
        function = {"name": call["function"]["name"], "arguments": ""}
        yield event({"tool_calls": [{**call, "index": index, "function": function}]})
        arguments = {"arguments": call["function"]["arguments"]}
        yield event({"tool_calls": [{"index": index, "function": arguments}]})
    yield event({}, reply.finish_reason)
    if (body.get("stream_options") or {}).get("include_usage"):
        yield {**frame, "choices": [], "usage": USAGE}


def _frame(model: str, kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": model}


def _wanted_tool(body: dict[str, Any]) -> dict[str, Any] | None:
    tools = [tool["function"] for tool in body.get("tools") or () if tool["type"] == "function"]
    choice = body.get("tool_choice")
    if not tools or choice == "none":
        return None
    if isinstance(choice, dict):
        return next(tool for tool in tools if tool["name"] == choice["function"]["name"])
    return tools[0] if choice == "required" or body["messages"][-1]["role"] == "user" else None


def _tool_call(tool: dict[str, Any], said: str) -> dict[str, Any]:
    schema = tool.get("parameters") or {}
    arguments = json.dumps(_example(schema, said, schema), ensure_ascii=False)
    function = {"name": tool["name"], "arguments": arguments}
    return {"id": "call_1", "type": "function", "function": function}


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(block["text"] for block in content if block.get("type") == "text")


def _example(schema: dict[str, Any], said: str, root: dict[str, Any], name: str = "") -> Any:
    """Return a value that fits a JSON schema, with numbers and quoted names from what was said."""
    if "$ref" in schema:
        target: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return _example(target, said, root, name)
    if "const" in schema or "enum" in schema:
        return schema.get("const", (schema.get("enum") or [None])[0])
    for combined in ("anyOf", "oneOf", "allOf"):
        if combined in schema:
            return _example(schema[combined][0], said, root, name)
    if schema.get("type") == "array":
        return [_example(schema.get("items", {}), said, root, name)]
    if schema.get("type") == "object" or "properties" in schema:
        parts = schema.get("properties", {}).items()
        return {key: _example(part, said, root, key) for key, part in parts}
    return _simple_example(schema.get("type", "string"), said, name)


def _simple_example(kind: str, said: str, name: str) -> Any:
    if kind in ("integer", "number"):
        return int(next(iter(re.findall(r"\d+", said)), 1))
    if kind in ("boolean", "null"):
        return True if kind == "boolean" else None
    quoted = re.findall(r"['\"‘“]([^'\"’”]+)['\"’”]", said)
    return quoted[0] if "name" in name and quoted else f"{name or 'text'} of {said[:40]}"
