"""Masked language models behind one chat model: the paper's router on the experts that ship.

The router is a small encoder that predicts each expert's loss on a passage with masks. Here it
learns from a few passages, in seconds; `tryage paper` does the same at length.
"""

import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from langchain_core.prompts import ChatPromptTemplate

from tryage import ModelCard, PerformanceTable
from tryage.experts import load_experts, load_passages
from tryage.paper.chains import chat_tryage
from tryage.paper.routers import backbone_of
from tryage.predictors.perceptive import PerceptivePredictor


def some(split, n):
    """A few passages of each domain."""
    by_domain = defaultdict(list)
    for passage in load_passages(split):
        by_domain[passage.domain].append(passage)
    return [passage for passages in by_domain.values() for passage in passages[:n]]


experts = load_experts()
passages = some("train", 8)
losses = np.stack([expert.losses(passages) for expert in experts], axis=1)
table = PerformanceTable.from_scores(
    prompts=[passage.text for passage in passages],
    models=[expert.name for expert in experts],
    scores=np.exp(-losses),
    domains=[passage.domain for passage in passages],
)

generalist = next(expert for expert in experts if expert.name == "generalist")
with tempfile.TemporaryDirectory() as folder:
    backbone = backbone_of(generalist, Path(folder))
    router = PerceptivePredictor(str(backbone), epochs=1, learning_rate=3e-5).fit(table)

cards = [ModelCard(name=e.name, parameters=e.parameters, security="local") for e in experts]
chat = chat_tryage(experts, cards, router, prompt_flags=True)
chain = ChatPromptTemplate.from_messages([("human", "{passage}")]) | chat

for passage in some("test", 1):
    answer = chain.invoke({"passage": passage.text})
    print(f"{passage.domain} → {answer.response_metadata['tryage']['model']}")

answer = chain.invoke({"passage": f"[Flag: Smallest model] {passage.text}"})
print(f"smallest → {answer.response_metadata['tryage']['model']}")
