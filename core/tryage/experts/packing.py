"""Weights as small integers with scales, so that several models fit into a package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tryage.errors import CorruptArtifact, MissingExtra, UsageError

if TYPE_CHECKING:
    import torch

GROUP = 32
"""Number of neighbouring 4-bit weights that share one scale."""


def pack(weight: torch.Tensor, bits: int) -> dict[str, torch.Tensor]:
    """Returns a matrix as small integers and their scales; `unpack` undoes it.

    Args:
        weight: Float matrix (n_rows, n_columns); for 4 bits, of a multiple of 32 columns.
        bits: 8, with one scale for each row, or 4, with one for each group of 32 columns.

    Returns:
        Under ``q8`` or ``q4`` the integers (two in a byte for 4 bits), under ``scale`` the scales.
    """
    import torch

    if bits not in (4, 8):
        raise UsageError(f"bits is {bits!r}; it can be 4 or 8")
    groups = weight.float().reshape(len(weight), -1, GROUP if bits == 4 else weight.shape[1])
    top = 2 ** (bits - 1) - 1
    scale = (groups.abs().amax(dim=2) / top).half()
    rounded = (groups / scale.float().clamp(min=1e-7)[:, :, None]).round().clamp(-top, top)
    integers = rounded.reshape(weight.shape).to(torch.int8)
    if bits == 8:
        return {"q8": integers, "scale": scale}
    nibbles = (integers + 8).to(torch.uint8)
    return {"q4": nibbles[:, ::2] + 16 * nibbles[:, 1::2], "scale": scale}


def unpack(packed: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Returns the float32 matrix that `pack` was given, as nearly as the bits allow."""
    import torch

    if "q8" in packed:
        integers = packed["q8"].float()
    else:
        bytes_ = packed["q4"]
        integers = torch.stack((bytes_ % 16, bytes_ // 16), dim=2).flatten(1).float() - 8
    scale = packed["scale"].float()
    groups = integers.reshape(*scale.shape, -1)
    return (groups * scale[:, :, None]).reshape(integers.shape)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Returns the float32 weights of a file, with its packed matrices unpacked."""
    try:
        import transformers  # noqa: F401  (asked for here, so that one message names both)
        from safetensors.torch import load_file
    except ImportError as error:
        raise MissingExtra("the demo's experts need torch: pip install 'tryage[demo]'.") from error
    from safetensors import SafetensorError

    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CorruptArtifact(f"cannot read {str(path)!r}: {error}") from error
    weights: dict[str, torch.Tensor] = {}
    packed: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in stored.items():
        stem, _, kind = name.rpartition(".")
        if kind in ("q4", "q8", "scale"):
            packed.setdefault(stem, {})[kind] = tensor
        else:
            weights[name] = tensor.float()
    return weights | {name: unpack(parts) for name, parts in packed.items()}
