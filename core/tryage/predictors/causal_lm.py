"""A fine-tuned causal language model that is asked how well a prompt will be answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tryage.predictors.readings import Grades, Listwise, PerModel, Reading
from tryage.predictors.transformer import TransformerPredictor

_QUESTION = (
    "{prompt}\n\n"
    "Someone asks a language model the above. From [[1]], useless, to [[5]], as good as can be, "
    "the grade of its answer is"
)


@dataclass(eq=False)
class CausalLMPredictor(TransformerPredictor):
    """Predicts quality with a fine-tuned causal language model.

    RouteLLM (Ong et al., *RouteLLM: Learning to Route LLMs with Preference Data*, arXiv 2406.18665)
    has a Llama read an instruction and the prompt, and write the grade that the weak model's answer
    would get as one of five new tokens, [[1]] to [[5]]; a prompt's score is the probability of a
    grade below [[4]]. That is `loss="grades"`, for tables of two models, and `win_probability`. For
    any number of models, `loss="bce"` and `loss="listwise"` read a score per model off the same
    place, the hidden state from which the next token would come.

    RouteLLM trains 8 billion parameters at a rate of 1e-6; the defaults here suit small models.
    The other attributes are those of `TransformerPredictor`.

    Attributes:
        backbone: A folder that holds a Hugging Face causal model, or a name on their hub.
        loss: `bce`, `listwise` or `grades`.
        batch_size: Prompts in a step.

    Example:
        CausalLMPredictor("Qwen/Qwen3-0.6B", loss="grades").fit(table.only(["strong", "weak"]))
    """

    name: ClassVar[str] = "causal_lm"
    readings: ClassVar[Mapping[str, type[Reading]]] = {
        "bce": PerModel,
        "listwise": Listwise,
        "grades": Grades,
    }

    backbone: str = "HuggingFaceTB/SmolLM2-135M"
    batch_size: int = 8

    @property
    def _pooling(self) -> str:
        return "last"

    def _wrap(self, prompt: str) -> str:
        return _QUESTION.format(prompt=prompt)
