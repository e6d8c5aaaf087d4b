"""A graph of two nodes that want different things of one chat model.

    python examples/langchain_flags.py

Runs offline; put real models in the place of the functions.
"""

from langgraph.graph import START, MessagesState, StateGraph

import tryage
from langchain_tryage import ChatTryage
from langchain_tryage.testing import FunctionChatModel

llm = ChatTryage(
    [
        FunctionChatModel(lambda text: f"A careful plan for: {text}", model_name="gpt-5"),
        FunctionChatModel(lambda text: "The plan, in fewer words.", model_name="gpt-4o-mini"),
    ]
)


def plan(state: MessagesState) -> dict:
    """The best model plans: the flags are given in the config of the call."""
    wishes = {"configurable": {"tryage_flags": "cost=0"}}
    return {"messages": [llm.invoke(state["messages"], wishes)]}


def polish(state: MessagesState) -> dict:
    """The cheapest model polishes: the flags are those of the block."""
    with tryage.flags("cheapest"):
        return {"messages": [llm.invoke(state["messages"])]}


graph = StateGraph(MessagesState).add_node(plan).add_node(polish)
app = graph.add_edge(START, "plan").add_edge("plan", "polish").compile()
state = app.invoke({"messages": [("user", "Plan three days in Rome.")]})
for message in state["messages"][1:]:
    print(f"{message.response_metadata['tryage']['model']:12} {message.text}")
