"""Recipes of a trial's training, compared on validation rows.

    python -m experiments.bench_recipe data.name=npz data.path=fashion_mnist.npz epochs=2 seeds=0,1,2

One network (three stages of dense 3 x 3 convolutions, ternary) is trained with every recipe of a small grid. The error
is that of the written file on validation rows; test rows are not read.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import final

import torch

from compression.nets.export import export
from compression.nets.network import Network
from compression.nets.train import Examples, Recipe, train
from engine.data import Dataset
from engine.load import DataSettings, load
from experiments.launch import launch
from nas.cells import Genome, Stage
from nas.network import channel_counts, plan_of

CELL = ("none", "none", "none", "conv3", "none", "none")
STAGES = (Stage(16, 0, 2, "ternary", 1.0), Stage(32, 1, 2, "ternary", 1.0), Stage(48, 0, 2, "ternary", 1.0))
BATCHES, SHIFTS, RATES = (32, 64, 128), (0, 1, 2), (0.005, 0.01, 0.02)


@final
@dataclass(frozen=True)
class Settings:
    """What this benchmark understands."""

    data: DataSettings = field(default_factory=DataSettings)
    epochs: float = 2.0
    seeds: str = "0,1,2"


def recipes(epochs: float) -> Iterator[Recipe]:
    """Vary one thing at a time around the batch size and shift of each other recipe."""
    for batch, shift in itertools.product(BATCHES, SHIFTS):
        yield Recipe(steps=1, epochs=epochs, batch_rows=batch, shift=shift)
    for batch, rate in itertools.product(BATCHES, (rate for rate in RATES if rate != Recipe().learning_rate)):
        yield Recipe(steps=1, epochs=epochs, batch_rows=batch, learning_rate=rate)


def measure(data: Dataset, recipe: Recipe, seed: int) -> tuple[float, int]:
    """Return the validation error of the file, and its length in bytes."""
    genome = Genome(4, CELL, STAGES, "conv3", "int8", "int8")
    torch.manual_seed(seed)
    network = train(
        Network(plan_of(genome, data.signature)),
        Examples.of(data.train(0), data.signature),
        recipe,
        counts=channel_counts(genome),
        seed=seed,
        report=lambda _share, _error: True,
    )
    valid = data.valid(0)
    artifact = export(network, valid.inputs()["x"], seed=seed)
    return float((artifact.outputs(valid.inputs()).argmax(1) != valid.y).mean()), artifact.size


def run(settings: Settings) -> int:
    """Print a line for each recipe as it is measured, then the best one."""
    seeds = [int(seed) for seed in settings.seeds.split(",")]
    found: list[tuple[float, str]] = []
    for recipe in recipes(settings.epochs):
        start = time.perf_counter()
        measured = [measure(load(settings.data, seed=seed).dataset, recipe, seed) for seed in seeds]
        errors = [100 * error for error, _ in measured]
        spread = f" ± {stdev(errors):.2f}" if len(errors) > 1 else ""
        seconds = (time.perf_counter() - start) / len(seeds)
        text = (
            f"batch {recipe.batch_rows}, shift {recipe.shift}, learning rate {recipe.learning_rate}: "
            f"validation error {mean(errors):.2f}{spread} %, {seconds:.0f} s a seed, {measured[0][1]:,} B"
        )
        print(text, flush=True)
        found.append((mean(errors), text))
    print(f"Best: {min(found)[1]}")
    return 0


if __name__ == "__main__":
    sys.exit(launch(Settings, run, __doc__))
