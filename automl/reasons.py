"""Reason codes: how much each column moved the answer for a row, asked of the file itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from engine.artifact import Artifact
from engine.data import Rows
from engine.errors import ArtifactError

__all__ = ["Reason", "reasons", "reference_of"]

DRAWS = 16  # orders of the columns
TINY = 1e-6


@final
@dataclass(frozen=True)
class Reason:
    """One column's part in one answer.

    Args:
        column: Its name.
        value: What the row has there; None for missing.
        part: How much it moved the answer, away from that for the reference row.
    """

    column: str
    value: float | str | None
    part: float


def reference_of(rows: Rows) -> dict[str, np.ndarray]:
    """Return the row that all others are compared with: medians, and the most frequent categories.

    Args:
        rows: Of the training data, as a rule.

    Returns:
        `x`, `c` or both, one row each.
    """
    made: dict[str, np.ndarray] = {}
    if rows.x is not None:
        known = [column[np.isfinite(column)] for column in np.asarray(rows.x).T]
        middle = [np.quantile(column, 0.5, method="nearest") if len(column) else np.nan for column in known]
        made["x"] = np.array([middle], np.float32)
    if rows.c is not None:
        counted = [np.unique(np.asarray(column).astype(str), return_counts=True) for column in np.asarray(rows.c).T]
        made["c"] = np.array([[texts[counts.argmax()] for texts, counts in counted]], object)
    return made


def reasons(
    artifact: Artifact,
    inputs: Mapping[str, np.ndarray],
    reference: Mapping[str, np.ndarray],
    *,
    output: int = -1,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[list[Reason]]:
    """Return for each row its columns, those that moved the answer most first.

    Columns take the row's values in place of the reference's, one after the other in random order, and each is credited
    with the change of the answer: the log odds of a probability, or the value. For a model that adds up what its
    columns say, the order does not matter, and the parts are its terms exactly. The parts of a row always add up to the
    difference between its answer and the reference's.

    Source: Strumbelj and Kononenko, Explaining prediction models and individual predictions with feature contributions,
    2014 (sampled Shapley values, against one reference row; every order is also taken backwards).

    Args:
        artifact: The file; its card names the columns.
        inputs: Rows as the file takes them: `x`, `c` or both.
        reference: One row likewise, see `reference_of`.
        output: Column of the answer that is explained; the last one is the second class of two.
        draws: Orders; half of them are the others backwards.
        seed: Of the orders.

    Raises:
        ArtifactError: If the inputs do not fit.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.linear_model import LinearRegression
        >>> from compression.convert import to_onnx
        >>> x, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> artifact = to_onnx(LinearRegression().fit(x, y), x)
        >>> rows = {"x": x.to_numpy(np.float32)}
        >>> found = reasons(artifact, {"x": rows["x"][:1]}, {"x": np.zeros((1, 10), np.float32)})[0]
        >>> found[0].column, round(sum(reason.part for reason in found) + 152.13, 1)
        ('s1', 206.1)
    """
    numeric = tuple(artifact.card.get("numeric_columns") or ())
    texts = tuple(artifact.card.get("categorical_columns") or ())
    places = [("x", place) for place in range(len(numeric))] + [("c", place) for place in range(len(texts))]
    wanted = {"x": len(numeric), "c": len(texts)}
    for name, size in wanted.items():
        found = np.shape(inputs[name])[1] if name in inputs else 0
        if found != size or (size and np.shape(reference.get(name, [[]]))[1] != size):
            raise ArtifactError(f"Input {name} must have the {size} columns that the card names, got {found}.")
    count = len(next(iter(inputs.values())))
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(places)) for _ in range(max(1, draws // 2))]
    orders += [order[::-1] for order in orders]
    parts = np.zeros((count, len(places)))
    for order in orders:
        now = {name: np.repeat(np.asarray(reference[name]), count, axis=0) for name in inputs}
        stages = {name: [array.copy()] for name, array in now.items()}
        for step in order.tolist():
            name, place = places[step]
            now[name][:, place] = np.asarray(inputs[name])[:, place]
            for other, array in now.items():
                stages[other].append(array.copy())
        answers = artifact.outputs({name: np.concatenate(steps) for name, steps in stages.items()})
        scores = _scores(answers, artifact.task, output).reshape(len(places) + 1, count)
        parts[:, order] += np.diff(scores, axis=0).T
    parts /= len(orders)
    return [_ranked(parts[row], row, inputs, numeric + texts, places) for row in range(count)]


def _scores(answers: np.ndarray, task: str, output: int) -> np.ndarray:
    chosen = answers[:, output].astype(np.float64)
    if task == "regression":
        return chosen
    bounded = np.clip(chosen, TINY, 1 - TINY)
    return np.asarray(np.log(bounded / (1 - bounded)))


def _ranked(
    parts: np.ndarray, row: int, inputs: Mapping[str, np.ndarray], names: tuple[str, ...], places: list[tuple[str, int]]
) -> list[Reason]:
    made = []
    for step in np.argsort(-np.abs(parts), kind="stable").tolist():
        name, place = places[step]
        value = inputs[name][row][place]
        is_missing = value == "" or (name == "x" and not np.isfinite(value))
        shown = None if is_missing else float(value) if name == "x" else str(value)
        made.append(Reason(names[step], shown, float(parts[step])))
    return made
