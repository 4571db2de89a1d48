"""Float and integer execution of the same networks: bytes, latency in pairs, and error after training.

    python -m experiments.bench_execution [seeds=3] [steps=400] [seed=0]

First the shape of MLPerf Tiny's ResNet-8 with random weights, in several codings: bytes and latency are real, accuracy
means nothing there. Then plain networks on the digits, the members of the portfolio of `+space=cells`: each is trained
both ways from the same seeds, and compared on validation rows. Then what the gene costs any network of that space, in
bytes. Latencies: one row, one thread, both files in turn (`compression.graphs.latency`).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from statistics import mean, median
from typing import Any, final

import numpy as np
from rich.console import Console
from rich.table import Table

from compression.codings import CODINGS, in_seven_bits
from compression.graphs.latency import paired_latency
from compression.nets.activations import in_integers
from compression.nets.export import lowered_plan
from compression.nets.layers import Weights, empty_weights
from compression.nets.plan import Addition, Convolution, Linear, Mean, Plan, Step
from compression.nets.train import Recipe
from engine.artifact import Artifact
from engine.data import Signature
from engine.load import DataSettings, load
from engine.score import error_of
from engine.space import Candidate
from experiments.launch import launch
from nas.cells import CellsSettings
from nas.family import Networks

RESNET_CODINGS = ("int8", "int4", "int2", "ternary", "sparse4")
SAMPLES = 300


@final
@dataclass(frozen=True)
class Settings:
    """What this benchmark understands."""

    seeds: int = 3
    steps: int = 400
    seed: int = 0


def resnet8(coding: str) -> Plan:
    """Return the shape of MLPerf Tiny's ResNet-8; first and last layer keep eight bits."""
    steps: list[Step] = [Convolution("stem", "x", 3, 16, 3, 1, False, True, "int8", "input", "g0")]
    source, width = "stem", 16
    for number, (wide, stride) in enumerate(((16, 1), (32, 2), (64, 2))):
        one, two, group = f"b{number}a", f"b{number}b", f"g{number}"
        steps.append(Convolution(one, source, width, wide, 3, stride, False, True, coding, group, group))
        steps.append(Convolution(two, one, wide, wide, 3, 1, False, True, coding, group, group))
        if wide != width:
            shortcut = f"b{number}s"
            steps.append(Convolution(shortcut, source, width, wide, 1, stride, False, True, coding, group, group))
            source = shortcut
        steps.append(Addition(f"b{number}", (source, two)))
        source, width = f"b{number}", wide
    steps += [Mean("mean", source), Linear("head", "mean", width, 10, "int8", "g2")]
    classes = tuple(map(str, range(10)))
    return Plan(Signature("images", "classification", (3, 32, 32), "uint8", classes), tuple(steps))


def random_weights(plan: Plan, seed: int) -> dict[str, Weights]:
    """Return random codes, with scales that keep values of about one size from layer to layer."""
    rng, made = np.random.default_rng(seed), {}
    for step in plan.weighted:
        empty, coding = empty_weights(plan)[step.name], in_seven_bits(CODINGS[step.coding])
        codes = rng.integers(coding.low, coding.high + 1, empty.codes.shape)
        codes.reshape(-1)[rng.permutation(codes.size)[coding.kept(codes.size) :]] = 0
        unit = 16.0 if plan.is_integer and isinstance(step, Convolution) else 1.0
        size = unit * 2 / coding.reach / np.sqrt(codes.size / step.channels_out)
        scale = np.full(step.channels_out, size if isinstance(step, Convolution) else size / 100, np.float16)
        made[step.name] = Weights(codes, scale, None if empty.bias is None else empty.bias)
    return made


def shape_table(settings: Settings) -> Table:
    """Measure the ResNet-8 shape."""
    table = Table(
        "coding", "bytes, floats", "integers", "us, floats", "integers", "ratio", title="ResNet-8 shape, random weights"
    )
    rng = np.random.default_rng(settings.seed)
    row = {"x": rng.integers(0, 256, (1, 3, 32, 32)).astype(np.uint8)}
    for coding in RESNET_CODINGS:
        plans = resnet8(coding), in_integers(resnet8(coding))
        files = [lowered_plan(plan, random_weights(plan, settings.seed)).model for plan in plans]
        found = paired_latency(files[0], files[1], row)
        table.add_row(
            *(coding, f"{len(files[0]):,}", f"{len(files[1]):,}", f"{found.first_us:.0f}", f"{found.second_us:.0f}"),
            f"{found.ratio:.2f} ({found.low:.2f} to {found.high:.2f})",
        )
    return table


def digits_table(settings: Settings) -> Table:
    """Train the members of the portfolio both ways."""
    data = load(DataSettings(), seed=settings.seed).dataset
    signature, valid = data.signature, data.valid(0)
    recipe = Recipe(steps=settings.steps)
    family = Networks(CellsSettings(executions=("float", "integer")), signature, recipe)
    one = {"x": np.asarray(valid.inputs()["x"])[:1]}
    table = Table("bytes, floats", "integers", "error, floats", "integers", "us, floats", "integers", "ratio",
                  title=f"digits, {len(valid)} validation rows, means of {settings.seeds} seeds")  # fmt: skip
    for member in family.portfolio[::2]:
        files: dict[str, list[Artifact]] = {"float": [], "integer": []}
        for execution, made in files.items():
            for seed in range(settings.seeds):
                made.append(_built(family, member.replace(execution=execution), data, seed))
        errors = [
            mean(error_of(a.outputs(valid.inputs()), valid, metric="accuracy", task=signature.task) for a in made)
            for made in files.values()
        ]
        found = paired_latency(files["float"][0].model, files["integer"][0].model, one)
        table.add_row(
            *(str(made[0].size) for made in files.values()),
            *(f"{error:.2%}" for error in errors),
            *(f"{found.first_us:.1f}", f"{found.second_us:.1f}"),
            f"{found.ratio:.2f} ({found.low:.2f} to {found.high:.2f})",
        )
    return table


def bytes_table(settings: Settings) -> Table:
    """Compare the lengths of both forms of random networks."""
    signature = load(DataSettings(), seed=settings.seed).dataset.signature
    family = Networks(CellsSettings(executions=("float", "integer")), signature, Recipe())
    rng = np.random.default_rng(settings.seed)
    more: list[int] = []
    while len(more) < SAMPLES:
        found = family.canonical(family.space.sample(rng).replace(execution="integer"))
        if found["execution"] == "integer":
            more.append(family.bytes(found) - family.bytes(found.replace(execution="float")))
    table = Table("networks", "least", "median", "most", "shorter", title="bytes more than with floats, +space=cells")
    shorter = sum(difference < 0 for difference in more)
    table.add_row(str(len(more)), f"{min(more):+}", f"{median(more):+.0f}", f"{max(more):+}", str(shorter))
    return table


def run(settings: Settings) -> int:
    """Print the three tables."""
    console = Console()
    for table in (shape_table, bytes_table, digits_table):
        console.print(table(settings))
    return 0


def _built(family: Networks, candidate: Candidate, data: Any, seed: int) -> Artifact:
    built = family.build(candidate, data, fold=0, fidelity=1.0, seed=seed, report=lambda _step, _error: True)
    return next(artifact for _, artifact in built)


if __name__ == "__main__":
    sys.exit(launch(Settings, run, __doc__))
