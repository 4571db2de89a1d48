"""Where a training runs, and how precisely: this machine's cores, or a GPU in mixed precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import final

import torch

from engine.errors import SettingsError

__all__ = ["DEVICES", "Precision", "device_for"]

DEVICES = ("auto", "cpu", "cuda")


def device_for(name: str) -> torch.device:
    """Return the device of a training.

    A process sees the GPUs that its slot reserved, so it takes the first of them; trials that share one each hold their
    own tensors there.

    Args:
        name: One of DEVICES; `auto` takes a GPU where this process sees one.

    Raises:
        SettingsError: If there is no such device, or no GPU where one is asked for.

    Example:
        >>> device_for("cpu")
        device(type='cpu')
    """
    if name not in DEVICES:
        raise SettingsError(f"train.device must be one of {', '.join(DEVICES)}, got {name!r}.")
    has_gpu = name != "cpu" and torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise SettingsError(
            "train.device=cuda needs a GPU that torch sees in the worker: use train.device=cpu, or with backend=ray "
            "reserve a share, such as backend.gpus=0.25."
        )
    return torch.device("cuda" if has_gpu else "cpu")


@final
@dataclass(frozen=True)
class Precision:
    """Of the forward pass; weights, their gradients and the optimiser stay in float32.

    Args:
        device: Of the training.
        dtype: Of products and convolutions.

    Source: Micikevicius et al. (2018), arXiv:1710.03740, with torch's autocast; bfloat16, where a GPU has it, needs no
    scaling of the loss.
    """

    device: torch.device
    dtype: torch.dtype

    @staticmethod
    def on(device: torch.device, *, is_mixed: bool = True) -> Precision:
        """Return float32 where nothing may be mixed and on older cores; else bfloat16, or float16 on older GPUs."""
        is_cpu = device.type == "cpu"
        if is_mixed and (_cores_multiply_bfloat16() if is_cpu else torch.cuda.is_bf16_supported(False)):
            return Precision(device, torch.bfloat16)
        return Precision(device, torch.float16 if is_mixed and not is_cpu else torch.float32)

    def forward(self) -> AbstractContextManager[None]:
        """Return the context of a forward pass."""
        return nullcontext() if self.dtype == torch.float32 else torch.autocast(self.device.type, self.dtype)

    def scaler(self) -> torch.amp.GradScaler:
        """Return what keeps the gradients of float16 from vanishing; it does nothing at other precisions."""
        return torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)


def _cores_multiply_bfloat16() -> bool:
    """Say whether this machine's cores have instructions for it; others would only take longer."""
    told: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.6 does not tell
    return bool(told.get("avx512_bf16") or told.get("amx_bf16"))
