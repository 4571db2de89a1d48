"""Training throughput of typical trials, beside a plain PyTorch loop with a DataLoader on the same network.

    python -m experiments.bench_nas data.name=npz data.path=fashion_mnist.npz pairs=7

Both train the same layers with the same batch size, optimiser and one core, in pairs that alternate in order. The plain
loop is what people write: a module of `nn.Conv2d`, `nn.BatchNorm2d` and `nn.ReLU`, a shuffled `DataLoader` of float
tensors, AdamW, a cosine schedule. Ours is the whole training of a trial: weights are quantized for the last 60 % of its
steps, errors reported on the way and normalisations measured anew at the end, all of which the plain loop is spared.
Rows a second are medians, in processor time. Steps are those of the shortest trial: reports and the last measuring do
not get fewer with them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import final

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from compression.nets.memory import macs
from compression.nets.network import Network
from compression.nets.plan import Addition, Convolution, Linear, Mean, Plan, Pooling
from compression.nets.train import Examples, Recipe, train
from engine.load import DataSettings, load
from experiments.launch import launch
from nas.cells import Genome, Stage
from nas.network import channel_counts, plan_of

MATRIX = 1024
PASSES = (
    3  # a training step does the products of the forward pass three times: outputs, gradients of inputs, of weights
)


@final
@dataclass(frozen=True)
class Settings:
    """What this benchmark understands."""

    data: DataSettings = field(default_factory=DataSettings)
    pairs: int = 7
    steps: int = Recipe().steps
    batch_rows: int = 64


@final
class Plain(nn.Module):
    """A plan as people write networks."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.layers = nn.ModuleDict({step.name: _layer(step) for step in plan.steps if not isinstance(step, Addition)})

    def forward(self, x: Tensor) -> Tensor:
        """Map images to logits."""
        values = {"x": x}
        for step in self.plan.steps:
            if isinstance(step, Addition):
                values[step.name] = sum((values[name] for name in step.sources[1:]), values[step.sources[0]])
            else:
                values[step.name] = self.layers[step.name](values[step.source])
        return values[self.plan.steps[-1].name]


def _layer(step: object) -> nn.Module:
    if isinstance(step, Convolution):
        groups = step.channels_out if step.is_depthwise else 1
        layer: nn.Module = nn.Conv2d(
            step.channels_in, step.channels_out, step.kernel, step.stride, step.kernel // 2, groups=groups, bias=False
        )
        return nn.Sequential(layer, nn.BatchNorm2d(step.channels_out), nn.ReLU()) if step.has_bias else layer
    if isinstance(step, Pooling):
        return nn.MaxPool2d(3, step.stride, 1) if step.kind == "max" else nn.AvgPool2d(3, step.stride, 1)
    if isinstance(step, Mean):
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    if isinstance(step, Linear):
        return nn.Linear(step.channels_in, step.channels_out)
    raise TypeError(f"no layer for {step}")


def trials() -> dict[str, Genome]:
    """Return three networks as a search trains them: a narrow and a wide dense one, and one of separable cells."""
    none, dense = "none", ("none", "none", "none", "conv3", "none", "none")
    mixed = ("separable3", none, "separable5", "skip", "average3", none)

    def stages(widths: tuple[int, ...], coding: str) -> tuple[Stage, ...]:
        return tuple(Stage(width, int(place == 1), 2, coding, 1.0) for place, width in enumerate(widths))

    return {
        "dense, 8 to 24 channels, ternary": Genome(4, dense, stages((8, 16, 24), "ternary"), "conv3", "int8", "int8"),
        "dense, 24 to 64 channels, int4": Genome(4, dense, stages((24, 48, 64), "int4"), "conv3", "int8", "int8"),
        "separable cell, 16 to 32 channels, int8": Genome(
            4, mixed, stages((16, 24, 32), "int8"), "separable3", "int8", "int8"
        ),
    }


def ours(plan: Plan, genome: Genome, rows: Examples, valid: Examples, settings: Settings) -> None:
    """Train as a trial does."""
    recipe = Recipe(steps=settings.steps, epochs=0.0, batch_rows=settings.batch_rows, device="cpu")
    torch.manual_seed(0)
    train(Network(plan), rows, recipe, counts=channel_counts(genome), seed=0, report=lambda *_: True, valid=valid)


def plain(plan: Plan, rows: TensorDataset, settings: Settings) -> None:
    """Train as people do."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    loader = DataLoader(rows, settings.batch_rows, shuffle=True, drop_last=True)
    network, recipe = Plain(plan), Recipe()
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.smoothing)
    done = 0
    while done < settings.steps:
        for x, y in loader:
            optimiser.zero_grad()
            loss = criterion(network(x), y)
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
            loss.item()  # for the running mean that everybody prints
            done += 1
            if done == settings.steps:
                break


def peak() -> float:
    """Return the multiply-accumulates a second of a float32 matrix product on one core."""
    torch.set_num_threads(1)
    a, b = torch.randn(MATRIX, MATRIX), torch.randn(MATRIX, MATRIX)
    seconds = [_seconds(lambda: a @ b) for _ in range(10)]
    return float(MATRIX**3 / min(seconds))


def run(settings: Settings) -> int:
    """Print the table."""
    data = load(settings.data, seed=0).dataset
    examples, valid = (Examples.of(part, data.signature) for part in (data.train(0), data.valid(0)))
    floats = TensorDataset(examples.x.float(), examples.y)
    table = Table("trial", "macs", "ours, rows/s", "plain loop, rows/s", "ratio", "lowest..highest", "share of peak")
    rows = settings.steps * settings.batch_rows
    for name, genome in trials().items():
        plan = plan_of(genome, data.signature)
        works: list[Callable[[], None]] = [
            lambda plan=plan, genome=genome: ours(plan, genome, examples, valid, settings),  # type: ignore[misc]
            lambda plan=plan: plain(plan, floats, settings),  # type: ignore[misc]
        ]
        pairs = []
        for number in range(settings.pairs):
            first = number % 2
            taken = {place: _seconds(works[place]) for place in (first, 1 - first)}
            pairs.append((taken[0], taken[1]))
        seconds, others = median(a for a, _ in pairs), median(b for _, b in pairs)
        ratios = sorted(b / a for a, b in pairs)
        share = PASSES * macs(plan) * rows / seconds / peak()
        table.add_row(
            name,
            f"{macs(plan):,}",
            f"{rows / seconds:,.0f}",
            f"{rows / others:,.0f}",
            f"{median(ratios):.2f}",
            f"{ratios[0]:.2f}..{ratios[-1]:.2f}",
            f"{share:.0%}",
        )
    Console(width=140).print(table)
    return 0


def _seconds(work: Callable[[], object]) -> float:
    """Return the processor time of this process: what else the machine does counts less."""
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    sys.exit(launch(Settings, run, __doc__))
