"""From probabilities to labels where the most probable class is not what is wanted: a threshold, or a cost matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from engine.errors import SettingsError
from engine.metrics import is_of_labels, metric_named

if TYPE_CHECKING:
    from engine.data import Rows, Signature

__all__ = ["Decision", "ThresholdSettings", "check_threshold", "choose_decision"]

NEVER = 1.02  # above every probability
CANDIDATES = 500  # thresholds that are tried by a metric, spread over the rows


@final
@dataclass(frozen=True)
class ThresholdSettings:
    """How labels are chosen; by default the most probable class.

    Args:
        metric: Of labels, such as `f1`, `mcc` or `balanced_accuracy`: the threshold that is best by it, of two classes.
        costs: What an answer costs: a row for each true class, in it a number for each answer, in the order of classes.
    """

    metric: str | None = None
    costs: list[list[float]] | None = None

    @property
    def is_given(self) -> bool:
        """Whether the user wants anything but the most probable class."""
        return bool(self.metric or self.costs)


@final
@dataclass(frozen=True)
class Decision:
    """How probabilities become labels.

    Args:
        threshold: From this probability of the last of two classes on, it is answered.
        costs: Of more classes: the answer is the one whose expected cost is smallest.
    """

    threshold: float | None = None
    costs: tuple[tuple[float, ...], ...] = ()

    def labels(self, outputs: np.ndarray) -> np.ndarray:
        """Return the index of the class that is answered, int64, shape (n_rows,).

        Args:
            outputs: Probabilities, shape (n_rows, n_classes).

        Example:
            >>> Decision(threshold=0.2).labels(np.array([[0.7, 0.3], [0.9, 0.1]]))
            array([1, 0])
        """
        if self.threshold is not None and outputs.shape[1] == 2:
            return (outputs[:, 1] >= self.threshold).astype(np.int64)
        if len(self.costs) == outputs.shape[1]:
            return np.asarray((outputs @ np.asarray(self.costs)).argmin(axis=1))
        return np.asarray(outputs.argmax(axis=1))

    def to_json(self) -> dict[str, Any]:
        """Return what a card says of it."""
        return {"threshold": self.threshold} if self.threshold is not None else {"costs": [list(r) for r in self.costs]}

    @staticmethod
    def from_card(card: Mapping[str, Any]) -> Decision:
        """Read the decision of a card; the most probable class where there is none that can be used."""
        told = card.get("decision")
        if not isinstance(told, Mapping):
            return Decision()
        threshold, costs = told.get("threshold"), told.get("costs")
        if isinstance(threshold, int | float) and 0 <= threshold <= NEVER:
            return Decision(threshold=float(threshold))
        try:
            table = np.asarray(costs, dtype=np.float64)
        except (TypeError, ValueError):
            return Decision()
        is_square = table.ndim == 2 and table.shape[0] == table.shape[1]
        return (
            Decision(costs=tuple(map(tuple, table.tolist()))) if is_square and np.isfinite(table).all() else Decision()
        )


def check_threshold(settings: ThresholdSettings, signature: Signature) -> None:
    """Refuse settings that do not fit the classes.

    Raises:
        SettingsError: With every problem.
    """
    if not settings.is_given:
        return
    classes, problems = len(signature.classes), []
    if signature.task != "classification":
        raise SettingsError("threshold is for classes, but the target holds numbers: remove it.")
    if settings.metric and settings.costs:
        problems.append("threshold.metric and threshold.costs exclude each other: remove one.")
    if settings.metric:
        metric_named(settings.metric, signature.task)
        if classes != 2:
            problems.append(f"threshold.metric needs two classes, got {classes}: give threshold.costs.")
        if not is_of_labels(settings.metric):
            problems.append(f"threshold.metric must judge labels (f1, mcc, balanced_accuracy), got {settings.metric}.")
    if settings.costs:
        lengths = [len(row) for row in settings.costs]
        if lengths != [classes] * classes:
            named = ", ".join(signature.classes[:10])
            problems.append(
                f"threshold.costs must be {classes} rows of {classes} numbers ({named}), got rows of {lengths}."
            )
        elif any(row[n] > min(row) for n, row in enumerate(settings.costs)):
            problems.append(
                "threshold.costs must cost least on the diagonal: a row is a true class, a column an answer."
            )
    if problems:
        raise SettingsError("\n".join(problems))


def choose_decision(outputs: np.ndarray, rows: Rows, settings: ThresholdSettings) -> Decision:
    """Choose how labels are answered, on rows that the model was not trained on.

    Args:
        outputs: Probabilities of these rows, float32, shape (n_rows, n_classes).
        rows: With class indices, and weights where there are any.
        settings: What the user wants.

    Returns:
        Of two classes a threshold, in the middle between two rows, the nearest to 1/2 of equally good ones; of more
        classes the costs themselves, since they decide.
    """
    if settings.costs and outputs.shape[1] > 2:
        return Decision(costs=tuple(map(tuple, settings.costs)))
    weight = np.ones(len(rows)) if rows.weight is None else np.asarray(rows.weight)
    scores, y = outputs[:, 1].astype(np.float64), np.asarray(rows.y)
    levels = np.unique(scores)
    edges = np.concatenate([[0.0], levels, [1.0 if levels[-1] < 1 else NEVER]])
    thresholds = (edges[1:] + edges[:-1]) / 2  # away from the rows: a file trained once more answers a little otherwise
    if settings.costs:
        errors = _costs(scores, y, weight, thresholds, settings.costs)
    else:
        places = np.unique(np.linspace(0, len(thresholds) - 1, CANDIDATES).round().astype(np.int64))
        thresholds = thresholds[places]
        metric = metric_named(str(settings.metric), "classification")
        answers = (np.eye(2, dtype=np.float32)[(scores >= t).astype(np.int64)] for t in thresholds)
        errors = np.asarray([metric.error(answer, y, weight) for answer in answers])
    best = np.flatnonzero(errors <= errors.min() + 1e-12)
    chosen = best[np.abs(thresholds[best] - 0.5).argmin()]
    return Decision(threshold=round(float(thresholds[chosen]), 7))


def _costs(
    scores: np.ndarray, y: np.ndarray, weight: np.ndarray, thresholds: np.ndarray, costs: Sequence[Sequence[float]]
) -> np.ndarray:
    """Return the cost of each threshold over all rows, shape (n_thresholds,)."""
    table = np.asarray(costs, dtype=np.float64)
    order = np.argsort(scores, kind="stable")
    gain = weight[order] * (table[y[order], 0] - table[y[order], 1])  # of answering class 0 instead of class 1
    below = np.searchsorted(scores[order], thresholds, side="left")
    return np.asarray((weight * table[y, 1]).sum() + np.concatenate([[0.0], np.cumsum(gain)])[below])
