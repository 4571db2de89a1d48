"""What every source is read into: whole columns, not yet divided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

import numpy as np

from engine.loaders.kinds import Column

__all__ = ["OPEN", "TEST", "VALID", "Raw"]

OPEN, VALID, TEST = 0, 1, 2  # origins: still to be divided; validation or test rows by the user's word


@final
@dataclass(frozen=True, eq=False)
class Raw:
    """Columns as read. Frozen; nobody writes to the arrays.

    Args:
        kind: `images`, `signals` or `table`.
        y: Target as it came: numbers or text, shape (n_rows,).
        origin: OPEN, VALID or TEST, int8, shape (n_rows,).
        x: uint8 or float32, or None.
        c: Text as objects, shape (n_rows, n_categorical), or None; equal text is held once, however wide.
        numeric: Columns of `x`, for tables.
        categorical: Columns of `c`, for tables.
        group: Number of each row's group, int64, or None.
        time: float64 or int64, larger is later, or None.
        weight: float64, or None.
        columns: What the columns of a table are, and which inputs they give.
        protected: Text of the columns that are kept aside, by name, objects, each of shape (n_rows,).
        notes: What a user should know.
    """

    kind: str
    y: np.ndarray
    origin: np.ndarray
    x: np.ndarray | None = None
    c: np.ndarray | None = None
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    group: np.ndarray | None = None
    time: np.ndarray | None = None
    weight: np.ndarray | None = None
    columns: tuple[Column, ...] = ()
    protected: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.y)
