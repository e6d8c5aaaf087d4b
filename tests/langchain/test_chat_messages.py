"""What the router reads from a conversation."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from langchain_tryage.messages import turns_of
from tests.langchain.fakes import answering, router
from tests.langchain.ways import Way
from tryage import ModelCard, NoEligibleModel, Turn

DATA = "data:image/png;base64,AAAA"

ATTACHMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "OpenAI image": ("vision", {"type": "image_url", "image_url": {"url": DATA}}),
    "OpenAI responses image": ("vision", {"type": "input_image", "image_url": DATA}),
    "Anthropic image": ("vision", {"type": "image", "source": {"type": "base64", "data": "AA"}}),
    "v1 image": ("vision", {"type": "image", "base64": "AAAA", "mime_type": "image/png"}),
    "Google image": ("vision", {"type": "media", "mime_type": "image/png", "data": "AAAA"}),
    "v1 video": ("vision", {"type": "video", "url": "http://127.0.0.1/a.mp4"}),
    "OpenAI audio": ("audio", {"type": "input_audio", "input_audio": {"data": "AA"}}),
    "v1 audio": ("audio", {"type": "audio", "base64": "AAAA", "mime_type": "audio/wav"}),
    "OpenAI file": ("files", {"type": "file", "file": {"file_id": "1"}}),
    "v1 file": ("files", {"type": "file", "base64": "AA", "mime_type": "application/pdf"}),
    "Anthropic document": ("files", {"type": "document", "source": {"type": "base64"}}),
    "Google file": ("files", {"type": "media", "mime_type": "application/pdf"}),
}


@pytest.mark.parametrize("kind", ATTACHMENTS)
async def test_attachments_are_seen_and_only_models_that_take_them_picked(
    way: Way, kind: str
) -> None:
    needed, block = ATTACHMENTS[kind]
    message = HumanMessage([{"type": "text", "text": "What is this?"}, block])
    assert turns_of([message]) == [Turn("user", "What is this?", (needed,))]  # type: ignore[arg-type]
    cards = [
        ModelCard(name="a", capabilities=frozenset({"tools"})),
        ModelCard(name="b", capabilities=frozenset({needed})),  # type: ignore[arg-type]
    ]
    model = router(answering("a"), answering("b"), cards=cards)
    assert (await way.invoke(model, [message])).response_metadata["tryage"]["model"] == "b"
    with pytest.raises(NoEligibleModel, match=f"lacks {needed}"):
        await way.invoke(router(answering("a"), cards=cards[:1]), [message])


def test_every_role() -> None:
    call = {"name": "add", "args": {}, "id": "1"}
    conversation = [
        SystemMessage("Be brief."),
        HumanMessage("Hi"),
        AIMessage("Hello", response_metadata={"tryage": {"model": "a"}, "model_name": "a-1"}),
        ChatMessage("More", role="user"),
        ChatMessage("Hm", role="assistant"),
        AIMessage("", tool_calls=[call], response_metadata={"model_name": "b"}),
        ToolMessage("2", tool_call_id="1"),
    ]
    assert turns_of(conversation) == [
        Turn("system", "Be brief."),
        Turn("user", "Hi"),
        Turn("assistant", "Hello", model="a"),
        Turn("user", "More"),
        Turn("assistant", "Hm"),
        Turn("assistant", "", calls_tools=True, model="b", call_tokens=1),
        Turn("tool", "2"),
    ]


def test_text_of_all_blocks() -> None:
    blocks = ["One", {"type": "text", "text": "two"}, {"type": "thinking", "thinking": "hm"}]
    assert turns_of([AIMessage(blocks)])[0].text == "One\ntwo"


def test_a_result_in_anthropics_form_is_a_tools_turn() -> None:
    picture = {"type": "image", "source": {"type": "base64", "data": "AA"}}
    result = {
        "type": "tool_result",
        "tool_use_id": "1",
        "content": [{"type": "text", "text": "2"}, picture],
    }
    assert turns_of([HumanMessage([result])]) == [Turn("tool", "2", ("vision",))]
    plain = {"type": "tool_result", "tool_use_id": "1", "content": "2"}
    assert turns_of([HumanMessage([plain, {"type": "text", "text": "Go on"}])]) == [
        Turn("user", "2\nGo on")
    ]


def test_pictures_that_a_model_drew_are_not_needed_again() -> None:
    drawn = AIMessage([{"type": "image", "base64": "AAAA", "mime_type": "image/png"}])
    assert turns_of([drawn])[0].attachments == ()
