"""Trains the two bases that the paper's experts start from.

Run it as ``python -m tryage.training.paper_bases --text DIR --out DIR``. DIR holds the texts as
Parquet files; the standard library of the running Python is added to them.

The large base is the demo's generalist that learns on, with twice as many positions. The small one
starts from random layers, and from word embeddings that a factorisation of co-occurrences gives
(Levy and Goldberg, 2014): far fewer numbers than the large one's, which cannot be cut that far.
Both read the documents that the demo's experts learned from, and no others.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from scipy.sparse import csr_matrix
from sklearn.utils.extmath import randomized_svd
from transformers import ElectraConfig, ElectraForMaskedLM

from tryage.experts import load_experts, load_tokenizer, pack
from tryage.paper.bases import LEARNED_FILE, OUTPUT, TABLE
from tryage.paper.prompts import Passage
from tryage.paper.settings import MAX_TOKENS, ExpertPlan
from tryage.paper.train import train
from tryage.training.expert_text import (
    Document,
    cut_passages,
    fingerprint,
    read_documents,
    split_documents,
)

SEED = 20230822
PLANS = (
    ExpertPlan(name="large", base="large", steps=1400, rate=3e-4),
    ExpertPlan(name="small", base="small", steps=8000, rate=2e-3),
)
_SMALL = {"embedding_size": 64, "hidden_size": 192, "num_hidden_layers": 1}
_SMALL |= {"num_attention_heads": 6, "intermediate_size": 256}
_WINDOW = 4
_TOKENS = (128, 254)


def start(plan: ExpertPlan, passages: Sequence[Passage]) -> ElectraForMaskedLM:
    """Returns a base before its training."""
    generalist = next(e.model for e in load_experts() if e.name == "generalist")
    config = ElectraConfig.from_dict(generalist.config.to_dict())
    config.max_position_embeddings = MAX_TOKENS
    config._attn_implementation = "eager"
    if plan.base == "large":
        model = ElectraForMaskedLM(config)
        state = {k: v for k, v in generalist.state_dict().items() if "position_ids" not in k}
        name = "electra.embeddings.position_embeddings.weight"
        state[name] = state[name].repeat(MAX_TOKENS // len(state[name]), 1)
        model.load_state_dict(state, strict=False)
        model.tie_weights()
        model.get_input_embeddings().requires_grad_(False)
        return model
    for key, value in _SMALL.items():
        setattr(config, key, value)
    model = ElectraForMaskedLM(config)
    table, logarithms = _words(passages, _SMALL["embedding_size"])
    body = model.electra
    with torch.no_grad():
        body.embeddings.word_embeddings.weight.copy_(table)
        body.embeddings.position_embeddings.weight.normal_(0, 0.1)
        torch.nn.init.orthogonal_(body.embeddings_project.weight)
        # What goes in comes out again, until the layers know better.
        model.generator_predictions.dense.weight.copy_(body.embeddings_project.weight.T)
        model.generator_predictions.LayerNorm.weight.fill_(0.3)
        model.generator_lm_head.bias.copy_(logarithms)
    model.tie_weights()
    return model


def _words(passages: Sequence[Passage], width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns embeddings of all tokens, (n_tokens, width), and the logarithms of their shares."""
    tokenizer = load_tokenizer()
    n = tokenizer.get_vocab_size()
    encoded = tokenizer.encode_batch_fast([passage.text for passage in passages])
    ids = np.concatenate([np.array(encoding.ids) for encoding in encoded])
    pairs = csr_matrix((n, n))
    for apart in range(1, _WINDOW + 1):
        near = np.full(len(ids) - apart, 1 / apart)
        pairs += csr_matrix((near, (ids[:-apart], ids[apart:])), shape=(n, n))
    cells = (pairs + pairs.T).tocoo()
    shares = np.bincount(ids, minlength=n) + 0.1
    shares /= shares.sum()
    lift = np.log(cells.data / cells.data.sum() / (shares[cells.row] * shares[cells.col]))
    more = lift > 0
    matrix = csr_matrix((lift[more], (cells.row[more], cells.col[more])), shape=(n, n))
    left, strength, _ = randomized_svd(matrix, width, random_state=SEED)
    table = left * np.sqrt(strength)
    table *= 2 / np.linalg.norm(table, axis=1).mean()
    return torch.from_numpy(table).float(), torch.from_numpy(np.log(shares)).float()


def save(model: ElectraForMaskedLM, folder: Path) -> None:
    """Writes a base; the large one without its table, which lies beside the demo's experts."""
    folder.mkdir(parents=True, exist_ok=True)
    is_small = model.config.embedding_size != model.config.hidden_size
    tensors: dict[str, torch.Tensor] = {}
    for name, weight in model.state_dict().items():
        if name == OUTPUT or (name == TABLE and not is_small):
            continue
        if weight.dim() == 2 and len(weight) > 1:
            bits = 8 if is_small or "position" in name else 4
            tensors |= {f"{name}.{kind}": part for kind, part in pack(weight, bits).items()}
        else:
            tensors[name] = weight.half()
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, folder / "weights.safetensors")
    config: dict[str, Any] = model.config.to_diff_dict()
    for key in ("transformers_version", "dtype", "attn_implementation", "_attn_implementation"):
        config.pop(key, None)
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def passages_of(documents: Sequence[Document]) -> list[Passage]:
    """Returns the documents in passages, each domain one kind."""
    cut = cut_passages(documents, load_tokenizer(), tokens=_TOKENS)
    return [Passage(p.document.domain, p.document.domain, p.text) for p in cut]


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description="Train the bases of the paper's experts.")
    parser.add_argument("--text", type=Path, required=True, help="folder of the texts (Parquet)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    documents = split_documents(read_documents(arguments.text))["experts"]
    known = np.unique([fingerprint(document) for document in documents])
    np.save(out / LEARNED_FILE, known.astype(np.uint32))
    passages = passages_of(documents)
    for plan in PLANS:
        torch.manual_seed(SEED)
        model = start(plan, passages)
        train(model, plan, passages, out / "checkpoints" / plan.name)
        save(model, out / plan.name)


if __name__ == "__main__":
    main()
