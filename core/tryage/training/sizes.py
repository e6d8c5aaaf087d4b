"""Smaller and larger copies of a masked language model, that begin where it stands.

A model of random weights learns for a long time before it guesses better than word frequencies do;
what is cut down or grown needs a few steps to recover.
"""

from __future__ import annotations

import copy

import torch
from transformers import ElectraForMaskedLM

Weights = dict[str, torch.Tensor]

_LAYER = "electra.encoder.layer."
_OUTPUTS = ("attention.output", "output")


def cut_down(model: ElectraForMaskedLM, layers: int, feed_forward: int) -> ElectraForMaskedLM:
    """Returns a smaller copy of `model`: fewer layers, and in each the neurons that weigh most.

    The last layer is kept, as the output layer reads from it; the word embeddings are frozen.
    """
    kept = [*range(layers - 1), model.config.num_hidden_layers - 1]
    state: Weights = {}
    for new, old in enumerate(kept):
        layer = _layer(model, old)
        inner, outer = layer["intermediate.dense.weight"], layer["output.dense.weight"]
        weight = inner.norm(dim=1) * outer.norm(dim=0)
        neurons = weight.topk(feed_forward).indices.sort().values
        layer["intermediate.dense.weight"] = inner[neurons]
        layer["intermediate.dense.bias"] = layer["intermediate.dense.bias"][neurons]
        layer["output.dense.weight"] = outer[:, neurons]
        state |= {f"{_LAYER}{new}.{name}": w for name, w in layer.items()}
    return _with(model, layers, feed_forward, state)


def grow(model: ElectraForMaskedLM, layers: int, feed_forward: int) -> ElectraForMaskedLM:
    """Returns a larger copy of `model` that answers nearly as it does, until it is trained.

    New neurons write nothing yet, and neither do new layers, which are put in before the last.
    """
    last = model.config.num_hidden_layers - 1
    wider = _with(model, last + 1, feed_forward, {})
    state: Weights = {}
    for new in range(layers):
        is_new = last <= new < layers - 1
        old = last if new == layers - 1 else min(new, last)
        layer, fresh = _layer(model, old), _layer(wider, 0)
        inner, outer = fresh["intermediate.dense.weight"].clone(), fresh["output.dense.weight"]
        bias = torch.zeros_like(fresh["intermediate.dense.bias"])
        size = len(layer["intermediate.dense.bias"])
        inner[:size], bias[:size] = (
            layer["intermediate.dense.weight"],
            layer["intermediate.dense.bias"],
        )
        outer = torch.zeros_like(outer)
        outer[:, :size] = layer["output.dense.weight"]
        layer |= {"intermediate.dense.weight": inner, "intermediate.dense.bias": bias}
        layer["output.dense.weight"] = outer
        state |= {
            f"{_LAYER}{new}.{name}": w for name, w in (_silent(layer) if is_new else layer).items()
        }
    return _with(model, layers, feed_forward, state)


def _silent(layer: Weights) -> Weights:
    """Returns a layer that hands on what it reads, for the norm of its input is that of a layer."""
    scale, shift = layer["output.LayerNorm.weight"], layer["output.LayerNorm.bias"]
    spread = (scale.square().mean() + shift.var()).sqrt()
    for name in _OUTPUTS:
        for part in ("weight", "bias"):
            layer[f"{name}.dense.{part}"] = torch.zeros_like(layer[f"{name}.dense.{part}"])
        layer[f"{name}.LayerNorm.weight"] = torch.full_like(scale, float(spread))
        layer[f"{name}.LayerNorm.bias"] = torch.full_like(shift, float(shift.mean()))
    return layer


def _layer(model: ElectraForMaskedLM, number: int) -> Weights:
    prefix = f"{_LAYER}{number}."
    return {
        name.removeprefix(prefix): weight
        for name, weight in model.state_dict().items()
        if name.startswith(prefix)
    }


def _with(
    model: ElectraForMaskedLM, layers: int, feed_forward: int, state: Weights
) -> ElectraForMaskedLM:
    """Returns a model like this one but for its layers."""
    config = copy.deepcopy(model.config)
    config.num_hidden_layers, config.intermediate_size = layers, feed_forward
    other = ElectraForMaskedLM(config)
    rest = {name: w for name, w in model.state_dict().items() if not name.startswith(_LAYER)}
    other.load_state_dict(rest | state, strict=bool(state))
    other.tie_weights()
    other.get_input_embeddings().requires_grad_(False)
    return other
