"""One chat model made of two, in a chain: which model answers what.

    python examples/langchain_chat.py

Runs offline: the models are functions that go by the names of real ones, so that Tryage knows
what those can and cost. Put "openai:gpt-5" and "openai:gpt-4o-mini" in their place.
"""

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from langchain_tryage import ChatTryage
from langchain_tryage.testing import FunctionChatModel

large = FunctionChatModel(lambda text: f"gpt-5 on: {text}", model_name="gpt-5")
small = FunctionChatModel(lambda text: f"gpt-4o-mini on: {text}", model_name="gpt-4o-mini")
llm = ChatTryage([large, small], flags="cost=0.1")

for question in (
    "Hi! How are you today?",
    "Prove that the set of real numbers in [0, 1] is uncountable.",
):
    answer = llm.invoke(question)
    told = answer.response_metadata["tryage"]
    print(
        f"{told['model']:12} {told['quality']:.3f} predicted, ${told['cost_usd']:.6f}: {question}"
    )

chain = ChatPromptTemplate.from_template("Explain {topic}.") | llm | StrOutputParser()
for part in chain.stream({"topic": "entropy"}):
    print(part, end="")
print()

decision = llm.router.route("Explain entropy.")
for ranked in decision.ranking:
    print(f"  {ranked.model:12} objective {ranked.objective:.3f}, {ranked.terms}")
