"""What a file is worth: its error through ONNX Runtime on labelled rows, its length, its latency."""

from __future__ import annotations

import time

import numpy as np

from engine.artifact import Artifact
from engine.data import Rows
from engine.metrics import metric_named

__all__ = ["error_of", "latency_us", "score"]


def error_of(outputs: np.ndarray, rows: Rows, *, metric: str, task: str) -> float:
    """Return the error of outputs on labelled rows; lower is better, infinite where an output is not finite.

    Args:
        outputs: float32, shape (n_rows, n_outputs).
        rows: With targets, and weights where there are any.
        metric: Name; `accuracy` gives 1 - accuracy, `auc` gives 1 - AUC (`engine/metrics.py`).
        task: `classification` or `regression`.

    Raises:
        SettingsError: If the task has no such metric.
    """
    if not np.isfinite(outputs).all():
        return float("inf")
    weight = np.ones(len(rows)) if rows.weight is None else rows.weight
    return metric_named(metric, task).error(outputs, np.asarray(rows.y), np.asarray(weight))


def score(artifact: Artifact, answers: np.ndarray, rows: Rows, *, metric: str, task: str) -> dict[str, float]:
    """Score a file: `error` of its answers to the rows, and `bytes`. Nothing else decides."""
    return {"error": error_of(answers, rows, metric=metric, task=task), "bytes": float(artifact.size)}


def latency_us(artifact: Artifact, rows: Rows, *, repeats: int = 100) -> float:
    """Return the median time of one row on one thread, in microseconds, call into ONNX Runtime included."""
    one = {name: column[:1] for name, column in rows.inputs().items()}
    for _ in range(10):
        artifact.outputs(one)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        artifact.outputs(one)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds) * 1e6)
