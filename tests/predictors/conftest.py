"""Small weights for the predictors that need some, made here: no network, no download."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tryage import predictors
from tryage.predictors import Predictor

QUILL = Path(__file__).parents[1] / "servers" / "weights" / "quill"

WORDS = (
    "write a python function that sorts list of numbers in place what is the sum first odd "
    "integers prove it by induction tell me cheerful story about friends who go to sea prompt def "
    "return ? : ( ) . , ##s ##d ##n 0 1 2 3 4 5 6 7 8 9 ##0 ##1 ##2 ##3 ##4 ##5 ##6 ##7 ##8 ##9"
)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory) -> str:
    """A folder with a BERT of two layers, 32 wide, its weights random."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny_bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(WORDS.split())]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    tokenizer = BertTokenizerFast.from_pretrained(folder, local_files_only=True)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def make(request) -> Callable[..., Predictor]:
    """Makes a predictor by its name; those that need a model of their own get a small one."""

    def make(name: str, **fields: Any) -> Predictor:
        small: dict[str, Any] = {}
        if name in ("bert", "perceptive"):
            small = {"backbone": request.getfixturevalue("tiny_bert"), "learning_rate": 1e-3}
        elif name == "causal_lm":
            small = {"backbone": str(QUILL), "learning_rate": 5e-4, "max_tokens": 128}
            small["check_every"] = 4
        return predictors.get(name)(**{**small, **fields})

    return make
