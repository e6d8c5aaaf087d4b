"""OpenAI's wire format to what the router looks at: messages to turns, a body to a request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tryage.arguments import needs_of, output_limit
from tryage.cards import Capability
from tryage.conversation import Role, Turn, flags_in_prompt, request_of
from tryage.flag_text import without_marks
from tryage.flags import Flags
from tryage.gateway import jsons
from tryage.gateway.refusals import Refused
from tryage.request import Request, count_tokens
from tryage.spend import Usage

_ROLES: Final[Mapping[str, Role]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_ATTACHMENTS: Final[Mapping[str, Capability]] = {
    "image_url": "vision",
    "input_audio": "audio",
    "file": "files",
}
_TEXTS = ("text", "refusal")


def request_from(
    body: Mapping[str, Any],
    *,
    flags: Flags | None = None,
    previous: str | None = None,
    prompt_flags: bool = False,
) -> Request:
    """Return the request of a body of `/v1/chat/completions` or `/v1/completions`.

    Args:
        body: What the client sent.
        flags: The client's wishes for this call.
        previous: The model that spoke last, where the client says so: the wire does not.
        prompt_flags: Whether to read flags from the prompt.

    Raises:
        Refused: The conversation is not of OpenAI's form.
        EmptyPrompt: It holds nothing to answer.
        UnknownFlag: The prompt holds a mark with no known flag.
    """
    turns = turns_of(body, previous)
    tools = body.get("tools")
    return request_of(
        turns,
        needs=needs_of(body),
        flags=flags,
        prompt_flags=flags_in_prompt(turns) if prompt_flags else None,
        max_output_tokens=output_limit(body),
        tool_tokens=count_tokens(jsons.dumps(tools).decode()) if tools else 0,
    )


def turns_of(body: Mapping[str, Any], previous: str | None = None) -> list[Turn]:
    """Return the turns of a body's `messages` or `prompt`.

    Raises:
        Refused: Neither is there, or not of OpenAI's form.
    """
    if "messages" in body:
        messages = body["messages"]
        if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
            raise _malformed("messages", "give a list of messages, each an object with a role")
        return [_turn(message, previous) for message in messages]
    if "prompt" in body:
        prompt = body["prompt"]
        texts = [prompt] if isinstance(prompt, str) else prompt
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise _malformed("prompt", "give a text or a list of texts; token ids cannot be routed")
        return [Turn("user", "\n".join(texts))]
    raise _malformed("messages", "it is missing")


def without_flags(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body without the `[Flag: ...]` marks in what users say."""
    if isinstance(body.get("prompt"), str):
        return {**body, "prompt": without_marks(body["prompt"])}
    if "messages" not in body:
        return {**body, "prompt": [without_marks(text) for text in body["prompt"]]}
    messages = [m if m.get("role") != "user" else _unmarked(m) for m in body["messages"]]
    return {**body, "messages": messages}


def usage_in(value: Mapping[str, Any]) -> Usage | None:
    """Return the tokens that an answer or the chunk of a stream reports, if it does."""
    usage = value.get("usage")
    if not isinstance(usage, dict):
        return None
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    asked, answered = usage.get("prompt_tokens"), usage.get("completion_tokens", 0)
    if not isinstance(asked, int) or not isinstance(answered, int):
        return None
    return Usage(asked, answered, cached if isinstance(cached, int) else 0)


def text_in(value: Mapping[str, Any]) -> str:
    """Return the text of the first choice of an answer or of the chunk of a stream."""
    choices = value.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict) or choice.get("index", 0) != 0:
        return ""
    said = choice.get("message") or choice.get("delta") or choice
    text = (said.get("content") or said.get("text")) if isinstance(said, dict) else ""
    return text if isinstance(text, str) else ""


def _turn(message: dict[str, Any], previous: str | None) -> Turn:
    role = _ROLES.get(str(message.get("role")), "user")
    content = message.get("content")
    attachments: tuple[Capability, ...] = ()
    if content is None or isinstance(content, str):
        text = content or ""
    elif isinstance(content, list) and all(isinstance(part, dict) for part in content):
        text = "\n".join(_texts(content))
        kinds = (str(part.get("type")) for part in content)
        attachments = tuple(_ATTACHMENTS[kind] for kind in kinds if kind in _ATTACHMENTS)
    else:
        raise _malformed("messages", "the content of a message is a text, or a list of parts")
    if role != "assistant":
        return Turn(role, text, attachments)
    calls = message.get("tool_calls") or message.get("function_call")
    return Turn(
        role,
        text,
        calls_tools=bool(calls),
        model=previous,
        call_tokens=count_tokens(jsons.dumps(calls).decode()) if calls else 0,
    )


def _texts(parts: Sequence[dict[str, Any]]) -> Iterator[str]:
    for part in parts:
        text = part.get("text") or part.get("refusal")
        if part.get("type") in _TEXTS and isinstance(text, str):
            yield text


def _unmarked(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if isinstance(content, str):
        return {**message, "content": without_marks(content)}
    parts = [
        {**part, "text": without_marks(part["text"])} if isinstance(part.get("text"), str) else part
        for part in content or ()
    ]
    return {**message, "content": parts}


def _malformed(param: str, advice: str) -> Refused:
    return Refused(400, "invalid_value", f"{param}: {advice}.", param=param)
