"""Thresholds in few digits: the shortest decimals under which every training row passes the same tests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from rules.atoms import Atom, Condition, Numbers
from rules.decimals import shortest_between
from rules.ruleset import RuleSet

__all__ = ["rounded"]


def rounded(
    engine: RuleSet, inputs: Mapping[str, np.ndarray], *, allowed: Mapping[str, Sequence[float]] | None = None
) -> RuleSet:
    """Return the rule set with the thresholds of learned rules rounded; no row of the data changes its answer.

    Each threshold moves within the gap between the two values of its column that it divides, to the number with the
    fewest digits. A person's rules keep theirs.

    Args:
        engine: The rules.
        inputs: Rows of the data, `x` with the columns of the rule set.
        allowed: By column, the only thresholds that may be written; one without an allowed neighbour stays as it is.

    Example:
        >>> from rules.outputs import Label
        >>> from rules.rule import Rule
        >>> old = Rule("old", Condition((Numbers("age", low=60.4832, low_open=True),)), Label("yes"))
        >>> engine = RuleSet((old,), "first", Label("no"), ("no", "yes"), ("age",))
        >>> rounded(engine, {"x": np.array([[58], [60], [63]], np.float32)}).rules[0].condition.atoms[0].low
        62.0
    """
    values = {name: _distinct(inputs["x"][:, place]) for place, name in enumerate(engine.numeric_columns)}
    given = allowed or {}

    def moved(atom: Atom) -> Atom:
        if not isinstance(atom, Numbers) or atom.is_void:
            return atom
        known, choices = values[atom.column], given.get(atom.column)
        low = atom.low if math.isinf(atom.low) else _moved(atom.low, not atom.low_open, known, choices)
        high = atom.high if math.isinf(atom.high) else _moved(atom.high, atom.high_open, known, choices)
        made = replace(atom, low=low, high=high)
        return made if np.array_equal(made.holds(known), atom.holds(known)) else atom

    rules = tuple(
        rule if rule.source == "user" else replace(rule, condition=Condition(tuple(map(moved, rule.condition.atoms))))
        for rule in engine.rules
    )
    return replace(engine, rules=rules)


def _distinct(column: np.ndarray) -> np.ndarray:
    """Return the finite values of a column, ascending."""
    return np.unique(column[np.isfinite(column)].astype(np.float32))


def _moved(threshold: float, is_below_value: bool, known: np.ndarray, choices: Sequence[float] | None) -> float:
    """Return the number to write for a threshold.

    Args:
        threshold: As it is.
        is_below_value: Whether a value equal to the threshold counts to those above it (`x >= t`, `x < t`).
        known: Values of the column, ascending.
        choices: The only numbers that may be written; None for all.
    """
    place = int(np.searchsorted(known, np.float32(threshold), side="left" if is_below_value else "right"))
    if place == 0 or place == len(known):
        return threshold
    low, high = float(known[place - 1]), float(known[place])
    if choices is not None:
        within = [choice for choice in choices if (low < choice <= high if is_below_value else low <= choice < high)]
        return min(within, key=lambda choice: abs(choice - threshold), default=threshold)
    middle = (low + high) / 2  # away from both, so that new rows near either fall on its side
    near = shortest_between(low + (middle - low) / 2, high - (high - middle) / 2)
    return near if low < near < high else threshold
