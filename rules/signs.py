"""Which answer a condition may speak for, where the answer has to move in one direction with a column."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rules.atoms import Condition, Numbers
from rules.boxes import ends

__all__ = ["sign_of"]


def sign_of(condition: Condition, monotone: Mapping[str, int]) -> int | None:
    """Return which answer a condition may speak for: 1 for the second class (or a larger value), -1 for the first.

    Args:
        condition: One atom a column.
        monotone: Direction by column, 1 or -1.

    Returns:
        0 where it asks for no column with a direction, None where any answer would break one.

    Example:
        >>> sign_of(Condition((Numbers("age", low=60),)), {"age": -1})
        -1
    """
    signs = {
        monotone[atom.column] * _side(atom)
        for atom in condition.atoms
        if monotone.get(atom.column) and isinstance(atom, Numbers)
    }
    if not signs:
        return 0
    return signs.pop() if len(signs) == 1 and 0 not in signs else None


def _side(atom: Numbers) -> int:
    """Return 1 where an atom holds for all large numbers, -1 for all small ones, 0 for neither, or for both."""
    low, high = ends(atom)
    return int(high == math.inf) - int(low == -math.inf) if low <= high else 0
