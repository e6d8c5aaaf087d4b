"""Whether torch is here, and what it may compute on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tryage.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    import torch


def need_torch() -> None:
    """Check that torch and transformers are installed.

    Raises:
        MissingExtra: One is not; the message says how to install both.
    """
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise MissingExtra(
            "a transformer predictor needs torch and transformers: pip install 'tryage[train]'."
        ) from error


def device_of(name: str) -> torch.device:
    """Return the device of a name; `auto` is an accelerator if there is one.

    Raises:
        UsageError: It is not here.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"device={name!r} is not here ({reason}); use 'auto' or 'cpu'.") from error


def has_bfloat16(device: torch.device) -> bool:
    """Return whether the device computes in bfloat16, and does not only emulate it."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())
