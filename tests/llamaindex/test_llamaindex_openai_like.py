"""Over HTTP: OpenAILike as candidates, against a server that speaks OpenAI's API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ImageBlock, TextBlock
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.prompts import PromptTemplate
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

from llamaindex_tryage import Tryage
from tests.llamaindex.conftest import prefers
from tests.llamaindex.entries import asked, every_entry, every_stream, text_of, told
from tests.servers.openai_server import USAGE, OpenAIServer
from tryage import AllModelsFailed, ModelCard


@pytest.fixture(scope="module")
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as running:
        yield running


@pytest.fixture
async def clients() -> AsyncIterator[dict[str, Any]]:
    """Connections that are closed after the test."""
    with httpx.Client() as sync:
        async with httpx.AsyncClient() as asynchronous:
            yield {"http_client": sync, "async_http_client": asynchronous}


@pytest.fixture
def connect(server, clients):
    """Makes a router over models of the server, preferred in the order given."""
    server.requests.clear()

    def router(*names: str, cards=(), flags=None, **settings) -> Tryage:
        llms = [
            OpenAILike(
                model=name,
                api_base=server.base_url,
                api_key="none",
                is_chat_model=True,
                is_function_calling_model=True,
                max_retries=0,
                **clients,
                **settings,
            )
            for name in names
        ]
        return Tryage(llms=llms, cards=cards, flags=flags, predictor=prefers(*names))

    return router


@every_entry
async def test_the_best_answers_over_http(entry, connect, server):
    responses = await entry(connect("large", "small"), "Why?")
    assert text_of(responses) == "large heard: Why?"
    assert server.calls("small") == 0
    assert "tryage" not in str(server.requests)


@every_entry
@pytest.mark.parametrize("broken", ["boom-429", "boom-500", "boom-opening", "boom-context"])
async def test_the_next_takes_over(entry, broken, connect, server):
    responses = await entry(connect(broken, "small"), "Why?")
    assert text_of(responses) == "small heard: Why?"
    assert [attempt["model"] for attempt in told(responses)["attempts"]] == [broken, "small"]
    assert server.calls(broken) == 1


@every_entry
async def test_a_bad_request_is_not_repeated(entry, connect, server):
    with pytest.raises(Exception, match="Invalid value") as raised:
        await entry(connect("boom-400", "small"), "Why?")
    assert raised.value.status_code == 400
    assert server.calls("small") == 0


@every_entry
async def test_all_down_names_every_cause(entry, connect):
    with pytest.raises(AllModelsFailed) as raised:
        await entry(connect("boom-429", "boom-500"), "Why?")
    assert [error.status_code for error in raised.value.exceptions] == [429, 500]


@every_stream
async def test_a_stream_that_breaks_on_the_way_raises(entry, connect, server):
    with pytest.raises(Exception, match="peer closed|disconnected|incomplete"):
        await entry(connect("boom-midstream", "small"), "Tell me a long story, please")
    assert server.calls("small") == 0


@every_entry
async def test_tokens_are_the_servers(entry, connect):
    handler = TokenCountingHandler()
    llm = connect("large", additional_kwargs={"stream_options": {"include_usage": True}})
    if "stream" not in entry.__name__:
        llm = connect("large")
    llm.callback_manager = CallbackManager([handler])
    await entry(llm, "Why?")
    assert [c.total_token_count for c in handler.llm_token_counts] == [USAGE["total_tokens"]]


async def test_images_go_to_a_model_that_sees(connect, server):
    cards = [
        ModelCard(name="blind", capabilities={"tools"}),
        ModelCard(name="seeing", capabilities={"vision"}),
    ]
    image = ImageBlock(url="http://127.0.0.1/x.png")
    message = ChatMessage(role="user", blocks=[TextBlock(text="What is this?"), image])
    connect("blind", "seeing", cards=cards).chat([message])
    (body,) = server.requests["seeing"]
    assert body["messages"][0]["content"][1]["type"] == "image_url"


class Animal(BaseModel):
    """An animal."""

    name: str


@pytest.mark.parametrize("by_schema", [False, True])
async def test_structured_output_takes_the_llms_own_road(by_schema, connect, server):
    llm = connect("large", should_use_structured_outputs=by_schema)
    prompt = PromptTemplate('Name an animal: "{name}"')
    assert isinstance(llm.structured_predict(Animal, prompt, name="cat"), Animal)
    assert isinstance(await llm.astructured_predict(Animal, prompt, name="cat"), Animal)
    for body in server.requests["large"]:
        assert ("response_format" in body) == by_schema
        assert ("tools" in body) != by_schema
    assert list(llm.stream_structured_predict(Animal, prompt, name="cat"))
    assert [a async for a in await llm.astream_structured_predict(Animal, prompt, name="cat")]


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
@pytest.mark.parametrize("streaming", [False, True])
async def test_an_agent_uses_tools_and_moves_on_from_a_broken_model(streaming, connect, server):
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    llm = connect("boom-500", "large", "small")
    agent = FunctionAgent(tools=[add], llm=llm, streaming=streaming)
    output = await agent.run("Add 2 and 3", memory=ChatMemoryBuffer.from_defaults())
    assert [call.tool_name for call in output.tool_calls] == ["add"]
    assert (server.calls("boom-500"), server.calls("large"), server.calls("small")) == (1, 2, 0)
    assert "answered_by" not in str(server.requests)
    assert "tryage" not in str(server.requests)


async def test_a_hundred_calls_at_once(connect):
    llm = connect("large", "small")
    answers = await asyncio.gather(*(llm.achat(asked(f"n{i}")) for i in range(100)))
    assert [a.message.content for a in answers] == [f"large heard: n{i}" for i in range(100)]
