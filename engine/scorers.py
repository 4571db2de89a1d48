"""Scorers of scikit-learn as errors: 1 - score, or the loss itself where scikit-learn negates one."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from functools import cache
from typing import final

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import get_scorer, get_scorer_names

from engine.errors import SettingsError

__all__ = ["judges_labels", "scorer_metric", "scorer_names"]

HOMES = {"classification": ("_classification", "_ranking"), "regression": ("_regression",)}  # of their functions
SEVERAL_LABELS = "_samples"  # averages over the labels of a row, of which we have one
UNBOUNDED = ("r2", "explained_variance", "matthews_corrcoef", "d2_")  # scores that may be negative


@cache
def scorer_names(task: str) -> tuple[str, ...]:
    """Return the scorers that judge probabilities or values of one target.

    Args:
        task: `classification` or `regression`.

    Example:
        >>> "jaccard" in scorer_names("classification"), "jaccard" in scorer_names("regression")
        (True, False)
    """
    return tuple(
        name
        for name in get_scorer_names()
        if get_scorer(name)._score_func.__module__.endswith(HOMES[task]) and not name.endswith(SEVERAL_LABELS)
    )


def judges_labels(name: str) -> bool:
    """Say whether a scorer looks at labels, not at probabilities."""
    return bool(get_scorer(name)._response_method == "predict")


def scorer_metric(name: str) -> tuple[Callable[[np.ndarray, np.ndarray, np.ndarray], float], str]:
    """Return the error of a scorer, a function of outputs, targets and weights; and its unit.

    Raises:
        ValueError: By the error, where the scorer cannot judge such targets.
        SettingsError: By the error, where weights differ and the scorer knows none.
    """
    scorer = get_scorer(name)
    takes_weights = "sample_weight" in inspect.signature(scorer._score_func).parameters
    is_loss = name.startswith("neg_")

    def error(outputs: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
        if not takes_weights and np.ptp(weight) > 0:
            raise SettingsError(f"metric {name} knows no weights: remove data.weight, or choose another metric.")
        answers = _Values() if y.dtype.kind == "f" else _Classes(outputs.shape[1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UndefinedMetricWarning)  # a class that is never answered scores 0
            score = scorer(answers, outputs, y, **({"sample_weight": weight} if takes_weights else {}))
        return float(-score if is_loss else 1.0 - score)

    if is_loss:
        return error, name.removeprefix("neg_")
    return error, f"1 - {name}" if name.startswith(UNBOUNDED) else "%"


@final
class _Values(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Answers with the outputs that it is given, as a scorer wants an estimator to."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x[:, 0], dtype=np.float64)

    def __sklearn_is_fitted__(self) -> bool:
        return True


@final
class _Classes(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The same for probabilities."""

    def __init__(self, classes: int = 2) -> None:
        self.classes = classes

    @property
    def classes_(self) -> np.ndarray:
        return np.arange(self.classes)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x.argmax(axis=1))

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        shares = x.astype(np.float64)
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    def __sklearn_is_fitted__(self) -> bool:
        return True
