"""A family that builds real files in a millisecond, a data set to go with it, and ways to go wrong."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from compression.graph import Graph
from engine.artifact import Artifact
from engine.data import Dataset, Rows, Signature, Split
from engine.space import Candidate, Choice, Int, Space


def toy_data(rows=300, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 4)).astype(np.float32)
    y = (x @ np.array([1.0, -1.0, 0.5, 0.0]) > 0).astype(np.int64)
    signature = Signature("table", "classification", (4,), "float32", ("0", "1"), numeric_columns=tuple("abcd"))
    cut = rows * 3 // 4
    return Dataset(signature, Rows(y, x), (Split(np.arange(cut), np.arange(cut, rows)),))


def toy_test(rows=200):
    return toy_data(rows, seed=9).rows


@dataclass(frozen=True)
class Toy:
    """Linear classifiers whose noise falls with their size; `twin` changes nothing where the size is even.

    Args:
        fails: Sizes whose trials raise.
        kills: Sizes whose worker dies, once each: a file in this folder remembers.
        marks: Folder for those files.
    """

    fails: tuple[int, ...] = ()
    kills: tuple[int, ...] = ()
    marks: str = ""
    largest: int = 60

    @cached_property
    def space(self):
        return Space({"size": Int(1, self.largest), "twin": Choice(("a", "b"))})

    portfolio = ()

    def canonical(self, candidate):
        return candidate.replace(twin="a") if candidate["size"] % 2 == 0 else candidate

    def bytes(self, candidate):
        return len(self._file(self.canonical(candidate), np.zeros((4, 2), np.float32)))

    def macs(self, candidate):
        return 8

    def features(self, candidate):
        return ()

    def describe(self, point, trials):
        return {"description": f"size {point.candidate['size']}", "steps": []}

    def prepare(self, data, *, seed):
        return data

    def build(self, candidate, data, *, fold, fidelity, seed, report):
        size = candidate["size"]
        if size in self.fails or -1 in self.fails:
            raise ZeroDivisionError(f"size {size} does not work")
        mark = Path(self.marks) / f"killed-{size}"
        if size in self.kills and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield candidate, Artifact(self._file(candidate, self._weights(candidate, seed)), {"parameters": 8})

    def finish(self, candidate, data, *, teachers, effort, max_bytes, seed, refit, own=None):
        artifact = Artifact(self._file(candidate, self._weights(candidate, seed) * 2), {"parameters": 8})
        valid = data.valid(0)
        error = float((artifact.outputs({"x": valid.x}).argmax(1) != valid.y).mean())
        return Artifact(artifact.model, {"parameters": 8, "validation": {"error": error, "rows": len(valid)}})

    def _weights(self, candidate, seed):
        noise = np.random.default_rng(seed).normal(size=4) * 4 / candidate["size"]
        direction = np.array([1.0, -1.0, 0.5, 0.0]) + noise
        return np.stack([-direction, direction], 1).astype(np.float32)

    def _file(self, candidate, weights):
        graph = Graph()
        graph.node("Softmax", graph.node("MatMul", "x", graph.weights(weights)), output="y")
        padding = "p" * (100 * candidate["size"] + (candidate["twin"] == "b"))
        return graph.model({"x": ("float32", (None, 4))}, {"y": ("float32", (None, 2))}, {"p": padding})


def candidate(size, twin="a"):
    return Candidate.of({"size": size, "twin": twin})
