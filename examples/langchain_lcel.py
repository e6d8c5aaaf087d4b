"""The decision as a step of a chain, with a chain of its own behind each model.

    python examples/langchain_lcel.py

Runs offline; put real models in the place of the functions.
"""

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RouterRunnable, RunnablePassthrough

from langchain_tryage import TryageRouter
from langchain_tryage.testing import FunctionChatModel

chains = {
    "gpt-5": ChatPromptTemplate.from_template("Think it over: {input}")
    | FunctionChatModel(lambda text: f"gpt-5, asked {text!r}", model_name="gpt-5"),
    "gpt-4o-mini": ChatPromptTemplate.from_template("Answer in one line: {input}")
    | FunctionChatModel(lambda text: f"gpt-4o-mini, asked {text!r}", model_name="gpt-4o-mini"),
}
router = TryageRouter(list(chains), flags="cost=0.1", as_key=True)
chain = {"key": router, "input": RunnablePassthrough()} | RouterRunnable(chains) | StrOutputParser()

questions = ["Hi there!", "Derive the Euler-Lagrange equation from Hamilton's principle."]
for answer in chain.batch(questions):
    print(answer)
