"""Whether an answer moves in one direction with a column: proven on the rules themselves, not on rows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, final

import numpy as np

from rules.analysis import gaps
from rules.atoms import Atom, Condition, Numbers
from rules.boxes import meet, simplified
from rules.outputs import Points
from rules.rule import Rule
from rules.ruleset import RuleSet

__all__ = ["Certificate", "certified"]


@final
@dataclass(frozen=True)
class Certificate:
    """What is known of one column.

    Args:
        column: Its name.
        direction: 1 where the probability of the second class (or the value) may only rise with the column, else -1.
        is_proven: Whether that is certain for every row there could be; missing values apart.
        reason: Why, or what stands against it.
    """

    column: str
    direction: int
    is_proven: bool
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return the certificate as plain containers."""
        return asdict(self)


def certified(engine: RuleSet, column: str, direction: int) -> Certificate:
    """Prove, or fail to prove, that an answer moves in one direction with a column.

    Where points are added, the rules that differ in this column alone are one staircase, looked at step by step.
    Where one rule decides, every two rules that a change of this column can lead between are compared. Both are
    sufficient: what is proven holds; what is not may still hold, or the reason names the rules that break it.

    Args:
        engine: Of two classes, or of values.
        column: A column of numbers.
        direction: 1 or -1.
    """
    if len(engine.classes) > 2:
        return Certificate(column, direction, False, "there are more than two classes")
    users = [rule for rule in engine.rules if any(atom.column == column for atom in rule.condition.atoms)]
    if not users:
        return Certificate(column, direction, True, "no rule asks for it")
    if engine.policy == "sum" and not any(rule.is_hard for rule in engine.rules):
        offending = _steps_wrong(users, column, direction)
        is_rising = engine.calibration is None or all(
            a <= b for a, b in itertools.pairwise(engine.calibration.probabilities)
        )
        if not is_rising:
            return Certificate(column, direction, False, "the calibration falls")
    elif engine.policy in ("first", "unique"):
        offending = _leads_wrong(engine, column, direction)
    else:
        return Certificate(column, direction, False, f"nothing is proven of policy {engine.policy} with hard rules")
    if offending:
        return Certificate(column, direction, False, f"see {', '.join(offending)}")
    return Certificate(column, direction, True, "every step that a rule makes in it goes that way")


def _steps_wrong(users: Sequence[Rule], column: str, direction: int) -> list[str]:
    """Return rules whose points, summed over those that differ in this column alone, step the wrong way."""
    groups: dict[Condition, list[Rule]] = {}
    for rule in users:
        rest = Condition(tuple(atom for atom in rule.condition.atoms if atom.column != column))
        groups.setdefault(rest, []).append(rule)
    wrong = []
    for rules in groups.values():
        values = np.array(_cells(atom for rule in rules for atom in rule.condition.atoms if atom.column == column))
        heights = np.zeros(len(values))
        for rule in rules:
            inside = np.ones(len(values), bool)
            for atom in rule.condition.atoms:
                if atom.column == column:
                    inside &= atom.holds(values)
            points = rule.output.values[0] if isinstance(rule.output, Points) else 0.0
            heights += inside * points * rule.weight
        if (direction * np.diff(heights) < -1e-9).any():
            wrong += [rule.id for rule in rules]
    return wrong


def _leads_wrong(engine: RuleSet, column: str, direction: int) -> list[str]:
    """Return two rules between which a change of the column leads the wrong way.

    A row of rule A, changed in this column, can be decided by rule B only if the two agree in all other columns.
    """
    order = [rule for stage in ("before", "after", "model") for rule in engine.rules if rule.stage == stage]
    if engine.policy == "first":
        return _enters_wrong(engine, order, column, direction)
    uncovered = gaps(order)
    boxes = (Condition(),) if uncovered is None else uncovered
    order += [Rule("default", box, engine.default) for box in boxes if not _asks_missing(box, column)]
    for place, one in enumerate(order):
        for other in order[place + 1 :]:
            first, second = _without(one.condition, column), _without(other.condition, column)
            if meet(first, second) is None:
                continue
            here, there = _value(engine, one), _value(engine, other)
            if here == there:
                continue
            low, high = (one, other) if here < there else (other, one)
            if not _is_below(low.condition, high.condition, column, direction):
                return [one.id, other.id]
    return []


def _enters_wrong(engine: RuleSet, order: Sequence[Rule], column: str, direction: int) -> list[str]:
    """Return two rules of a list between which a change of the column leads the wrong way.

    A step can only bring a row into a rule that opens that way, from rules below it, or out of a rule that opens the
    other way, to rules below it.
    """
    asked = [*order, Rule("default", Condition(), engine.default)]
    for place, rule in enumerate(order):
        atoms = [atom for atom in rule.condition.atoms if atom.column == column]
        is_entered = all(_opens(atom, direction) for atom in atoms)
        is_left = all(_opens(atom, -direction) for atom in atoms)
        for below in asked[place + 1 :] if atoms else ():
            if meet(_without(rule.condition, column), _without(below.condition, column)) is None:
                continue
            here, there = _value(engine, rule), _value(engine, below)
            if (here < there and not is_left) or (here > there and not is_entered):
                return [rule.id, below.id]
    return []


def _asks_missing(condition: Condition, column: str) -> bool:
    return any(isinstance(atom, Numbers) and atom.is_void for atom in condition.atoms if atom.column == column)


def _opens(atom: Atom, direction: int) -> bool:
    if not isinstance(atom, Numbers) or atom.is_void:
        return False
    return (atom.high == math.inf) if direction > 0 else (atom.low == -math.inf)


def _is_below(low: Condition, high: Condition, column: str, direction: int) -> bool:
    """Whether every value of the column in the first box lies before every one in the second, in the direction."""
    one, other = _atom(low, column), _atom(high, column)
    if one is None or other is None:
        return False
    return one.high <= other.low if direction > 0 else one.low >= other.high


def _without(condition: Condition, column: str) -> Condition:
    return Condition(tuple(atom for atom in condition.atoms if atom.column != column))


def _atom(condition: Condition, column: str) -> Numbers | None:
    found = simplified(condition)
    atoms = [atom for atom in found.atoms if atom.column == column] if found is not None else []
    return replace(atoms[0]) if atoms and isinstance(atoms[0], Numbers) else None


def _value(engine: RuleSet, rule: Rule) -> float:
    from rules.evaluate import vector

    return float(np.float32(vector(rule.output, engine)[-1]))


def _cells(atoms: Iterable[Atom]) -> list[float]:
    """Return a value in every cell that atoms cut a column into, ascending."""
    numbers = [atom for atom in atoms if isinstance(atom, Numbers)]
    ends = sorted({np.float32(end) for atom in numbers for end in (atom.low, atom.high) if math.isfinite(end)})
    around = [np.nextafter(end, np.float32(side)) for end in ends for side in (-np.inf, np.inf)]
    return sorted(float(value) for value in {*ends, *around}) or [0.0]
