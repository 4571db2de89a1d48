"""What came of an arm of the ablation, and how two of them compare: area, and bytes at equal error."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from engine.front import Front
from engine.launch import Run as Search
from engine.load import Loaded
from engine.score import error_of
from engine.space import Candidate
from engine.trial import Point
from experiments.automl_cells import Cell
from experiments.compare import Run

__all__ = [
    "Arm",
    "File",
    "arm_of",
    "constant_error",
    "files_of",
    "front_of",
    "seconds_of",
    "size_ratio",
    "timed",
    "trials_of",
]

File = Mapping[str, Any]  # name, bytes, valid_error, test_error
LEVELS = 32
FARTHEST = 2.0  # times the error that both reach: as far as sizes are compared
LEAST_ERROR = 1e-3


@final
@dataclass(frozen=True)
class Arm:
    """What an arm made.

    Args:
        files: Any number, each with `name`, `bytes`, `valid_error` and `test_error`; the front is chosen later.
        seconds: Of one processor, what it shares with another arm included.
        trials: Trained, likewise.
    """

    files: Sequence[File]
    seconds: float
    trials: int


def files_of(run: Search) -> list[File]:
    """Return the finished front of a search."""
    cards = [member.artifact.card for member in run.members]
    return [
        {
            "name": str(card["description"]),
            "bytes": int(card["bytes"]),
            "valid_error": float(card["validation"]["error"]),
            "test_error": float(card["test"]["error"]),
        }
        for card in cards
    ]


def seconds_of(folder: Path) -> float:
    """Return the processor seconds that a run took, however often it was interrupted."""
    return float(_clock(folder).read_text())


def timed(folder: Path, work: Callable[[], Search]) -> Search:
    """Run what goes to a folder in this process, and add its processor seconds to those noted beside the folder.

    Raises:
        KeyboardInterrupt: If the search was interrupted: what it has by then is no arm.
    """
    clock, start = _clock(folder), time.process_time()
    before = seconds_of(folder) if clock.exists() else 0.0
    try:
        run = work()
        if run.stop is not None:
            raise run.stop
        return run
    finally:
        clock.parent.mkdir(parents=True, exist_ok=True)
        clock.write_text(f"{before + time.process_time() - start:.2f}")


def constant_error(loaded: Loaded, metric: str) -> float:
    """Return the test error of the best answer that looks at no row: class shares, or the mean."""
    train, test, signature = loaded.dataset.rows, loaded.test, loaded.dataset.signature
    assert test is not None
    answer = np.array([np.mean(train.y)])
    if signature.classes:
        answer = np.bincount(np.asarray(train.y), minlength=len(signature.classes)) / len(train)
    outputs = np.tile(answer.astype(np.float32), (len(test), 1))
    return error_of(outputs, test, metric=metric, task=signature.task)


def arm_of(run: Search) -> Arm:
    """Return the finished front of a search as an arm."""
    return Arm(files_of(run), seconds_of(run.folder), trials_of(run))


def trials_of(run: Search) -> int:
    """Return how many trials a search trained."""
    return sum(trial.is_paid for trial in run.study.ended())


def front_of(cell: Cell) -> Run:
    """Return the files that nothing beats on validation rows, with their test errors."""
    files = {str(number): file for number, file in enumerate(cell.files)}
    points = [
        Point(Candidate.of({"n": name}), {"error": file["valid_error"], "bytes": file["bytes"]}, name)
        for name, file in files.items()
    ]
    kept = [files[point.sha256] for point in reversed(Front.of(points).points)]
    members = tuple((float(file["bytes"]), float(file["test_error"])) for file in kept)
    return Run(str(cell.key["set"]), int(cell.key["seed"]), str(cell.key["arm"]), str(cell.key["metric"]), members)


def size_ratio(first: Run, second: Run) -> float:
    """Return how many times longer the second front's files are at the same test error; above 1 the first one wins.

    The geometric mean over test errors from the lowest that both reach to twice that, of the shortest member of each
    front that errs no more. Members are on the front by validation errors.

    Source: after Bjontegaard (2001), ITU-T VCEG-M33, the mean difference of rate at equal distortion; differs in that
    steps are compared as they are, without a polynomial through them.
    """
    lowest = max(min(error for _, error in run.members) for run in (first, second))
    levels = np.geomspace(max(lowest, LEAST_ERROR), FARTHEST * max(lowest, LEAST_ERROR), LEVELS)
    logs = [math.log(_size_at(second, level) / _size_at(first, level)) for level in levels]
    return math.exp(float(np.mean(logs)))


def _size_at(run: Run, level: float) -> float:
    return min(size for size, error in run.members if error <= level * (1 + 1e-9))


def _clock(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.seconds")
