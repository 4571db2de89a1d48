"""Sums of points as a score card: rules about one column become one staircase, or one list of categories."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from rules.atoms import Categories, Condition, Numbers
from rules.boxes import simplified
from rules.ruleset import RuleSet
from rules.totals import totals_of

__all__ = ["Choice", "Cut", "Staircase", "Term", "terms_of"]


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
    """What rules about one column of numbers add up to.

    Args:
        column: Of numbers.
        cuts: Ascending.
        values: Of each step, and of a missing value, shape (n_cuts + 2, n_values).
    """

    column: str
    cuts: tuple[Cut, ...]
    values: np.ndarray


@final
@dataclass(frozen=True, eq=False)
class Choice:
    """What rules about one column of categories add up to.

    Args:
        column: Of categories.
        groups: Categories that count alike.
        values: Of each group, of every other category, and of a missing value, shape (n_groups + 2, n_values).
    """

    column: str
    groups: tuple[tuple[str, ...], ...]
    values: np.ndarray


@final
@dataclass(frozen=True, eq=False)
class Term:
    """What a condition adds.

    Args:
        condition: In its shortest form.
        values: Where it does not hold, which is nothing, and where it does, shape (2, n_values).
    """

    condition: Condition
    values: np.ndarray


Part = Staircase | Choice | Term


def terms_of(engine: RuleSet) -> tuple[Part, ...]:
    """Return what is added up under the policies `sum` and `vote`, in the order of the rules.

    Under `vote` the last of the values is the weight. Rules that hold for no row are left out.
    """
    totals = totals_of(engine)
    values = totals.values if engine.policy == "sum" else np.column_stack([totals.values, totals.weights])
    boxes = [simplified(rule.condition) for rule in engine.of_stage("model")]
    single: dict[str, list[int]] = {}
    for place, box in enumerate(boxes):
        if box is not None and len(box) == 1:
            single.setdefault(box.atoms[0].column, []).append(place)
    made: list[Part] = []
    for place, box in enumerate(boxes):
        if box is None:
            continue
        shared = single[box.atoms[0].column] if len(box) == 1 else []
        if len(shared) < 2:
            made.append(Term(box, np.stack([np.zeros_like(values[place]), values[place]])))
        elif place == shared[0]:
            atoms = [boxes[other].atoms[0] for other in shared]  # type: ignore[union-attr]
            numbers = [atom for atom in atoms if isinstance(atom, Numbers)]
            texts = [atom for atom in atoms if isinstance(atom, Categories)]
            made.append(_staircase(numbers, values[shared]) if numbers else _choice(texts, values[shared]))
    return tuple(made)


def _staircase(atoms: Sequence[Numbers], values: np.ndarray) -> Staircase:
    spans = [(Cut(atom.low, atom.low_open), Cut(atom.high, not atom.high_open)) for atom in atoms]
    lowest, highest = Cut(-math.inf, False), Cut(math.inf, True)
    cuts = sorted({cut for span in spans for cut in span} - {lowest, highest})
    begins = [lowest, *cuts]
    holds = [[begin <= cut < end for begin, end in spans] for cut in begins] + [[atom.missing for atom in atoms]]
    return Staircase(atoms[0].column, tuple(cuts), np.array(holds) @ values)


def _choice(atoms: Sequence[Categories], values: np.ndarray) -> Choice:
    held: dict[tuple[bool, ...], list[str]] = {}
    for name in sorted({name for atom in atoms for name in atom.values}):
        held.setdefault(tuple((name in atom.values) != atom.negated for atom in atoms), []).append(name)
    others = tuple(atom.negated for atom in atoms)
    held.pop(others, None)
    holds = [*held, others, tuple(atom.missing for atom in atoms)]
    return Choice(atoms[0].column, tuple(map(tuple, held.values())), np.array(holds) @ values)
