"""A family for measuring the engine: its trials sleep, and write small files that differ."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np

from compression.graph import Graph
from engine.artifact import Artifact
from engine.data import Dataset
from engine.family import Report
from engine.space import Candidate, Int, Space
from engine.trial import Point, Trial

__all__ = ["Napping"]


@final
@dataclass(frozen=True)
class Napping:
    """A family that sleeps, computes a little, and writes a small linear classifier with noise in it.

    Args:
        seconds: To sleep.
        marks: Folder in which each process that builds leaves its number, and that of the process that started it.
    """

    seconds: float = 0.0
    marks: str = ""

    @cached_property
    def space(self) -> Space:
        """A hundred thousand sizes, so that hardly any repeats."""
        return Space({"size": Int(1, 100_000)})

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
        """Sleep, and write the file."""
        del data, fold, fidelity, report
        if self.marks:
            (Path(self.marks) / f"{os.getpid()}-{os.getppid()}").touch()
        time.sleep(self.seconds)
        weights = np.random.default_rng(seed).normal(size=(4, 2)).astype(np.float32)
        graph = Graph()
        graph.node("Softmax", graph.node("MatMul", "x", graph.weights(weights)), output="y")
        shapes = {"x": ("float32", (None, 4))}, {"y": ("float32", (None, 2))}
        yield candidate, Artifact(graph.model(*shapes, {"p": "p" * (int(candidate["size"]) % 1000)}))

    def finish(self, candidate: Candidate, data: Dataset, **_: Any) -> Artifact:
        """Winners are not finished here."""
        raise NotImplementedError
