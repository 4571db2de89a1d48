"""Rows and targets as scikit-learn's users give them, checked as scikit-learn checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, column_or_1d, validate_data

__all__ = ["cells_of", "features_of", "targets_of"]


def features_of(estimator: Any, x: Any, y: np.ndarray | None, sample_weight: Any) -> tuple[pd.DataFrame, Any]:
    """Return rows as a DataFrame, and their weights, float64 or None; at fit, the estimator notes their columns.

    Args:
        estimator: Gets `n_features_in_` and `feature_names_in_` at fit, and is asked for them at prediction.
        x: DataFrame, or array of shape (n_rows, n_columns): numbers, or objects.
        y: Targets at fit; None at prediction.
        sample_weight: Weights, shape (n_rows,), or None.

    Raises:
        ValueError: As scikit-learn raises it, for rows that cannot be used or do not fit those of fit.
    """
    is_fit = y is not None
    if isinstance(x, pd.DataFrame):
        validate_data(estimator, x, reset=is_fit, skip_check_array=True)
        frame = x
    else:
        array = _array_of(estimator, x, is_fit=is_fit)
        frame = pd.DataFrame(array, columns=[f"x{number}" for number in range(array.shape[1])])
    frame = frame.assign(**{str(n): _plain(frame[n]) for n in frame.columns if frame[n].dtype == object})
    weight = None
    if is_fit:
        check_consistent_length(frame, y)
        weight = None if sample_weight is None else _check_sample_weight(sample_weight, frame, dtype=np.float64)
    return frame, weight


def cells_of(estimator: Any, x: Any, columns: pd.Index | None, most: int) -> list[list[Any]] | None:
    """Return the cells of a few new rows that have the columns of fit; None where `features_of` has to look.

    Args:
        estimator: Fitted.
        x: DataFrame, or array of shape (n_rows, n_columns).
        columns: Of the DataFrame at fit; None where it was an array.
        most: Rows.

    Raises:
        ValueError: As scikit-learn raises it, for arrays that cannot be used.
    """
    if isinstance(x, pd.DataFrame):
        if columns is None or not 0 < len(x) <= most or not columns.equals(x.columns):
            return None
        return list(x.to_numpy(dtype=object).tolist())
    if columns is not None or not 0 < getattr(x, "shape", (most + 1,))[0] <= most:
        return None
    return list(_array_of(estimator, x, is_fit=False).tolist())


def targets_of(estimator: Any, y: Any) -> np.ndarray:
    """Return targets as an array of shape (n_rows,).

    Raises:
        ValueError: As scikit-learn raises it.
    """
    if y is None:
        name = type(estimator).__name__
        raise ValueError(f"{name} requires y to be passed, but the target y is None.")
    return np.asarray(column_or_1d(y, warn=True))


def _array_of(estimator: Any, x: Any, *, is_fit: bool) -> np.ndarray:
    checked = validate_data(
        estimator, x, reset=is_fit, dtype=None, ensure_all_finite="allow-nan", ensure_min_samples=2 if is_fit else 1
    )
    return np.asarray(checked)


def _plain(values: pd.Series) -> pd.Series:
    """Return a column of objects that can be compared: as it is, or as texts."""
    try:
        pd.factorize(values)
    except TypeError:  # lists, mappings and the like
        return values.map(str, na_action="ignore")
    return values
