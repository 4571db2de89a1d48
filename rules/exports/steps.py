"""Sums of points as a score card: rules about one column of numbers become one staircase."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from rules.atoms import Condition, Numbers
from rules.boxes import simplified
from rules.ruleset import RuleSet
from rules.totals import totals_of

__all__ = ["Cut", "Staircase", "Term", "terms_of"]


@final
@dataclass(frozen=True, order=True)
class Cut:
    """A place on the line of numbers, just below a number or just above it.

    Args:
        value: Float32.
        is_after: Whether the number itself lies below the cut.
    """

    value: float
    is_after: bool


@final
@dataclass(frozen=True, eq=False)
class Staircase:
    """What rules about one column add up to.

    Args:
        column: Of numbers.
        cuts: Ascending.
        values: Of each step, shape (n_cuts + 1, n_values).
        missing: Of a missing value, shape (n_values,).
    """

    column: str
    cuts: tuple[Cut, ...]
    values: np.ndarray
    missing: np.ndarray


@final
@dataclass(frozen=True, eq=False)
class Term:
    """What a condition adds, shape (n_values,)."""

    condition: Condition
    values: np.ndarray


def terms_of(engine: RuleSet) -> tuple[Staircase | Term, ...]:
    """Return what is added up under the policies `sum` and `vote`, in the order of the rules.

    Under `vote` the last of the values is the weight. Rules that hold for no row are left out.
    """
    totals = totals_of(engine)
    values = totals.values if engine.policy == "sum" else np.column_stack([totals.values, totals.weights])
    boxes = [simplified(rule.condition) for rule in engine.of_stage("model")]
    single: dict[str, list[int]] = {}
    for place, box in enumerate(boxes):
        if box is not None and len(box) == 1 and isinstance(box.atoms[0], Numbers):
            single.setdefault(box.atoms[0].column, []).append(place)
    made: list[Staircase | Term] = []
    for place, box in enumerate(boxes):
        if box is None:
            continue
        atom = box.atoms[0] if len(box) == 1 else None
        shared = single[atom.column] if isinstance(atom, Numbers) else []
        if len(shared) > 1:
            if place == shared[0]:
                atoms = [boxes[other].atoms[0] for other in shared]  # type: ignore[union-attr]
                made.append(_staircase([atom for atom in atoms if isinstance(atom, Numbers)], values[shared]))
        else:
            made.append(Term(box, values[place]))
    return tuple(made)


def _staircase(atoms: Sequence[Numbers], values: np.ndarray) -> Staircase:
    spans = [(Cut(atom.low, atom.low_open), Cut(atom.high, not atom.high_open)) for atom in atoms]
    lowest, highest = Cut(-math.inf, False), Cut(math.inf, True)
    cuts = sorted({cut for span in spans for cut in span} - {lowest, highest})
    begins = [lowest, *cuts]
    inside = [[begin <= cut < end for begin, end in spans] for cut in begins]
    missing = [atom.missing for atom in atoms]
    return Staircase(atoms[0].column, tuple(cuts), np.array(inside) @ values, np.array(missing) @ values)
