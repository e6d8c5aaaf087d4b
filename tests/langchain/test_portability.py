"""What another model wrote reaches the next one as text and tool calls, and nothing is changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    messages_from_dict,
    messages_to_dict,
)
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel

from langchain_tryage import ChatTryage
from langchain_tryage.portability import Recipient, portable, portable_arguments
from tests.langchain.fakes import Recording, in_order, openai, router
from tests.langchain.ways import Sync, Way
from tests.servers.openai_server import OpenAIServer
from tryage.testing import Upstream


class Known(Recording):
    """Belongs to a provider, can be bound to tools, and may fail."""

    provider: str
    error: Exception | None = None

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _get_ls_params(self, stop: Any = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(ls_provider=self.provider, ls_model_name=self.model_name)

    def _generate(self, *arguments: Any, **kwargs: Any) -> Any:
        result = super()._generate(*arguments, **kwargs)
        if self.error is not None:
            raise self.error
        return result


def claude(**kwargs: Any) -> Known:
    return Known(model_name="claude", provider="anthropic", **kwargs)


def gpt(**kwargs: Any) -> Known:
    return Known(model_name="gpt", provider="openai", **kwargs)


def recipients(**models: BaseChatModel) -> dict[str, Recipient]:
    return {name: Recipient.of(name, model) for name, model in models.items()}


ALL = recipients(
    claude=claude(),
    opus=Known(model_name="opus", provider="anthropic"),
    gpt=gpt(),
    gemini=Known(model_name="gemini", provider="google_genai"),
    local=Known(model_name="local", provider="ollama"),
)

CALL = {"name": "find", "args": {"query": "dogs"}, "id": "call_1", "type": "tool_call"}
MARK = {"cache_control": {"type": "ephemeral"}}


def said_by(name: str, content: Any, **kwargs: Any) -> AIMessage:
    metadata = {"tryage": {"model": name}, **kwargs.pop("response_metadata", {})}
    return AIMessage(content, response_metadata=metadata, **kwargs)


def fit(message: BaseMessage, name: str) -> BaseMessage:
    return portable([message], ALL[name], ALL)[0]


# What crosses

ANTHROPIC = [
    {"type": "thinking", "thinking": "SECRET", "signature": "SECRET"},
    {"type": "redacted_thinking", "data": "SECRET"},
    {"type": "text", "text": "Look: ", "citations": [{"encrypted_index": "SECRET"}]},
    {"type": "server_tool_use", "id": "SECRET", "name": "web_search", "input": {"query": "cats"}},
    {
        "type": "web_search_tool_result",
        "tool_use_id": "SECRET",
        "content": [{"title": "Cats", "url": "http://c.at", "encrypted_content": "SECRET"}],
    },
    {"type": "text", "text": "cats."},
    {"type": "tool_use", "id": "call_1", "name": "find", "input": CALL["args"]},
]
RESPONSES = [
    {"type": "reasoning", "id": "rs_SECRET", "summary": [], "encrypted_content": "SECRET"},
    {"type": "text", "text": "Look", "id": "msg_SECRET", "annotations": []},
    {
        "type": "function_call",
        "id": "fc_SECRET",
        "call_id": "call_1",
        "name": "find",
        "arguments": '{"query": "dogs"}',
    },
    {
        "type": "code_interpreter_call",
        "id": "ci_SECRET",
        "code": "print(1)",
        "outputs": [{"type": "logs", "logs": "1"}],
    },
    {"type": "image_generation_call", "id": "ig_SECRET", "result": "SECRET"},
]
V1 = [
    {"type": "reasoning", "reasoning": "SECRET", "extras": {"signature": "SECRET"}},
    {"type": "text", "text": "Look", "extras": {"signature": "SECRET"}},
    {"type": "tool_call", **CALL, "extras": {"item_id": "SECRET"}},
    {"type": "server_tool_call", "id": "SECRET", "name": "web_search", "args": {"query": "cats"}},
    {
        "type": "server_tool_result",
        "tool_call_id": "SECRET",
        "output": [{"url": "http://c.at", "encrypted_content": "SECRET"}],
    },
    {"type": "non_standard", "value": {"type": "redacted_thinking", "data": "SECRET"}},
    {"type": "image", "base64": "SECRET", "mime_type": "image/png"},
]
GEMINI = [
    {"type": "thinking", "thinking": "SECRET", "signature": "SECRET"},
    {"type": "text", "text": "Look", "extras": {"signature": "SECRET"}},
    {"type": "executable_code", "executable_code": "print(2)", "language": "PYTHON"},
    {"type": "code_execution_result", "code_execution_result": "2", "outcome": 1},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,SECRET"}},
]
BEDROCK = [
    {"type": "reasoning_content", "reasoning_content": {"text": "SECRET", "signature": "SECRET"}},
    {"type": "text", "text": "Look"},
    {"type": "tool_use", "id": "call_1", "name": "find", "input": CALL["args"]},
]

CONTENTS = {
    "Anthropic": (
        ANTHROPIC,
        "Look: \n[web_search] cats\n\n[web_search_tool_result] Cats http://c.at\ncats.",
    ),
    "OpenAI Responses": (RESPONSES, "Look\n[code_interpreter_call] print(1) 1\n"),
    "LangChain v1": (
        V1,
        "Look\n[web_search] cats\n\n[server_tool_result] http://c.at\n\n[image] \n",
    ),
    "Gemini": (
        GEMINI,
        "Look\n[executable_code] print(2)\n\n[code_execution_result] 2\n\n[image_url] \n",
    ),
    "Bedrock": (BEDROCK, "Look"),
    "refusal": ([{"type": "refusal", "refusal": "I would rather not."}], "I would rather not."),
    "compaction": ([{"type": "compaction", "content": "So far."}], "\n[compaction] So far.\n"),
    "wrapped": ([{"type": "non_standard", "value": {"type": "text", "text": "Look"}}], "Look"),
    "text with an id": ([{"type": "text", "text": "Look", "id": "msg_SECRET"}], "Look"),
    "strings": (["Look", {"type": "thinking", "thinking": "SECRET"}], "Look"),
    "thinking alone": (ANTHROPIC[:2], ""),
}


@pytest.mark.parametrize("form", CONTENTS)
@pytest.mark.parametrize("name", ["opus", "gemini", "local"])
def test_an_answer_of_another_model_is_its_text_and_its_tool_calls(form: str, name: str) -> None:
    content, text = CONTENTS[form]
    message = said_by("gpt", deepcopy(content), tool_calls=[CALL])
    taken = fit(message, name)
    assert taken.content == text
    assert isinstance(taken, AIMessage)
    assert taken.tool_calls == [CALL]
    assert "SECRET" not in taken.model_dump_json()
    assert message.content == content


@pytest.mark.parametrize("form", CONTENTS)
def test_an_answer_of_its_own_comes_back_as_it_is(form: str) -> None:
    messages: list[BaseMessage] = [said_by("gpt", CONTENTS[form][0], id="msg_1")]
    assert portable(messages, ALL["gpt"], ALL) is messages


def test_what_stands_beside_the_content_is_dropped_too() -> None:
    bound = {
        "reasoning": {"id": "rs_SECRET"},
        "reasoning_content": "SECRET",
        "reasoning_details": ["SECRET"],
        "tool_outputs": [{"id": "SECRET"}],
        "executed_tools": [{"output": "SECRET"}],
        "__openai_function_call_ids__": {"call_1": "fc_SECRET"},
        "__gemini_function_call_thought_signatures__": {"call_1": "SECRET"},
        "thought_signatures": ["SECRET"],
    }
    mine = {"parsed": 1, "refusal": None}
    metadata = {"id": "resp_SECRET", "output_version": "v1", "model_name": "gpt-9"}
    message = said_by(
        "gpt", "Hi", id="msg_SECRET", additional_kwargs=bound | mine, response_metadata=metadata
    )
    taken = fit(message, "claude")
    assert taken.content == "Hi"
    assert taken.additional_kwargs == mine
    assert taken.response_metadata == {"tryage": {"model": "gpt"}, "model_name": "gpt-9"}
    assert taken.id is None
    assert message.additional_kwargs == bound | mine


@pytest.mark.parametrize(
    ("beside", "text"),
    [
        ({"refusal": "I would rather not."}, "I would rather not."),
        ({"audio": {"id": "audio_1", "data": "AAAA", "transcript": "Hello"}}, "Hello"),
    ],
)
def test_words_beside_an_empty_content_become_the_text(beside: dict[str, Any], text: str) -> None:
    taken = fit(said_by("gpt", "", additional_kwargs=beside), "claude")
    assert (taken.content, taken.additional_kwargs) == (text, {})


def test_ids_that_no_provider_looks_up_stay() -> None:
    message = said_by("gpt", ANTHROPIC, id="lc_run--1", response_metadata={"id": "chatcmpl-1"})
    taken = fit(message, "claude")
    assert (taken.id, taken.response_metadata) == ("lc_run--1", message.response_metadata)


@pytest.mark.parametrize("content", ["Hi", "", ["Hi"], [{"type": "text", "text": "Hi"}]])
def test_plain_answers_of_others_come_back_as_they_are(content: Any) -> None:
    messages: list[BaseMessage] = [
        HumanMessage("Hello"),
        said_by("gpt", content, tool_calls=[CALL], additional_kwargs={"refusal": None}),
    ]
    assert portable(messages, ALL["claude"], ALL) is messages


# Who wrote it

AUTHORS: dict[str, tuple[dict[str, Any], bool]] = {
    "the router's name": ({"tryage": {"model": "fast"}}, True),
    "another name of the same model": ({"tryage": {"model": "cool"}}, True),
    "the same name elsewhere": ({"tryage": {"model": "hosted"}}, False),
    "another model of the provider": ({"tryage": {"model": "strong"}}, False),
    "the report before the model": ({"tryage": {"model": "strong"}, "model_name": "mini"}, False),
    "a model of another router": ({"tryage": {"model": "gone"}}, False),
    "its own under a lost name": ({"tryage": {"model": "gone"}, "model_name": "mini"}, True),
    "its provider's name": ({"model_name": "mini"}, True),
    "its provider's dated name": ({"model_name": "mini-2024-07-18"}, True),
    "its provider's numbered name": ({"model_name": "mini-001"}, True),
    "its numbered namesake": ({"model_name": "mini-001-high"}, False),
    "a bigger namesake": ({"model_name": "mini-high"}, False),
    "a later namesake": ({"model_name": "mini-4-20250514"}, False),
    "an unknown model": ({"model_name": "else", "model_provider": "openai"}, False),
    "its provider": ({"model_provider": "openai"}, True),
    "another provider": ({"model_provider": "anthropic"}, False),
    "a report that is none": ({"tryage": "fast", "model_name": "mini"}, True),
    "a name that is none": ({"tryage": {"model": 1}}, True),
    "nobody": ({}, True),
}


@pytest.mark.parametrize("kind", AUTHORS)
def test_the_writer_is_known(kind: str) -> None:
    metadata, own = AUTHORS[kind]
    models = recipients(
        fast=Known(model_name="mini", provider="openai"),
        cool=Known(model_name="mini", provider="openai"),
        strong=Known(model_name="maxi", provider="openai"),
        hosted=Known(model_name="mini", provider="azure"),
    )
    message = AIMessage(RESPONSES, response_metadata=metadata)
    messages: list[BaseMessage] = [message]
    assert (portable(messages, models["fast"], models) is messages) is own


HOMES = [
    *((block, "claude") for block in ANTHROPIC if block["type"] not in ("text", "tool_use")),
    *((block, "gpt") for block in RESPONSES if block["type"] not in ("text", "function_call")),
    *((block, None) for block in V1 if block["type"].startswith("server")),
    ({"type": "non_standard", "value": ANTHROPIC[0]}, "claude"),
    ({"type": "executable_code", "executable_code": "print(2)"}, "gemini"),
]


@pytest.mark.parametrize(("block", "home"), HOMES)
def test_without_a_writer_the_blocks_tell(block: dict[str, Any], home: str | None) -> None:
    messages: list[BaseMessage] = [AIMessage([{"type": "text", "text": "Hi"}, block])]
    for name in ("claude", "gpt", "gemini", "local"):
        assert (portable(messages, ALL[name], ALL) is messages) is (name == home)


def test_without_a_writer_blocks_that_all_take_stay() -> None:
    blocks = [
        {"type": "text", "text": "Hi"},
        {"type": "image", "base64": "AAAA", "mime_type": "image/png"},
        {"type": "tool_use", "id": "call_1", "name": "find", "input": CALL["args"]},
        {"type": "tool_call", **CALL},
        {"type": "function_call", "name": "find"},
        {"type": "invalid_tool_call", "name": "find"},
    ]
    messages: list[BaseMessage] = [AIMessage(blocks)]
    for recipient in ALL.values():
        assert portable(messages, recipient, ALL) is messages


def test_two_routers_among_the_models_are_not_one_model() -> None:
    models = recipients(left=router(claude(), gpt()), right=router(claude(), gpt()))
    messages: list[BaseMessage] = [said_by("left", ANTHROPIC), SystemMessage([{**MARK}])]
    assert portable(messages, models["left"], models) is messages
    assert portable(messages, models["right"], models)[0].content == CONTENTS["Anthropic"][1]


# Marks for caches

HOST = {
    "anthropic": True,
    "anthropic-bedrock": True,
    "amazon_bedrock": True,
    "openrouter": True,
    "openai": False,
    "azure": False,
    "google_genai": False,
    "ollama": False,
}


@pytest.mark.parametrize("provider", HOST)
def test_cache_marks_reach_only_those_that_know_them(provider: str) -> None:
    text = {"type": "text", "text": "Hi"}
    result = {"type": "tool_result", "tool_use_id": "1", "content": [{**text, **MARK}]}
    messages: list[BaseMessage] = [
        SystemMessage([{**text, **MARK}]),
        HumanMessage([{**text, "extras": {**MARK, "page": 1}}, "and", {**result, **MARK}]),
        said_by("x", [{**text, **MARK}], tool_calls=[CALL]),
        ToolMessage([{**text, "metadata": MARK}], tool_call_id="call_1"),
        HumanMessage("Hi"),
    ]
    before = deepcopy(messages)
    models = recipients(x=Known(model_name="x", provider=provider))
    taken = portable(messages, models["x"], models)
    assert messages == before
    if HOST[provider]:
        assert taken is messages
        return
    assert [message.content for message in taken] == [
        [text],
        [{**text, "extras": {"page": 1}}, "and", {**result, "content": [text]}],
        [text],
        [{**text, "metadata": {}}],
        "Hi",
    ]
    assert taken[4] is messages[4]


def test_blocks_that_are_but_a_mark_go() -> None:
    point = {"cachePoint": {"type": "default"}}
    message = SystemMessage([{"type": "text", "text": "Hi"}, point])
    assert fit(message, "claude").content == [{"type": "text", "text": "Hi"}]


ARGUMENTS: dict[str, dict[str, Any]] = {
    "anthropic": MARK,
    "openai": {"prompt_cache_key": "k", "prompt_cache_retention": "24h"},
    "fireworks": {"prompt_cache_key": "k", "extra_headers": {"X-Session-Affinity": "k"}},
    "ollama": {},
}


@pytest.mark.parametrize("provider", ARGUMENTS)
def test_cache_arguments_reach_only_those_that_know_them(provider: str) -> None:
    recipient = Recipient.of("x", Known(model_name="x", provider=provider))
    tool = {"type": "function", "function": {"name": "add"}}
    headers = {"X-Session-Affinity": "k", "x-mine": "1"}
    given: dict[str, Any] = {
        "seed": 1,
        "prompt_cache_key": "k",
        "prompt_cache_retention": "24h",
        "extra_headers": headers,
        "tools": [{**tool, **MARK}],
        **MARK,
    }
    before = deepcopy(given)
    taken = portable_arguments(given, recipient)
    assert given == before
    mine = ARGUMENTS[provider]
    assert taken == {
        "seed": 1,
        **mine,
        "extra_headers": headers if "extra_headers" in mine else {"x-mine": "1"},
        "tools": [{**tool, **MARK}] if provider == "anthropic" else [tool],
    }
    assert portable_arguments(taken, recipient) is taken


# Whatever the conversation

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=4,
)
KINDS = [
    *(block["type"] for blocks in (ANTHROPIC, RESPONSES, V1, GEMINI, BEDROCK) for block in blocks),
    *("refusal", "unheard_of", "tool_result", "mcp_call", "file"),
]
KEYS = ("id", "thinking", "reasoning", "signature", "name", "input", "output", "extras", "url")
TEXT_BLOCKS = st.builds(
    lambda text, more: {**more, "type": "text", "text": text},
    st.text(max_size=20),
    st.dictionaries(st.sampled_from(["id", "index", "annotations", "cache_control"]), JSON),
)
OTHER_BLOCKS = st.builds(
    lambda kind, more: {**more, "type": kind},
    st.sampled_from([kind for kind in KINDS if kind not in ("text", "non_standard")]),
    st.fixed_dictionaries(
        {}, optional={key: st.text(max_size=8) if key == "name" else JSON for key in KEYS}
    ),
)
WRAPPED = st.builds(lambda block: {"type": "non_standard", "value": block}, OTHER_BLOCKS)
CONTENT = st.text(max_size=20) | st.lists(
    st.text(max_size=20) | TEXT_BLOCKS | OTHER_BLOCKS | WRAPPED, max_size=5
)
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "tryage": st.fixed_dictionaries({"model": st.sampled_from([*ALL, "gone"])}),
        "model_name": st.sampled_from([*ALL, "gpt-2024-07-18", "gone"]),
        "model_provider": st.sampled_from(["openai", "anthropic", "google_genai", "else"]),
        "output_version": st.just("v1"),
        "id": st.sampled_from(["resp_1", "chatcmpl-1"]),
    },
)
BESIDE = st.dictionaries(
    st.sampled_from(["reasoning", "reasoning_content", "tool_outputs", "__ids__", "mine"]), JSON
)
ANSWERS = st.builds(
    AIMessage,
    content=CONTENT,
    tool_calls=st.lists(st.just(CALL), max_size=2),
    additional_kwargs=BESIDE,
    response_metadata=METADATA,
    id=st.sampled_from([None, "msg_1", "lc_run--1"]),
)
OTHERS = st.builds(HumanMessage, content=CONTENT) | st.builds(SystemMessage, content=CONTENT)
CONVERSATIONS = st.lists(ANSWERS | OTHERS, max_size=4)
NAMES = st.sampled_from(list(ALL))


def texts_of(message: BaseMessage) -> list[str]:
    content = message.content
    blocks = [content] if isinstance(content, str) else content
    return [
        block if isinstance(block, str) else str(block["text"])
        for block in blocks
        if isinstance(block, str) or block.get("type") == "text"
    ]


@given(CONVERSATIONS, NAMES)
def test_text_and_tool_calls_survive_and_nothing_is_changed(
    messages: list[AnyMessage], name: str
) -> None:
    conversation: list[BaseMessage] = [*messages]
    before = deepcopy(conversation)
    taken = portable(conversation, ALL[name], ALL)
    assert conversation == before
    assert len(taken) == len(before)
    for new, old in zip(taken, before, strict=True):
        assert type(new) is type(old)
        rest = "".join(texts_of(new))
        for text in texts_of(old):
            assert text in rest
            rest = rest[rest.index(text) + len(text) :]
        if isinstance(old, AIMessage):
            assert isinstance(new, AIMessage)
            assert new.tool_calls == old.tool_calls


@given(CONVERSATIONS, NAMES)
def test_what_was_made_portable_is(messages: list[AnyMessage], name: str) -> None:
    once = portable([*messages], ALL[name], ALL)
    assert portable(once, ALL[name], ALL) is once


@given(CONVERSATIONS, NAMES)
def test_its_own_conversation_comes_back_as_it_is(messages: list[AnyMessage], name: str) -> None:
    own: list[BaseMessage] = [
        said_by(name, message.content) if isinstance(message, AIMessage) else message
        for message in messages
    ]
    if "cache_control" not in json.dumps(messages_to_dict(own)):
        assert portable(own, ALL[name], ALL) is own


# Through the router

FLAGS = {"configurable": {"tryage_flags": "only gpt"}}
TALK: list[BaseMessage] = [
    SystemMessage([{"type": "text", "text": "Be brief.", **MARK}]),
    HumanMessage("Hi"),
    said_by("claude", ANTHROPIC, tool_calls=[CALL]),
    ToolMessage("2", tool_call_id="call_1"),
    HumanMessage("Go on"),
]
TAKEN = ["Be brief.", "Hi", CONTENTS["Anthropic"][1], "2", "Go on"]


async def typed_events(way: Way, model: ChatTryage) -> list[Any]:
    if isinstance(way, Sync):
        return list(model.stream_events(TALK, version="v3"))
    return [event async for event in await model.astream_events(TALK, version="v3")]


Ask = Callable[[Way, ChatTryage], Any]
ENTRIES: dict[str, Ask] = {
    "invoke": lambda way, model: way.invoke(model, TALK),
    "stream": lambda way, model: way.stream(model, TALK),
    "batch": lambda way, model: way.batch(model, [TALK]),
    "generate": lambda way, model: way.generate(model, [TALK]),
    "_generate": lambda way, model: way.inner_generate(model, TALK),
    "_stream": lambda way, model: way.inner_stream(model, TALK),
    "typed events": typed_events,
    "with_structured_output": lambda way, model: way.invoke(
        model.with_structured_output(Answer, include_raw=True), TALK
    ),
    "with_structured_output in a stream": lambda way, model: way.stream(
        model.with_structured_output(Answer), TALK
    ),
    "bind_tools": lambda way, model: way.invoke(model.bind_tools([Answer]), TALK),
}


class Answer(BaseModel):
    """An answer."""

    text: str


def received(model: Known) -> list[BaseMessage]:
    ((messages, _, _),) = model.received
    return list(messages)


@pytest.mark.parametrize("entry", ENTRIES)
async def test_the_next_model_gets_a_conversation_that_it_can_take(way: Way, entry: str) -> None:
    first, second = claude(error=Upstream(503)), gpt()
    before = messages_from_dict(messages_to_dict(TALK))
    await ENTRIES[entry](way, router(first, second))
    assert received(first) == before  # its own, marks and all
    taken = received(second)
    assert [message.text for message in taken] == TAKEN
    assert "SECRET" not in str(taken)
    assert "cache_control" not in str(taken)
    assert before == TALK


async def test_a_decision_for_another_model_does_the_same(way: Way) -> None:
    first, second = claude(), gpt()
    model = router(first, second)
    await way.invoke(model, TALK, FLAGS)
    assert [message.text for message in received(second)] == TAKEN
    assert not first.received


async def test_the_messages_themselves_reach_a_model_that_spoke_alone(way: Way) -> None:
    model = claude()
    await way.invoke(router(model), TALK)
    assert all(new is old for new, old in zip(received(model), TALK, strict=True))


async def test_an_alias_is_the_same_model(way: Way) -> None:
    model = claude()
    routed = ChatTryage({"fast": model}, predictor=in_order("fast"))
    talk = [HumanMessage("Hi"), AIMessage(ANTHROPIC, response_metadata={"model_name": "claude"})]
    await way.invoke(routed, [*talk, HumanMessage("Go on")])
    assert received(model)[1] is talk[1]


async def test_what_one_model_says_another_is_told(way: Way) -> None:
    model = router(claude(), gpt())
    answer = await way.invoke(model, "Hi")
    thought = answer.model_copy(update={"content": ANTHROPIC})
    talk = [HumanMessage("Hi"), thought, HumanMessage("Go on")]
    await way.invoke(model, talk, FLAGS)
    second = model.candidate("gpt")
    assert isinstance(second, Known)
    assert received(second)[1].content == CONTENTS["Anthropic"][1]


async def test_cache_arguments_follow_the_model(way: Way) -> None:
    first, second = claude(error=Upstream(503)), gpt()
    model = router(first, second)
    tool = {**convert_to_openai_tool(Answer), **MARK}
    bound = model.bind_tools([tool])
    await way.invoke(bound, "Hi", prompt_cache_key="k", seed=1, **MARK)
    assert first.received[0][2] == {"seed": 1, "tools": [tool], **MARK}
    plain = convert_to_openai_tool(Answer)
    assert second.received[0][2] == {"seed": 1, "tools": [plain], "prompt_cache_key": "k"}


async def test_a_real_client_sends_nothing_of_another_provider(
    way: Way, fresh_server: OpenAIServer
) -> None:
    model = router(claude(error=Upstream(503)), openai(fresh_server, "b"))
    marked = {**convert_to_openai_tool(Answer), **MARK}
    await way.invoke(model.bind_tools([marked]), TALK, **MARK)
    (body,) = fresh_server.requests["b"]
    assert "SECRET" not in json.dumps(body)
    assert "cache_control" not in json.dumps(body)
    assert body["messages"][2]["content"] == CONTENTS["Anthropic"][1]
    assert body["messages"][2]["tool_calls"][0]["id"] == body["messages"][3]["tool_call_id"]
