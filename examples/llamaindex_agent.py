"""An agent whose tool calls go to one LLM and whose answer comes from another.

    python examples/llamaindex_agent.py

Runs offline: the LLMs follow a script, first a tool call, then the answer. Put real LLMs in their
place.
"""

import asyncio

from llama_index.core.agent.workflow import AgentOutput, FunctionAgent
from llama_index.core.base.llms.types import TextBlock, ToolCallBlock
from llama_index.core.llms import ChatMessage
from llama_index.core.llms.mock import MockFunctionCallingLLM

from llamaindex_tryage import Tryage
from tryage import ModelCard


def population(city: str) -> int:
    """Return how many people live in a city."""
    return {"Rome": 2_750_000}[city]


def script(messages: list[ChatMessage], **kwargs: object) -> ChatMessage:
    """Ask for the population, then tell it."""
    if messages[-1].role == "tool":
        blocks = [TextBlock(text=f"There live {messages[-1].content} people.")]
    else:
        call = {"tool_kwargs": {"city": "Rome"}, "tool_name": "population", "tool_call_id": "1"}
        blocks = [ToolCallBlock(**call)]
    return ChatMessage(role="assistant", blocks=blocks)


async def main() -> None:
    names = ("caller", "writer")
    llm = Tryage(
        llms={name: MockFunctionCallingLLM(response_generator=script) for name in names},
        cards=[ModelCard(name=name, capabilities={"tools"}) for name in names],
        flags={"tools": "only caller", "answer": "only writer"},
    )
    handler = FunctionAgent(tools=[population], llm=llm, streaming=False).run("Population of Rome?")
    async for event in handler.stream_events():
        if type(event) is AgentOutput:
            author = event.response.additional_kwargs["tryage"]["model"]
            print(f"{author:8} {event.response.content or event.tool_calls[0].tool_name}")


asyncio.run(main())
