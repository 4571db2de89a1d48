"""Anything like a table as a DataFrame whose columns are called by texts that differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from engine.errors import DataError

__all__ = ["as_frame"]


def as_frame(x: Any) -> pd.DataFrame:
    """Return rows as a DataFrame whose columns are called by texts.

    Args:
        x: DataFrame, or array of shape (n_rows, n_columns); numbers, booleans or texts.

    Raises:
        DataError: If it is sparse or complex, has another shape, or has two columns of one name.

    Example:
        >>> list(as_frame([[1, 2], [3, 4]]).columns)
        ['x0', 'x1']
    """
    if hasattr(x, "tocsr"):
        raise DataError("The table must be dense, got a sparse one: give x.toarray(), or fewer columns.")
    if not isinstance(x, pd.DataFrame):
        array = np.asarray(x)
        if array.ndim != 2:
            shape = " x ".join(map(str, array.shape)) or "a single value"
            raise DataError(f"The table must have rows and columns, got an array of shape {shape}.")
        x = pd.DataFrame(array, columns=[f"x{number}" for number in range(array.shape[1])])
    if x.columns.nlevels > 1:
        raise DataError(f"Columns must have one name each, got names of {x.columns.nlevels} levels: flatten them.")
    frame: pd.DataFrame = x.set_axis([str(name) for name in x.columns], axis=1).reset_index(drop=True)
    twice = sorted(set(frame.columns[frame.columns.duplicated()]))
    if twice:
        raise DataError(f"Columns must have names that differ, got {', '.join(twice)} more than once.")
    unreal = [name for name in frame.columns if pd.api.types.is_complex_dtype(frame[name].dtype)]
    if unreal:
        raise DataError(f"Complex data are not supported, but {', '.join(unreal[:5])} hold them: give real numbers.")
    sparse = [name for name in frame.columns if isinstance(frame[name].dtype, pd.SparseDtype)]
    if sparse:
        raise DataError(f"Columns must be dense, {', '.join(sparse[:5])} are sparse: use frame.sparse.to_dense().")
    return frame
