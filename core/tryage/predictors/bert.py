"""A fine-tuned encoder, with a number per model or RouteLLM's three classes on top."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tryage.errors import UsageError
from tryage.predictors.readings import Listwise, PerModel, Reading, WinTieLoss
from tryage.predictors.transformer import TransformerPredictor


@dataclass(eq=False)
class BertPredictor(TransformerPredictor):
    """Predicts quality with a fine-tuned encoder.

    RouteLLM (Ong et al., *RouteLLM: Learning to Route LLMs with Preference Data*, arXiv 2406.18665)
    fine-tunes BERT to tell a win of the strong model, a tie and a win of the weak one apart, and
    takes the probability of the first for the prompt's score: `loss="pairwise3"`, for tables of
    two models, and `win_probability`. For any number of models, `loss="bce"` predicts each one's
    score, as CARROT (arXiv 2502.03261) does; `loss="listwise"` also looks at which is best.

    Reading a prompt of 70 tokens takes about 20 ms on one core with the default backbone. The
    other attributes are those of `TransformerPredictor`.

    Attributes:
        backbone: A folder that holds a Hugging Face encoder, or a name on their hub.
        loss: `bce`, `listwise` or `pairwise3`.
        pooling: What the head looks at: the `mean` of the tokens, or the first one (`cls`).

    Example:
        BertPredictor("FacebookAI/roberta-base", pooling="cls").fit(table, checkpoints="run-1")
    """

    name: ClassVar[str] = "bert"
    readings: ClassVar[Mapping[str, type[Reading]]] = {
        "bce": PerModel,
        "listwise": Listwise,
        "pairwise3": WinTieLoss,
    }

    backbone: str = "sentence-transformers/all-MiniLM-L6-v2"
    pooling: str = "mean"

    @property
    def _pooling(self) -> str:
        if self.pooling not in ("mean", "cls"):
            raise UsageError(f"pooling={self.pooling!r} does not exist; use 'mean' or 'cls'.")
        return self.pooling
