"""Metrics as errors: lower is better, weights count; scikit-learn's scorers by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

from engine.errors import DataError, SettingsError, did_you_mean

if TYPE_CHECKING:
    from engine.data import Dataset, Signature

__all__ = ["METRICS", "Metric", "check_metric", "default_metric", "is_of_labels", "metric_called", "metric_named"]

SMALLEST_PROBABILITY = 1e-7
OF_LABELS = ("accuracy", "balanced_accuracy", "f1", "f1_macro", "mcc")
LIFT_SHARE = 0.1  # of the rows, by weight, that are looked at

Measure = Callable[[np.ndarray, np.ndarray, np.ndarray], float]


@final
@dataclass(frozen=True)
class Metric:
    """How far outputs are from targets, as an error that is minimised.

    Args:
        name: As the user gives it.
        error: From outputs, float32, shape (n_rows, n_outputs), targets and weights, both of shape (n_rows,).
        unit: `%` where the error is a share of one, otherwise what the number is: `rmse`, `1 - mcc`.
    """

    name: str
    error: Measure
    unit: str

    @property
    def is_share(self) -> bool:
        """Whether the error lies in [0, 1] and is shown in percent."""
        return self.unit == "%"


def metric_named(name: str, task: str) -> Metric:
    """Return a metric of a task: one of `METRICS`, or any scorer of scikit-learn that fits the task.

    Raises:
        SettingsError: If the task has no such metric; it lists them.

    Example:
        >>> metric_named("rmse", "regression").error(np.array([[3.0]]), np.array([1.0]), np.array([1.0]))
        2.0
        >>> metric_named("neg_mean_absolute_percentage_error", "regression").unit
        'mean_absolute_percentage_error'
    """
    from engine.scorers import scorer_metric, scorer_names

    known = METRICS[task]
    if name in known:
        return known[name]
    scorers = scorer_names(task)
    if name in scorers:
        return Metric(name, *scorer_metric(name))
    hint = did_you_mean(name, [*known, *scorers])
    raise SettingsError(
        f"metric must be one of {', '.join(known)} for {task}, or a scorer of scikit-learn, got '{name}'{hint}"
    )


def metric_called(name: str) -> Metric | None:
    """Return the metric of a name, whatever its task, or None if there is none."""
    from engine.scorers import scorer_names

    for task in METRICS:
        if name in METRICS[task] or name in scorer_names(task):
            return metric_named(name, task)
    return None


def is_of_labels(name: str) -> bool:
    """Say whether a metric of classes judges labels, not probabilities: a threshold changes it."""
    from engine.scorers import judges_labels

    if name in METRICS["classification"]:
        return name in OF_LABELS
    return judges_labels(name)


def default_metric(signature: Signature) -> str:
    """Return what tables are usually judged by: `auc` for two classes, `log_loss` for more, `rmse` for values."""
    if signature.task == "regression":
        return "rmse"
    return "auc" if len(signature.classes) == 2 else "log_loss"


def check_metric(name: str, data: Dataset) -> None:
    """Try a metric on the first validation rows, before anything is trained.

    Raises:
        SettingsError: If the task has no such metric, or it cannot judge these targets or weights.
    """
    signature, rows = data.signature, data.valid(0)
    metric = metric_named(name, signature.task)
    if signature.task == "classification":
        outputs = np.full((len(rows), signature.outputs), 1 / signature.outputs, dtype=np.float32)
    else:
        outputs = np.full((len(rows), 1), np.mean(rows.y), dtype=np.float32)
    weight = np.ones(len(rows)) if rows.weight is None else np.asarray(rows.weight)
    if not weight.any():
        raise DataError(f"Some validation rows must have a weight above 0, all {len(rows)} have none.")
    try:
        metric.error(outputs, np.asarray(rows.y), weight)
    except ValueError as error:
        raise SettingsError(f"metric {name} cannot judge these data: {error}") from error


def _accuracy(outputs: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    return float(np.average(outputs.argmax(axis=1) != y, weights=weight))


def _balanced_accuracy(outputs: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    wrong = outputs.argmax(axis=1) != y
    present = [k for k in np.unique(y) if weight[y == k].any()]
    return float(np.mean([np.average(wrong[y == k], weights=weight[y == k]) for k in present]))


def _log_loss(outputs: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    chosen = np.clip(outputs[np.arange(len(y)), y], SMALLEST_PROBABILITY, 1.0)
    return float(np.average(-np.log(chosen), weights=weight))


def _brier(outputs: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    """Half the squared distance to the true class: for two classes the plain score of one probability."""
    distance = ((outputs.astype(np.float64) - np.eye(outputs.shape[1])[y]) ** 2).sum(axis=1)
    return float(np.average(distance / 2, weights=weight))


def _auc(truth: np.ndarray, score: np.ndarray, weight: np.ndarray) -> float:
    """One minus the weighted share of pairs in which the class has the higher score; equal scores count half.

    scikit-learn's takes 12 times as long on 6,000 rows and 60 on 100: means of files are chosen by thousands of these.
    """
    _, level = np.unique(score, return_inverse=True)
    own = np.bincount(level, np.where(truth, weight, 0.0))
    other = np.bincount(level, np.where(truth, 0.0, weight))
    return 1.0 - float(own @ (np.cumsum(other) - other / 2) / (own.sum() * other.sum()))


def _average_precision(truth: np.ndarray, score: np.ndarray, weight: np.ndarray) -> float:
    from sklearn.metrics import average_precision_score

    return 1.0 - float(average_precision_score(truth, score, sample_weight=weight))


def _ks(truth: np.ndarray, score: np.ndarray, weight: np.ndarray) -> float:
    """One minus the largest distance between the two classes' distributions of the score (Kolmogorov and Smirnov)."""
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve(truth, score, sample_weight=weight, drop_intermediate=False)
    return 1.0 - float(np.max(true - false))


def _lift(truth: np.ndarray, score: np.ndarray, weight: np.ndarray) -> float:
    """One minus the share of what could be found among the tenth of the rows with the highest scores.

    That is 1 - lift / (the best lift possible); equal scores count as if they were in the order of chance.
    """
    _, level = np.unique(-score, return_inverse=True)
    looked_at = np.concatenate([[0.0], np.cumsum(np.bincount(level, weights=weight))])
    found = np.concatenate([[0.0], np.cumsum(np.bincount(level, weights=weight * truth))])
    reach = LIFT_SHARE * looked_at[-1]
    return 1.0 - float(np.interp(reach, looked_at, found) / min(reach, found[-1]))


def _f1(outputs: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    """Of the last of two classes; of more classes the mean over all."""
    from sklearn.metrics import f1_score

    average = "binary" if outputs.shape[1] == 2 else "macro"
    return 1.0 - float(f1_score(y, outputs.argmax(axis=1), sample_weight=weight, average=average, zero_division=0))


def _f1_macro(outputs: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    from sklearn.metrics import f1_score

    return 1.0 - float(f1_score(y, outputs.argmax(axis=1), sample_weight=weight, average="macro", zero_division=0))


def _mcc(outputs: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    from sklearn.metrics import matthews_corrcoef

    return 1.0 - float(matthews_corrcoef(y, outputs.argmax(axis=1), sample_weight=weight))


def _rmse(outputs: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    return float(np.sqrt(np.average((outputs[:, 0] - y) ** 2, weights=weight)))


def _mae(outputs: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    return float(np.average(np.abs(outputs[:, 0] - y), weights=weight))


def _mape(outputs: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    from sklearn.metrics import mean_absolute_percentage_error

    return float(mean_absolute_percentage_error(y, outputs[:, 0], sample_weight=weight))


def _r2(outputs: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    """One minus R2: the share of the variance that is left; 1 for the mean itself."""
    spread = float(np.average((y - np.average(y, weights=weight)) ** 2, weights=weight))
    left = float(np.average((outputs[:, 0] - y) ** 2, weights=weight))
    return left / spread if spread else float(left > 0)


def _against_the_rest(measure: Measure, chance: float) -> Measure:
    """Measure the last of two classes; of more classes each against the rest, averaged over those with rows.

    Args:
        measure: From (is it the class, score, weight), shapes (n_rows,).
        chance: Where no class has rows on both sides.
    """

    def error(outputs: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
        known = weight > 0
        outputs, y, weight = outputs[known], y[known], weight[known]
        classes = [1] if outputs.shape[1] == 2 else range(outputs.shape[1])
        found = [measure(y == k, outputs[:, k], weight) for k in classes if 0 < (y == k).sum() < len(y)]
        return float(np.mean(found)) if found else chance

    return error


METRICS: dict[str, dict[str, Metric]] = {
    "classification": {
        metric.name: metric
        for metric in (
            Metric("accuracy", _accuracy, "%"),
            Metric("balanced_accuracy", _balanced_accuracy, "%"),
            Metric("auc", _against_the_rest(_auc, 0.5), "%"),
            Metric("average_precision", _against_the_rest(_average_precision, 1.0), "%"),
            Metric("log_loss", _log_loss, "log_loss"),
            Metric("brier", _brier, "brier"),
            Metric("ks", _against_the_rest(_ks, 1.0), "%"),
            Metric("lift", _against_the_rest(_lift, 1.0), "%"),
            Metric("f1", _f1, "%"),
            Metric("f1_macro", _f1_macro, "%"),
            Metric("mcc", _mcc, "1 - mcc"),
        )
    },
    "regression": {
        metric.name: metric
        for metric in (
            Metric("rmse", _rmse, "rmse"),
            Metric("mae", _mae, "mae"),
            Metric("mape", _mape, "mape"),
            Metric("r2", _r2, "1 - r2"),
        )
    },
}
