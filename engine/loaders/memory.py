"""Tables in memory, read as a csv file would be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from engine.errors import DataError
from engine.loaders.frame import as_frame
from engine.loaders.joining import join_frames
from engine.loaders.raw import OPEN, Raw
from engine.loaders.settings import IN_MEMORY, DataSettings, check

__all__ = ["read_frame"]


def read_frame(
    x: Any, y: Any, settings: DataSettings, *, sample_weight: Any = None, groups: Any = None, times: Any = None
) -> tuple[Raw, DataSettings]:
    """Read a table in memory, and return it with the settings that name its columns.

    Args:
        x: DataFrame, or numbers of shape (n_rows, n_columns), whose columns are called x0, x1, ...
        y: Targets, shape (n_rows,).
        settings: What the user says of it.
        sample_weight: Weights, shape (n_rows,), or None.
        groups: Groups, shape (n_rows,), or None.
        times: When each row was, shape (n_rows,): dates, or numbers that rise; or None.

    Raises:
        DataError: With every problem of the stage reached.
    """
    settings = replace(settings, name=IN_MEMORY)
    check(settings)
    frame = as_frame(x)
    if frame.empty:
        raise DataError(f"The table must have rows and columns, it has {len(frame)} and {len(frame.columns)}.")
    given = {"target": y, "weight": sample_weight, "group": groups, "time": times}
    arguments = {"target": "y", "weight": "sample_weight", "group": "groups", "time": "times"}
    columns = {role: _column(values) for role, values in given.items() if values is not None}
    problems = [
        f"{arguments[role]} must have one value for each of the {len(frame)} rows of the table, got {len(values)}."
        for role, values in columns.items()
        if len(values) != len(frame)
    ]
    problems += [
        f"data.{role} and {arguments[role]} exclude each other: give one of them."
        for role in columns
        if role != "target" and getattr(settings, role)
    ]
    if groups is not None and times is not None:
        problems.append("groups and times exclude each other: leave one of them out.")
    if problems:
        raise DataError("\n".join(problems))
    names: dict[str, Any] = {role: _free(role, frame) for role in columns}
    settings = replace(settings, **names)
    extra = pd.DataFrame({names[role]: values.to_numpy() for role, values in columns.items()}, index=frame.index)
    joined = pd.concat([frame, extra], axis=1)
    return join_frames({OPEN: joined}, settings, target=names["target"], where="the table"), settings


def _column(values: Any) -> pd.Series:
    if isinstance(values, pd.Series):
        return values.reset_index(drop=True)
    if isinstance(values, pd.DataFrame):
        values = values.to_numpy()
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(f"Targets, weights, groups and times must have one value a row, got shape {array.shape}.")
    return pd.Series(array)


def _free(name: str, frame: pd.DataFrame) -> str:
    """Return a name that no column has."""
    while name in frame.columns:
        name += "_"
    return name
