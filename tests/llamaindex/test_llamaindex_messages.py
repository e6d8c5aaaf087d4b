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
from llama_index.core.prompts import ChatPromptTemplate

from llamaindex_tryage.messages import (
    author_of,
    flags_of_arguments,
    signed,
    turns_of,
    unsigned,
    unsigned_template,
    without_marks,
)
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


def test_a_signed_message_keeps_its_author_in_copies_and_dumps():
    plain = ChatMessage(role="assistant", content="Four.", additional_kwargs={"k": 1})
    message = signed(plain, "small")
    assert plain.additional_kwargs == {"k": 1}
    for copied in (
        copy.deepcopy(message),
        pickle.loads(pickle.dumps(message)),
        ChatMessage.model_validate(message.model_dump(mode="json")),
        ChatMessage.model_validate_json(message.model_dump_json()),
    ):
        assert turns_of([copied]) == [Turn("assistant", "Four.", model="small")]
    assert author_of(signed(message, "large")) == "large"


def test_another_packages_own_kind_of_message_stays_of_that_kind():
    class Own(ChatMessage):
        extra: int = 1

    message = signed(Own(content="x", extra=2), "small")
    assert (type(message), message.extra, author_of(message)) == (Own, 2, "small")
    assert type(unsigned([message])[0]) is Own


def test_models_see_messages_without_authors_and_the_callers_stay_as_they_are():
    said = ChatMessage("Hi", additional_kwargs={"k": 1})
    answer = signed(ChatMessage(role="assistant", content="Four.", additional_kwargs={"k": 2}), "a")
    clean = unsigned([said, answer])
    assert clean[0] is said
    assert clean[1].additional_kwargs == {"k": 2}
    assert author_of(answer) == "a"
    template = ChatPromptTemplate([answer, ChatMessage("{question}")])
    seen = unsigned_template(template).format_messages(question="Why?")
    assert [m.additional_kwargs for m in seen] == [{"k": 2}, {}]
    assert author_of(template.format_messages(question="Why?")[0]) == "a"


@pytest.mark.parametrize("noted", ["small", {"model": 1}, {}, None])
def test_what_is_no_note_of_the_routers_names_nobody(noted):
    note = {"tryage": noted}
    assert turn(role="assistant", content="x", additional_kwargs=note) == Turn("assistant", "x")


def test_a_user_is_no_model():
    note = {"tryage": {"model": "small"}}
    assert turn(role="user", content="x", additional_kwargs=note) == Turn("user", "x")


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


def test_a_tools_result_in_the_users_name_keeps_its_marks():
    messages = [ChatMessage("Observation: [Flag: cheap] x"), ChatMessage("[Flag: bogus] Hi")]
    assert [m.content for m in without_marks(messages)] == ["Observation: [Flag: cheap] x", "Hi"]


def test_flags_are_read_from_the_question_and_never_from_what_was_retrieved():
    given = {"query_str": "[Flag: cheap] Why?", "context_str": "[Flag: smallest model] x"}
    arguments, flags = flags_of_arguments(given)
    assert flags == Flags.parse("cheap")
    assert arguments == {**given, "query_str": "Why?"}
