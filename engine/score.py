"""What a file is worth: its error through ONNX Runtime on labelled rows, its length, its latency."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from engine.artifact import Artifact
from engine.data import Rows
from engine.errors import SettingsError, did_you_mean

__all__ = ["METRICS", "error_of", "latency_us", "metric_named", "score"]

Metric = Callable[[np.ndarray, np.ndarray, np.ndarray], float]
SMALLEST_PROBABILITY = 1e-7


def _accuracy(outputs: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    return float(np.average(outputs.argmax(axis=1) != y, weights=weight))


def _balanced_accuracy(outputs: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    wrong = outputs.argmax(axis=1) != y
    return float(np.mean([np.average(wrong[y == k], weights=weight[y == k]) for k in np.unique(y)]))


def _log_loss(outputs: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    chosen = np.clip(outputs[np.arange(len(y)), y], SMALLEST_PROBABILITY, 1.0)
    return float(np.average(-np.log(chosen), weights=weight))


def _auc(outputs: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    """One class against the rest, averaged over the classes that have rows; for two classes that is the plain AUC."""
    from sklearn.metrics import roc_auc_score

    present = [k for k in np.unique(y) if (y != k).any()]
    areas = [roc_auc_score(y == k, outputs[:, k], sample_weight=weight) for k in present]
    return 1.0 - float(np.mean(areas)) if areas else 0.5


def _rmse(outputs: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    return float(np.sqrt(np.average((outputs[:, 0] - y) ** 2, weights=weight)))


def _mae(outputs: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    return float(np.average(np.abs(outputs[:, 0] - y), weights=weight))


METRICS: dict[str, dict[str, Metric]] = {
    "classification": {
        "accuracy": _accuracy,
        "balanced_accuracy": _balanced_accuracy,
        "log_loss": _log_loss,
        "auc": _auc,
    },
    "regression": {"rmse": _rmse, "mae": _mae},
}


def metric_named(name: str, task: str) -> Metric:
    """Return the function (outputs, y, weight) -> error, lower is better.

    Raises:
        SettingsError: If the task has no such metric; it lists them.
    """
    known = METRICS[task]
    if name not in known:
        hint = did_you_mean(name, known) or "."
        raise SettingsError(f"metric must be one of {', '.join(known)} for {task}, got '{name}'{hint}")
    return known[name]


def error_of(outputs: np.ndarray, rows: Rows, *, metric: str, task: str) -> float:
    """Return the error of outputs on labelled rows; lower is better, infinite where an output is not finite.

    Args:
        outputs: float32, shape (n_rows, n_outputs).
        rows: With targets, and weights where there are any.
        metric: Name; `accuracy` gives 1 - accuracy, `auc` gives 1 - AUC.
        task: `classification` or `regression`.
    """
    if not np.isfinite(outputs).all():
        return float("inf")
    weight = np.ones(len(rows)) if rows.weight is None else rows.weight
    return metric_named(metric, task)(outputs, rows.y, weight)


def score(artifact: Artifact, rows: Rows, *, metric: str, task: str) -> dict[str, float]:
    """Score a file: `error` on the rows, and `bytes`. Nothing else decides."""
    error = error_of(artifact.outputs(rows.inputs()), rows, metric=metric, task=task)
    return {"error": error, "bytes": float(artifact.size)}


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
