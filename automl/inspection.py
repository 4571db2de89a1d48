"""What a finished file does on validation rows: which columns matter, how honest it is, where it errs."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.artifact import Artifact
from engine.data import Rows, Signature
from engine.score import error_of

__all__ = ["inspected", "judged"]

ROWS = 1000
COLUMNS = 100  # whose importance is measured: those that come first
BINS = 10
MOST_CLASSES = 12


def inspected(artifact: Artifact, rows: Rows, signature: Signature, *, metric: str, seed: int = 0) -> dict[str, Any]:
    """Return what the report shows of a file beyond its error.

    Args:
        artifact: The file.
        rows: That it was not trained on.
        signature: Of the data.
        metric: Whose error importance is measured in.
        seed: Of the shuffles.

    Returns:
        JSON: `importance` (how much the error grows when a column is shuffled, by column, the largest first), and what
        `judged` tells.
    """
    rng = np.random.default_rng(seed)
    few = rows.take(np.sort(rng.permutation(len(rows))[:ROWS]))
    importance = _importance(artifact, few, signature, metric, rng)
    return {"importance": importance, **judged(artifact.outputs(rows.inputs()), rows, signature)}


def judged(answers: np.ndarray, rows: Rows, signature: Signature) -> dict[str, Any]:
    """Return what the report shows of answers to rows whose target is known.

    Args:
        answers: float32, shape (n_rows, n_outputs).
        rows: With targets.
        signature: Of the data.

    Returns:
        JSON: for classes `calibration` (mean probability and share of rows, in ten parts of the rows) and `confusion`
        (rows by class and answer), for values `residuals` (their quantiles).
    """
    outputs, made = answers.astype(np.float64), dict[str, Any]()
    if signature.task == "regression":
        away = outputs[:, 0] - np.asarray(rows.y)
        shares = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
        made["residuals"] = {f"{share:.0%}": float(np.quantile(away, share)) for share in shares}
        return made
    y = np.asarray(rows.y)
    if len(signature.classes) == 2:
        made["calibration"] = _calibration(outputs[:, 1], y == 1)
    else:
        made["calibration"] = _calibration(outputs.max(axis=1), outputs.argmax(axis=1) == y)
    if len(signature.classes) <= MOST_CLASSES:
        counts = np.zeros((len(signature.classes),) * 2, np.int64)
        np.add.at(counts, (y, outputs.argmax(axis=1)), 1)
        made["confusion"] = counts.tolist()
    return made


def _importance(
    artifact: Artifact, rows: Rows, signature: Signature, metric: str, rng: np.random.Generator
) -> dict[str, float]:
    inputs = rows.inputs()
    base = error_of(artifact.outputs(inputs), rows, metric=metric, task=signature.task)
    found = {}
    columns = [("x", n, name) for n, name in enumerate(signature.numeric_columns)]
    columns += [("c", n, name) for n, name in enumerate(signature.categorical_columns)]
    for name, place, column in columns[:COLUMNS]:
        moved = np.array(inputs[name])
        moved[:, place] = moved[rng.permutation(len(rows)), place]
        outputs = artifact.outputs({**inputs, name: moved})
        found[column] = error_of(outputs, rows, metric=metric, task=signature.task) - base
    return dict(sorted(found.items(), key=lambda entry: -entry[1]))


def _calibration(probability: np.ndarray, is_hit: np.ndarray) -> list[dict[str, float]]:
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, BINS) if len(part)]
    return [
        {"said": float(probability[part].mean()), "was": float(is_hit[part].mean()), "rows": len(part)}
        for part in parts
    ]
