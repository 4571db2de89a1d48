"""What is known of the data that rules are about: columns, their values, classes, rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import final

import numpy as np

from engine.data import Rows, Signature
from engine.errors import did_you_mean

__all__ = ["Table"]

MOST_VALUES = 1000  # of a column of categories that are compared with what a rule names; beyond, every text may occur

MOST_NAMED = 12  # columns in a message


@final
@dataclass(frozen=True, eq=False)
class Table:
    """Columns and classes, and rows if there are any.

    Args:
        numeric_columns: Of the input `x`, in order.
        categorical_columns: Of the input `c`, in order.
        classes: In the order of the outputs; empty for regression.
        inputs: `x` and `c` of rows to validate against; empty without rows.
        targets: Class numbers or values of these rows, shape (n_rows,).
    """

    numeric_columns: tuple[str, ...]
    categorical_columns: tuple[str, ...]
    classes: tuple[str, ...]
    inputs: Mapping[str, np.ndarray] = field(default_factory=dict)
    targets: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns."""
        return self.numeric_columns + self.categorical_columns

    def absent(self, name: str) -> str:
        """Return the sentence about a column that there is not: the nearest name, and the first of all names."""
        listed = ", ".join(self.columns[:MOST_NAMED])
        more = f" and {len(self.columns) - MOST_NAMED} more" if len(self.columns) > MOST_NAMED else ""
        target = "; the target is none" if len(self.targets) else ""
        return f"there is no column {name} (columns: {listed}{more}{target}){did_you_mean(name, self.columns)}"

    @cached_property
    def known_values(self) -> dict[str, frozenset[str]]:
        """The texts that occur in each column of categories, where rows tell, and they are not too many."""
        found = {}
        for place, name in enumerate(self.categorical_columns):
            if len(self.targets):
                values = frozenset(np.unique(np.asarray(self.inputs["c"][:, place], str)).tolist()) - {""}
                if len(values) <= MOST_VALUES:
                    found[name] = values
        return found

    @staticmethod
    def of(signature: Signature, rows: Rows | None = None) -> Table:
        """Return the table of a data set, with some of its rows: those to train on."""
        columns = signature.numeric_columns, signature.categorical_columns, signature.classes
        return Table(*columns) if rows is None else Table(*columns, rows.inputs(), rows.y)
