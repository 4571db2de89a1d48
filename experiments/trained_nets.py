"""Two small networks, trained once with a fixed seed: what `bench_trained` compresses.

Only torch and numpy are imported, so that a peer's own interpreter can make the modules too.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

__all__ = ["NETS", "Net", "export", "fit", "module_of", "read_state", "write_state"]

Rows = Mapping[str, np.ndarray]


@final
@dataclass(frozen=True)
class Net:
    """A network and its training.

    Args:
        widths: Output channels of the convolutions, each of 3 x 3.
        strides: Of each.
        residual: Convolutions whose input is added to their output.
        epochs: Of the training.
    """

    widths: tuple[int, ...]
    strides: tuple[int, ...]
    residual: tuple[int, ...] = ()
    epochs: int = 1


# Once normalisations are folded 14,378 parameters; and 70,122, with two residual additions.
NETS = {
    "digits": Net((16, 32, 32), (1, 2, 1), epochs=60),
    "images": Net((16, 32, 32, 64, 64), (2, 2, 1, 2, 1), residual=(2, 4), epochs=12),
}


class Convolutions(nn.Module):
    """Convolutions with normalisation and ReLU, the mean over positions, and one dense layer."""

    def __init__(self, net: Net, channels: int, classes: int) -> None:
        super().__init__()
        self.residual = net.residual
        widths = (channels, *net.widths)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(widths[place], widths[place + 1], 3, stride, 1, bias=False)
            for place, stride in enumerate(net.strides)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in net.widths)
        self.head = nn.Linear(net.widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images, float32 in [0, 1], to logits."""
        for place, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            made = norm(convolution(x))
            x = functional.relu(made + x if place in self.residual else made)
        logits = self.head(x.mean((2, 3)))
        assert isinstance(logits, Tensor)
        return logits


def module_of(name: str, rows: Rows, seed: int) -> Convolutions:
    """Return a network with first weights, made for the rows."""
    torch.manual_seed(seed)
    return Convolutions(NETS[name], rows["x_train"].shape[1], int(rows["y_train"].max()) + 1)


def fit(module: nn.Module, rows: Rows, *, epochs: int, rate: float, seed: int) -> nn.Module:
    """Train on the labels: AdamW, batches of 64, a cosine; return the module in evaluation mode."""
    torch.set_num_threads(1)
    x, y = torch.from_numpy(rows["x_train"]), torch.from_numpy(rows["y_train"])
    total = epochs * (len(x) // 64)
    optimiser = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=total, pct_start=0.1)
    generator = torch.Generator().manual_seed(seed)
    module.train()
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=generator)
        for start in range(0, len(x) - 63, 64):
            chosen = order[start : start + 64]
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(functional.cross_entropy(module(x[chosen]), y[chosen]))
            optimiser.step()
            schedule.step()
    return module.eval()


def export(module: nn.Module, shape: Sequence[int], path: Path) -> None:
    """Write a module as torch's exporter does, with a free batch size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            (torch.zeros(1, *shape),),
            str(path),
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": {0: "n"}, "y": {0: "n"}},
            opset_version=17,
            dynamo=False,
        )


def write_state(module: nn.Module, path: Path) -> None:
    """Keep the weights as plain arrays."""
    arrays = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    np.savez(path, allow_pickle=False, **arrays)


def read_state(module: nn.Module, path: Path) -> None:
    """Take weights that were kept."""
    with np.load(path, allow_pickle=False) as arrays:
        module.load_state_dict({name: torch.from_numpy(arrays[name]) for name in arrays.files})
