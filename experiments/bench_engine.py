"""What the engine adds to the work itself: trivial trials, export with its parity gate, `--help`.

python -m experiments.bench_engine workers=2
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, final

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from compression.graph import Graph
from compression.nets.export import export
from compression.nets.network import Network
from compression.nets.verify import edge_rows
from engine.artifact import Artifact
from engine.backends.processes import Processes
from engine.data import Dataset, Rows, Signature, Split
from engine.family import Report
from engine.objective import Objective, Problem
from engine.record import RunFolder
from engine.samplers.random import RandomSampler
from engine.space import Candidate, Int, Space
from engine.study import Study
from engine.trial import Point, Trial
from engine.work import Build, Work
from experiments.launch import launch
from nas.cells import Genome, Stage
from nas.network import plan_of


@final
@dataclass(frozen=True)
class Settings:
    """What this benchmark understands."""

    workers: int = 2
    trials: int = 100
    repeats: int = 5


@final
@dataclass(frozen=True)
class Trivial:
    """A family whose files are one matrix product of zeros; the gene pads them."""

    @cached_property
    def space(self) -> Space:
        """A million sizes, so that hardly any repeats."""
        return Space({"size": Int(1, 1_000_000)})

    @property
    def portfolio(self) -> Sequence[Candidate]:
        """No size is better than another."""
        return ()

    def canonical(self, candidate: Candidate) -> Candidate:
        """Return the candidate: no two build the same file."""
        return candidate

    def bytes(self, candidate: Candidate) -> int | None:  # noqa: ARG002
        """Unknown before the file is written."""
        return None

    def macs(self, candidate: Candidate) -> int | None:  # noqa: ARG002
        """Not counted."""
        return None

    def features(self, candidate: Candidate) -> Sequence[float]:  # noqa: ARG002
        """Nothing is known of a candidate but its genes."""
        return ()

    def describe(self, point: Point, trials: Sequence[Trial]) -> Mapping[str, Any]:  # noqa: ARG002
        """Nothing to tell."""
        return {}

    def prepare(self, data: Dataset, *, seed: int) -> Dataset:  # noqa: ARG002
        """Nothing to share."""
        return data

    def build(
        self, candidate: Candidate, data: Dataset, *, fold: int, fidelity: float, seed: int, report: Report
    ) -> Iterator[tuple[Candidate, Artifact]]:  # fmt: skip
        """Write the file."""
        del data, fold, fidelity, seed, report
        graph = Graph()
        graph.node("Softmax", graph.node("MatMul", "x", graph.weights(np.zeros((4, 2), np.float32))), output="y")
        shapes = {"x": ("float32", (None, 4))}, {"y": ("float32", (None, 2))}
        yield candidate, Artifact(graph.model(*shapes, {"p": str(candidate["size"])}))

    def finish(self, candidate: Candidate, data: Dataset, **_: Any) -> Artifact:
        """Winners are not finished here."""
        raise NotImplementedError


def trivial_trials(settings: Settings, place: Path) -> tuple[float, float]:
    """Return wall seconds of a study of trivial trials on warm workers, and the seconds inside them."""
    signature = Signature("table", "classification", (4,), "float32", ("0", "1"))
    rows = Rows(np.arange(100) % 2, np.zeros((100, 4), np.float32))
    data = Dataset(signature, rows, (Split(np.arange(80), np.arange(80, 100)),)).save(place / "data")
    family = Trivial()
    space = family.space
    problem = Problem(space, Objective("error"), Objective("bytes"), family.canonical, family.bytes, settings.trials)
    backend = Processes(settings.workers)
    backend.start(Work(family, data.folder or place, "accuracy"))
    for number in range(4 * settings.workers):
        backend.submit(Build(number, space.sample(np.random.default_rng(number)), 0))
    for _ in range(4 * settings.workers):
        backend.wait()
    folder = RunFolder(place / "run")
    _, recorded = folder.open({"lag": 2 * settings.workers})
    study = Study(problem, RandomSampler(), backend, folder, 0, 2 * settings.workers, recorded)
    start = time.perf_counter()
    study.run()
    wall = time.perf_counter() - start
    backend.close()
    return wall, sum(trial.seconds for trial in study.ended())


def export_seconds() -> tuple[int, float]:
    """Return the length of a network's file and the median time to write it through levels 1 and 2 of the gate."""
    stages = (Stage(32, 1, 2, "int8", 1.0), Stage(48, 1, 2, "int8", 1.0))
    cell = ("none", "none", "none", "conv3", "none", "none")
    signature = Signature("images", "classification", (1, 28, 28), "uint8", tuple(map(str, range(10))))
    torch.set_num_threads(1)
    network = Network(plan_of(Genome(4, cell, stages, "separable3", "int8", "int8"), signature)).eval()
    rows = edge_rows(network.plan, seed=0)
    x = np.concatenate([rows] * 4)
    size = export(network, x, seed=0).size
    return size, median(_timed(lambda: export(network, x, seed=0)) for _ in range(20))


def help_seconds(repeats: int) -> float:
    """Return the median time of `python -m nas.search --help`."""
    command = [sys.executable, "-m", "nas.search", "--help"]
    return median(
        _timed(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)) for _ in range(repeats)
    )


def run(settings: Settings) -> int:
    """Print the table."""
    table = Table("what", "figure", "to reach")
    with tempfile.TemporaryDirectory() as place:
        wall, inside = trivial_trials(settings, Path(place))
    extra = wall - inside / settings.workers
    table.add_row(f"{settings.trials} trivial trials, {settings.workers} warm workers: over their own time",
                  f"{extra:.2f} s", "<= 2 s")  # fmt: skip
    size, seconds = export_seconds()
    table.add_row(f"export and parity levels 1 and 2 of a file of {size:,} B", f"{1000 * seconds:.0f} ms", "<= 50 ms")
    table.add_row("python -m nas.search --help", f"{help_seconds(settings.repeats):.2f} s", "<= 3 s")
    Console().print(table)
    return 0


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(launch(Settings, run, __doc__))
