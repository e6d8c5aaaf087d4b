"""One LLM made of two, and which of them answers what.

    python examples/llamaindex_llm.py

Runs offline: the LLMs are functions that go by the names of real ones, so that Tryage knows what
those can and cost. Put OpenAI("gpt-5") and OpenAI("gpt-4o-mini") in their place.
"""

import tryage
from llamaindex_tryage import Tryage
from llamaindex_tryage.testing import FunctionLLM

large = FunctionLLM(function=lambda text: f"gpt-5 on: {text}", model_name="gpt-5")
small = FunctionLLM(function=lambda text: f"gpt-4o-mini on: {text}", model_name="gpt-4o-mini")
llm = Tryage(llms=[large, small], flags="cost=0.1")

for question in (
    "Hi! How are you today?",
    "Prove that the set of real numbers in [0, 1] is uncountable.",
):
    told = llm.complete(question).additional_kwargs["tryage"]
    print(f"{told['model']:12} {told['quality']:.3f} predicted: {question}")

with tryage.flags("only gpt-5"):
    for part in llm.stream_complete("Explain entropy."):
        print(part.delta, end="")
    print()
