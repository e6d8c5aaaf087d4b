"""Trains the small chat model that `weights_server.py` serves, on this repository's own text.

    OMP_NUM_THREADS=1 python -m tests.servers.train_weights

It needs the extra `train` and some minutes of one core, and writes `weights/quill`. What is learned
are pairs of a question and an answer: "What is `choose`?" with the docstring of `choose`, and "Tell
me about Flags." with a paragraph under that heading. The model is asked for English-like text that
comes token by token and ends; it knows nothing, and repeats what it has read.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

ROOT = Path(__file__).resolve().parents[2]
OUT = Path(__file__).with_name("weights") / "quill"
SOURCES = ("core", "langchain_tryage", "llamaindex_tryage")
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")

END, SYSTEM, USER, ASSISTANT = "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"
TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}<|assistant|>"
VOCABULARY = 1024
STEPS, BATCH, WINDOW = 1000, 16, 128
PEAK_RATE = 3e-3


def pairs() -> Iterator[tuple[str, str]]:
    """Yield every question and answer that the repository's text holds."""
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield from _of_source(path)
    for name in PAGES:
        yield from _of_page((ROOT / name).read_text())


def _of_source(path: Path) -> Iterator[tuple[str, str]]:
    tree = ast.parse(path.read_text())
    module = path.parent.name if path.stem == "__init__" else path.stem
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(tree):
        if isinstance(node, documented) and (text := ast.get_docstring(node)):
            yield f"What is `{getattr(node, 'name', module)}`?", text


def _of_page(text: str) -> Iterator[tuple[str, str]]:
    for section in re.split(r"^#+ ", text, flags=re.MULTILINE):
        heading, _, body = section.partition("\n")
        for paragraph in body.split("\n\n"):
            if heading and len(paragraph) > 40:
                yield f"Tell me about {heading.strip()}.", paragraph.strip()


def learn_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer that knows the marks of a chat."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END, SYSTEM, USER, ASSISTANT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END)
    fast.chat_template = TEMPLATE
    return fast


def untrained() -> LlamaForCausalLM:
    """Return the model with random weights: 0.9 million of them."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=320,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config)


def train(model: Any, tokens: torch.Tensor) -> None:
    """Teach the model to continue windows of one long row of tokens."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=STEPS)
    for step in range(STEPS):
        starts = torch.randint(len(tokens) - WINDOW - 1, (BATCH,)).tolist()
        windows = torch.stack([tokens[start : start + WINDOW + 1] for start in starts])
        logits = model(windows[:, :-1]).logits
        loss = functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            print(f"step {step + 1} of {STEPS}: loss {loss.item():.3f}", flush=True)  # noqa: T201


def main() -> None:
    """Write tokenizer and weights."""
    random.seed(0)
    torch.manual_seed(0)
    chats = [f"{USER}{question}{ASSISTANT}{answer}{END}" for question, answer in pairs()]
    tokenizer = learn_tokenizer(chats)
    random.shuffle(chats)
    tokens = torch.tensor(tokenizer("".join(chats))["input_ids"])
    print(f"{len(chats)} pairs, {len(tokens)} tokens", flush=True)  # noqa: T201
    model = untrained()
    train(model, tokens)
    model.bfloat16().save_pretrained(OUT)
    tokenizer.save_pretrained(OUT)


if __name__ == "__main__":
    main()
