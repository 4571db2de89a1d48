"""Automl as scikit-learn estimators: fit, predict, a leaderboard, a front of files to choose from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np
import pandas as pd
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets

from automl.checked import targets_of
from automl.compact import Compact
from engine.loaders.columns import as_text

if TYPE_CHECKING:
    from engine.threshold import ThresholdSettings

__all__ = ["CompactClassifier", "CompactRegressor"]


@final
class CompactClassifier(ClassifierMixin, Compact):  # type: ignore[misc]
    """Classification of tables by one small ONNX file, searched for.

    Args:
        seconds: For the whole fit; None for no limit but the budget.
        budget: Trials to train.
        metric: Error that is minimised; by default `auc` for two classes and `log_loss` for more.
        max_bytes: No file is longer; None for no limit.
        monotone: From column to +1 or -1: the probability of the second class never falls, or never rises, with it.
        families: Of models, such as `["linear", "additive", "boosting"]`; None for all.
        types: What columns are where the values suggest something else, from column to `number`, `category`, `boolean`,
            `date` or `date:%d.%m.%Y`.
        missing_codes: Values that stand for missing: in all columns, or from column to its own.
        forbid: Columns that must not be inputs; the card of the file tells them.
        threshold: Metric of labels, such as `f1` or `balanced_accuracy`, by which `predict` answers the second of two
            classes from another probability on than 1/2; None for the most probable class.
        costs: What each answer costs, in place of `threshold`: a row for each true class, in it a number for each
            answer, in the order of `classes_`; `predict` answers what costs least.
        workers: Processes; 1 searches in this one.
        run: Folder in which the whole search is recorded, and from which it goes on; None leaves nothing on disk.
        random_state: Seed of splits, search and training. With the same one, and no `seconds`, files repeat.
        verbose: Whether progress is shown.

    Attributes:
        front_: Of the finished files, most accurate first, by validation error and bytes.
        members_: The files themselves.
        artifact_: The file that predicts: the smallest within a standard error of the best.
        classes_: Labels in the order of the columns of `predict_proba`.
        metric_: The metric.
        notes_: What the search has to say about the data.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> x, y = load_iris(return_X_y=True, as_frame=True)
        >>> found = CompactClassifier(budget=3).fit(x, y)
        >>> small = found.best_under(bytes=5000)
        >>> small.artifact_.size <= 5000, bool(small.score(x, y) > 0.9)
        (True, True)
    """

    _task = "classification"

    def __init__(
        self,
        *,
        seconds: float | None = None,
        budget: int = 100,
        metric: str | None = None,
        max_bytes: int | None = 262_144,
        monotone: Mapping[str, int] | None = None,
        families: Sequence[str] | None = None,
        types: Mapping[str, str] | None = None,
        missing_codes: Sequence[float | str] | Mapping[str, Sequence[float | str]] | None = None,
        forbid: Sequence[str] | None = None,
        threshold: str | None = None,
        costs: Sequence[Sequence[float]] | None = None,
        workers: int = 1,
        run: str | None = None,
        random_state: Any = 0,
        verbose: bool = False,
    ) -> None:
        super().__init__(
            seconds=seconds,
            budget=budget,
            metric=metric,
            max_bytes=max_bytes,
            monotone=monotone,
            families=families,
            types=types,
            missing_codes=missing_codes,
            forbid=forbid,
            workers=workers,
            run=run,
            random_state=random_state,
            verbose=verbose,
        )
        self.threshold = threshold
        self.costs = costs

    def fit(
        self,
        X: Any,  # noqa: N803
        y: Any,
        sample_weight: Any = None,
        groups: Any = None,
        times: Any = None,
    ) -> Self:
        """Search for the front of files.

        Args:
            X: DataFrame of numbers, texts, categories, flags and dates, or array of shape (n_rows, n_columns); NaN,
                None and empty text are missing values.
            y: Labels, shape (n_rows,).
            sample_weight: Weights, shape (n_rows,), or None.
            groups: None, or groups of rows, shape (n_rows,): none stands on both sides of a validation split.
            times: None, or when each row was, shape (n_rows,), as dates or as numbers: validation rows are the last.

        Raises:
            EngineError: For tables, targets or settings that cannot be used.
        """
        labels = targets_of(self, y)
        check_classification_targets(labels)
        self.classes_ = np.unique(labels)
        loaded, stop = self._searched(X, labels, sample_weight, groups, times)
        self._places = self._places_in(loaded.dataset.signature.classes)
        if stop is not None:
            raise stop
        return self

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the probability of each class, float64, shape (n_rows, n_classes), columns as in `classes_`."""
        outputs = self._outputs(X)[:, self._places]
        return np.asarray(outputs / outputs.sum(axis=1, keepdims=True))

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return a label for each row, shape (n_rows,): the most probable one, unless there is a threshold or costs."""
        outputs = self._outputs(X)
        return np.asarray(self.classes_[np.argsort(self._places)[self.artifact_.decision.labels(outputs)]])

    def _places_in(self, classes: Sequence[str]) -> list[int]:
        """Return where the classes stand among those of a file."""
        names = list(classes)
        return [names.index(name) for name in as_text(pd.Series(self.classes_))]

    def _threshold(self, classes: Sequence[str]) -> ThresholdSettings:
        """Return how labels are chosen, with costs in the order of the file's answers."""
        from engine.threshold import ThresholdSettings

        costs = None if self.costs is None else [[float(cost) for cost in row] for row in self.costs]
        if costs is not None and [len(row) for row in costs] == [len(classes)] * len(classes):
            order = np.argsort(self._places_in(classes))
            costs = [[costs[true][answer] for answer in order] for true in order]
        return ThresholdSettings(self.threshold, costs)


@final
class CompactRegressor(RegressorMixin, Compact):  # type: ignore[misc]
    """Regression on tables by one small ONNX file, searched for.

    Args:
        seconds: For the whole fit; None for no limit but the budget.
        budget: Trials to train.
        metric: Error that is minimised; by default `rmse`.
        max_bytes: No file is longer; None for no limit.
        monotone: From column to +1 or -1: the value never falls, or never rises, with it.
        families: Of models, such as `["linear", "additive", "boosting"]`; None for all.
        types: What columns are where the values suggest something else, from column to `number`, `category`, `boolean`,
            `date` or `date:%d.%m.%Y`.
        missing_codes: Values that stand for missing: in all columns, or from column to its own.
        forbid: Columns that must not be inputs; the card of the file tells them.
        workers: Processes; 1 searches in this one.
        run: Folder in which the whole search is recorded, and from which it goes on; None leaves nothing on disk.
        random_state: Seed of splits, search and training. With the same one, and no `seconds`, files repeat.
        verbose: Whether progress is shown.

    Attributes:
        front_: Of the finished files, most accurate first, by validation error and bytes.
        members_: The files themselves.
        artifact_: The file that predicts: the smallest within a standard error of the best.
        metric_: The metric.
        notes_: What the search has to say about the data.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> x, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> found = CompactRegressor(budget=3).fit(x, y)
        >>> bool(found.score(x, y) > 0.3)
        True
    """

    _task = "regression"

    def fit(
        self,
        X: Any,  # noqa: N803
        y: Any,
        sample_weight: Any = None,
        groups: Any = None,
        times: Any = None,
    ) -> Self:
        """Search for the front of files.

        Args:
            X: As for `CompactClassifier.fit`.
            y: Values, shape (n_rows,).
            sample_weight: Weights, shape (n_rows,), or None.
            groups: None, or groups of rows, shape (n_rows,): none stands on both sides of a validation split.
            times: None, or when each row was, shape (n_rows,), as dates or as numbers: validation rows are the last.

        Raises:
            EngineError: For tables, targets or settings that cannot be used.
        """
        _, stop = self._searched(X, targets_of(self, y), sample_weight, groups, times)
        if stop is not None:
            raise stop
        return self

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the value of each row, float64, shape (n_rows,)."""
        return np.asarray(self._outputs(X)[:, 0])
