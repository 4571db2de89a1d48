"""What a finished file does on validation rows: which columns matter, how honest it is, where it errs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from engine.data import Rows, Signature
from engine.score import error_of

__all__ = ["Answering", "inspected"]

ROWS = 1000
COLUMNS = 100  # whose importance is measured: those that come first
BINS = 10
MOST_CLASSES = 12


class Answering(Protocol):
    """A file, or several that answer together."""

    def outputs(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return answers to rows, shape (n_rows, n_outputs)."""


def inspected(artifact: Answering, rows: Rows, signature: Signature, *, metric: str, seed: int = 0) -> dict[str, Any]:
    """Return what the report shows of a file beyond its error.

    Args:
        artifact: The file.
        rows: That it was not trained on.
        signature: Of the data.
        metric: Whose error importance is measured in.
        seed: Of the shuffles.

    Returns:
        JSON: `importance` (how much the error grows when a column is shuffled, by column, the largest first), and for
        classes `calibration` (mean probability and share of rows, in ten parts of the rows) and `confusion` (rows by
        class and answer), for values `residuals` (their quantiles).
    """
    rng = np.random.default_rng(seed)
    few = rows.take(np.sort(rng.permutation(len(rows))[:ROWS]))
    made: dict[str, Any] = {"importance": _importance(artifact, few, signature, metric, rng)}
    outputs = artifact.outputs(rows.inputs()).astype(np.float64)
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
    artifact: Answering, rows: Rows, signature: Signature, metric: str, rng: np.random.Generator
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
