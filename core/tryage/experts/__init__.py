"""Masked language models that ship with Tryage: real models to route between on any machine."""

from tryage.experts.expert import Expert, Filled, load_experts, masked_logits
from tryage.experts.packing import pack, unpack
from tryage.experts.passages import (
    MASK,
    MAX_TOKENS,
    MaskedPrompt,
    load_passages,
    load_tokenizer,
    mask,
    maskable,
)

__all__ = [
    "MASK",
    "MAX_TOKENS",
    "Expert",
    "Filled",
    "MaskedPrompt",
    "load_experts",
    "load_passages",
    "load_tokenizer",
    "mask",
    "maskable",
    "masked_logits",
    "pack",
    "unpack",
]
