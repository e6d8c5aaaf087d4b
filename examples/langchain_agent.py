"""An agent with tools whose model calls are routed, and what its run cost.

    python examples/langchain_agent.py

Runs offline: the two models follow a script, first a tool call, then the answer. Put real models
in their place.
"""

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage

from langchain_tryage import ChatTryage, SpendHandler
from langchain_tryage.testing import FunctionChatModel


class Scripted(FunctionChatModel):
    """Asks for the population, then tells it."""

    def answer(self, messages: list[BaseMessage]) -> AIMessage:
        last = messages[-1]
        if last.type == "tool":
            return AIMessage(f"There live {last.text} people.")
        call = {"name": "population", "args": {"city": "Rome"}, "id": f"call-{len(messages)}"}
        return AIMessage("", tool_calls=[call])


def population(city: str) -> int:
    """Return how many people live in a city."""
    return {"Rome": 2_750_000}[city]


models = [Scripted(str, model_name=name) for name in ("gpt-5", "gpt-4o-mini")]
llm = ChatTryage(models, flags="cost=0.1; stickiness=0.05")
agent = create_agent(llm, tools=[population])

handler = SpendHandler(reference="gpt-5")
question = {"messages": [("user", "How many people live in Rome?")]}
for wishes in ("cost=0", "cheapest"):
    config = {"configurable": {"tryage_flags": wishes}, "callbacks": [handler]}
    print(f"flags: {wishes}")
    for message in agent.invoke(question, config)["messages"]:
        model = message.response_metadata.get("tryage", {}).get("model", "")
        print(f"  {message.type:6} {model:12} {message.text or message.tool_calls[0]['name']}")
print(handler.spend)
