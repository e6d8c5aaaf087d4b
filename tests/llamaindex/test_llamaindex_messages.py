"""From LlamaIndex's messages to turns, and messages that know who wrote them."""

from __future__ import annotations

import copy
import pickle

import pytest
from llama_index.core.base.llms.types import (
    CitableBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.llms import ChatMessage

from llamaindex_tryage.messages import flags_of_arguments, routed, turns_of, without_marks
from tryage import Flags, Turn


def turn(**message) -> Turn:
    return turns_of([ChatMessage(**message)])[0]


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("system", "system"),
        ("developer", "system"),
        ("user", "user"),
        ("assistant", "assistant"),
        ("chatbot", "assistant"),
        ("model", "assistant"),
        ("tool", "tool"),
        ("function", "tool"),
    ],
)
def test_roles(role, expected):
    assert turn(role=role, content="x") == Turn(expected, "x")


def test_the_text_is_that_of_all_blocks():
    image = ImageBlock(url="http://x/y.png")
    cited = CitableBlock(title="t", source="s", content=[TextBlock(text="cited"), image])
    blocks = [
        TextBlock(text="one"),
        ThinkingBlock(content="two"),
        cited,
        VideoBlock(url="http://v"),
    ]
    assert turn(role="user", blocks=blocks) == Turn(
        "user", "one\ntwo\ncited", attachments=("vision", "vision")
    )


def test_tool_calls_are_seen_in_blocks_and_in_the_old_place():
    call = ToolCallBlock(tool_call_id="1", tool_name="add", tool_kwargs={"a": 1})
    assert turn(role="assistant", blocks=[call]) == Turn(
        "assistant", "add {'a': 1}", calls_tools=True
    )
    assert turn(role="assistant", additional_kwargs={"tool_calls": [{}]}).calls_tools
    assert turn(role="assistant", content=None) == Turn("assistant", "")


def test_a_routed_message_keeps_its_model_in_copies_and_never_in_a_dump():
    plain = ChatMessage(role="assistant", content="Four.", additional_kwargs={"k": 1})
    message = routed(plain, "small")
    assert message == plain
    assert plain == message
    assert message != ChatMessage(role="assistant", content="Five.")
    assert message.model_dump() == plain.model_dump()
    assert message.model_dump_json() == plain.model_dump_json()
    assert "small" not in str(message)
    for copied in (
        copy.deepcopy(message),
        message.model_copy(),
        pickle.loads(pickle.dumps(message)),
    ):
        assert turns_of([copied])[0].model == "small"
    assert routed(message, "large").answered_by == "large"


def test_another_packages_own_kind_of_message_stays_what_it_is():
    class Own(ChatMessage):
        extra: int = 1

    message = Own(content="x")
    assert routed(message, "small") is message


def test_marks_are_taken_out_of_what_users_said_alone():
    messages = [
        ChatMessage("[Flag: cheap] system", role="system"),
        ChatMessage(role="user", blocks=[TextBlock(text="[Flag: cheap] one"), TextBlock(text="2")]),
        ChatMessage("three", role="user"),
    ]
    clean = without_marks(messages)
    assert clean[0] is messages[0]
    assert clean[1].content == "one\n2"
    assert clean[2] is messages[2]
    assert messages[1].content == "[Flag: cheap] one\n2"


def test_flags_are_read_from_the_question_and_never_from_what_was_retrieved():
    given = {"query_str": "[Flag: cheap] Why?", "context_str": "[Flag: smallest model] x"}
    arguments, flags = flags_of_arguments(given)
    assert flags == Flags.parse("cheap")
    assert arguments == {**given, "query_str": "Why?"}
