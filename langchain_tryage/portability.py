"""A conversation as the next model can take it, when another model wrote part of it.

Thinking is signed by the model that thought, ids of messages and tool calls on a server are known
to that server alone, and marks for prompt caches to some providers: any other answers them with an
error. So an answer of another model crosses as what every model understands, its text and its tool
calls, and marks cross only to where they mean something.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage

from langchain_tryage.messages import author_of
from langchain_tryage.provider_blocks import (
    Block,
    family_of_block,
    family_of_provider,
    is_plain,
    words_of,
)

_UNDERSTOOD_BY: dict[str, frozenset[str]] = {
    "cache_control": frozenset({"anthropic", "bedrock", "openrouter", "litellm"}),
    "cachePoint": frozenset({"bedrock"}),
    "prompt_cache_breakpoint": frozenset({"openai"}),
    "prompt_cache_key": frozenset({"openai", "fireworks"}),
    "prompt_cache_options": frozenset({"openai"}),
    "prompt_cache_retention": frozenset({"openai"}),
    "x-session-affinity": frozenset({"fireworks"}),
}
"""The families that know what for a cache stands on a block, a tool, a call or in its headers."""

_BOUND_EXTRA = re.compile(
    "reasoning|thinking|thought|signature|^__|^(audio|executed_tools|refusal|tool_outputs)$"
)
"""What in `additional_kwargs` none but its writer can take back."""

_LOOKED_UP = ("msg_", "resp_", "rs_")
"""How ids begin that OpenAI's API looks up on its own side; Anthropic's may look the same."""

_DATE = re.compile(r"[-@](\d{4}-\d{2}-\d{2}|\d{8}|\d{3,4}|latest)")
"""What providers add to a model's name when they say which version answered."""

_NESTED = frozenset({"content", "extras", "metadata"})
"""Under these keys of a block there may be marks, too."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """What decides how a model can take a conversation.

    Attributes:
        name: What the router calls it.
        model: What its provider calls it, if known.
        provider: The provider.
        family: The provider whose message format it has.
        strange: The marks for caches that it does not understand.
    """

    name: str
    model: str | None
    provider: str
    family: str
    strange: frozenset[str]

    @classmethod
    def of(cls, name: str, model: BaseChatModel) -> Recipient:
        """Return what there is to know of a chat model; to be kept, since asking takes a while."""
        params = model._get_ls_params()
        provider = params.get("ls_provider") or model._llm_type
        family = family_of_provider(provider, model._llm_type)
        if model._llm_type == "tryage-chat":  # a router sees to that for each model of its own
            return cls(name, None, provider, family, frozenset())
        strange = frozenset(mark for mark, known in _UNDERSTOOD_BY.items() if family not in known)
        return cls(name, params.get("ls_model_name"), provider, family, strange)

    def wrote(self, message: AIMessage, recipients: Mapping[str, Recipient]) -> bool:
        """Return whether an answer is this model's own, under whatever name.

        Args:
            message: The answer.
            recipients: All models of the router, by name.
        """
        metadata = message.response_metadata
        author = author_of(metadata, recipients)
        if author == self.name:
            return True
        if author is None:
            provider = metadata.get("model_provider")
            if isinstance(provider, str):
                return family_of_provider(provider) == self.family
            return all(family_of_block(block) in (None, self.family) for block in _blocks(message))
        writer = recipients.get(author)
        if self.model is None:
            return False
        if writer is not None:
            return (writer.provider, writer.model) == (self.provider, self.model)
        return _same_model(metadata.get("model_name"), self.model)


def portable(
    messages: list[BaseMessage], recipient: Recipient, recipients: Mapping[str, Recipient]
) -> list[BaseMessage]:
    """Return the messages as a model can take them; the same list where nothing has to change.

    Of an answer that another model wrote, its text and tool calls are left, and as text what the
    provider's own tools found. The writer is the model that the router's report names, or else
    the one that the provider names. Without either, an answer is another's if its provider is,
    and where that is not known, if it holds blocks that only another provider makes.

    Args:
        messages: The conversation; never changed itself.
        recipient: The model that gets it.
        recipients: All models of the router, by name.

    Example:
        >>> from langchain_tryage.testing import FunctionChatModel
        >>> models = [FunctionChatModel(str.upper, model_name=name) for name in ("loud", "clear")]
        >>> recipients = {m.model_name: Recipient.of(m.model_name, m) for m in models}
        >>> thought = {"type": "thinking", "thinking": "Hm.", "signature": "EqQB"}
        >>> said = AIMessage([thought, {"type": "text", "text": "Hi"}])
        >>> said.response_metadata = {"model_name": "loud"}
        >>> portable([said], recipients["clear"], recipients)[0].content
        'Hi'
        >>> portable([said], recipients["loud"], recipients)[0] is said
        True
    """
    changed: dict[int, BaseMessage] = {}
    for position, message in enumerate(messages):
        fit = message
        if isinstance(fit, AIMessage) and not recipient.wrote(fit, recipients):
            fit = _text_and_calls(fit)
        if recipient.strange and isinstance(fit.content, list):
            content = _unmarked(fit.content, recipient.strange)
            if content is not fit.content:
                fit = fit.model_copy(update={"content": content})
        if fit is not message:
            changed[position] = fit
    if not changed:
        return messages
    return [changed.get(position, message) for position, message in enumerate(messages)]


def portable_arguments(kwargs: dict[str, Any], recipient: Recipient) -> dict[str, Any]:
    """Return the arguments of a call without what other providers' caches are told.

    Args:
        kwargs: The arguments; come back as they are where nothing has to change.
        recipient: The model that gets them.
    """
    strange = recipient.strange
    kept = {key: value for key, value in kwargs.items() if key not in strange}
    if kept.get("tools"):
        kept["tools"] = _unmarked(kept["tools"], strange)
    if isinstance(headers := kept.get("extra_headers"), Mapping):
        left = {key: value for key, value in headers.items() if str(key).lower() not in strange}
        if len(left) < len(headers):
            kept["extra_headers"] = left
    same = len(kept) == len(kwargs) and all(kept[key] is kwargs[key] for key in kept)
    return kwargs if same else kept


def _text_and_calls(message: AIMessage) -> AIMessage:
    """Return what every model understands of an answer."""
    update: dict[str, Any] = {}
    beside, metadata = message.additional_kwargs, message.response_metadata
    bound = {key for key, value in beside.items() if value and _BOUND_EXTRA.search(key)}
    if bound:
        update["additional_kwargs"] = {k: v for k, v in beside.items() if k not in bound}
    if bound or not all(map(is_plain, _blocks(message))):
        spoken = beside.get("refusal"), (beside.get("audio") or {}).get("transcript")
        update["content"] = "".join([*map(words_of, _blocks(message)), *(s for s in spoken if s)])
    if message.id is not None and message.id.startswith(_LOOKED_UP):
        update["id"] = None
    known = {k: v for k, v in metadata.items() if not _names_origin(k, v)}
    if len(known) < len(metadata):
        update["response_metadata"] = known
    return message.model_copy(update=update) if update else message


def _names_origin(key: str, value: Any) -> bool:
    """Return whether metadata names the form of an answer, or where OpenAI's API keeps it."""
    return key == "output_version" or (key == "id" and str(value).startswith("resp_"))


def _blocks(message: AIMessage) -> Sequence[Block]:
    content = message.content
    return content if isinstance(content, list) else (content,)


def _unmarked(value: Any, marks: frozenset[str]) -> Any:
    """Return blocks or tools without marks, and without those that held nothing else."""
    if isinstance(value, list):
        items = [_unmarked(item, marks) for item in value]
        same = all(new is old for new, old in zip(items, value, strict=True))
        return value if same else [item for item in items if item != {}]
    if not isinstance(value, dict) or (marks.isdisjoint(value) and _NESTED.isdisjoint(value)):
        return value
    kept = {
        key: _unmarked(item, marks) if key in _NESTED else item
        for key, item in value.items()
        if key not in marks
    }
    same = len(kept) == len(value) and all(kept[key] is value[key] for key in kept)
    return value if same else kept


def _same_model(reported: Any, configured: str) -> bool:
    """Return whether two names are one model's, where one of them may tell the version."""
    if not isinstance(reported, str):
        return False
    short, long = sorted((reported, configured), key=len)
    rest = long.removeprefix(short)
    return not rest or (rest != long and _DATE.fullmatch(rest) is not None)
