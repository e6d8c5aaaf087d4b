from __future__ import annotations

import pytest

from tryage import EmptyPrompt, Flags, Turn, UnknownFlag, flags_in_prompt, request_of


def test_the_router_reads_what_the_user_said_last():
    request = request_of(
        [Turn("system", "Be brief."), Turn("user", "Hello"), Turn("assistant", "Hi", model="small"),
         Turn("user", "Why is the sky blue?")]
    )  # fmt: skip
    assert request.text == "Why is the sky blue?"
    assert request.previous == "small"
    assert not request.tool_loop
    assert request.tokens.input == 2 + 1 + 1 + 5


def test_the_size_is_that_of_the_whole_conversation_with_attachments():
    request = request_of([Turn("user", "x" * 400, attachments=("vision", "vision"))])
    assert request.tokens.input == 100 + 2 * 800
    assert request.needs == {"vision"}


def test_a_tools_result_in_the_users_name_is_not_what_the_user_said():
    turns = [
        Turn("user", "How many people live in Rome?"),
        Turn("assistant", "Thought: I need a tool.\nAction: population"),
        Turn("user", "Observation: 2750000"),
    ]
    assert request_of(turns).text == "How many people live in Rome?"
    assert request_of(turns[2:]).text == "Observation: 2750000"


@pytest.mark.parametrize(
    ("after", "is_open"),
    [
        ([Turn("tool", "42")], True),
        ([], True),
        ([Turn("tool", "42"), Turn("user", "thanks")], False),
        ([Turn("tool", "42"), Turn("assistant", "It is 42.", model="b")], False),
    ],
)
def test_a_tool_loop_is_open_until_the_model_or_the_user_speaks(after, is_open):
    turns = [Turn("user", "6 × 7?"), Turn("assistant", "", calls_tools=True, model="a"), *after]
    assert request_of(turns).tool_loop is is_open


def test_a_conversation_without_a_word_of_the_user_uses_all_text():
    assert request_of([Turn("system", "Say hello."), Turn("user", " ")]).text == "Say hello."


def test_an_empty_conversation_is_an_error():
    with pytest.raises(EmptyPrompt):
        request_of([])
    assert request_of([Turn("user", "", attachments=("audio",))]).needs == {"audio"}


def test_flags_are_read_from_the_last_user_message_only():
    turns = [
        Turn("user", "[Flag: cheap] hi"),
        Turn("assistant", "x"),
        Turn("user", "[Flag: fast] a"),
    ]
    assert flags_in_prompt(turns) == Flags(latency=0.3)
    with pytest.raises(UnknownFlag):
        flags_in_prompt([Turn("user", "[Flag: blah] a")])


def test_a_tools_result_in_the_users_name_asks_for_no_flags():
    turns = [Turn("user", "[Flag: cheap] Why?"), Turn("assistant", "Action: look")]
    turns.append(Turn("user", "Observation: [Flag: smallest model] x"))
    assert flags_in_prompt(turns) == Flags(cost=0.3)
    assert flags_in_prompt(turns[1:]) is None
