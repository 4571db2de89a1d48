"""The smallest change of a row that changes its answer: rules cut every column into few cells, and all are tried."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np

from rules.atoms import Categories, Numbers, single
from rules.ruleset import RuleSet

__all__ = ["Change", "Counterfactual", "counterfactual"]

MOST_COLUMNS = 3
MOST_TRIED = 200_000
Tried = tuple[float, tuple[str, ...], tuple[Any, ...]]  # distance, columns, values


@final
@dataclass(frozen=True)
class Change:
    """One column that changes: from the row's value to another; None or "" for missing."""

    column: str
    before: float | str | None
    after: float | str | None


@final
@dataclass(frozen=True)
class Counterfactual:
    """A change that flips an answer.

    Args:
        before: The answer to the row.
        after: The answer to the changed row.
        changes: What changes, as few columns as possible.
        distance: Sum of the changes, each in spreads of its column; 1 for a category.
    """

    before: str
    after: str
    changes: tuple[Change, ...]
    distance: float

    def to_json(self) -> dict[str, Any]:
        """Return the change as plain containers."""
        return asdict(self)

    def __str__(self) -> str:
        said = [
            f"{change.column} {'missing' if change.before in (None, '') else change.before} -> {change.after}"
            for change in self.changes
        ]
        return f"{self.before or 'no answer'} becomes {self.after}: {', '.join(said)}"


def counterfactual(
    engine: RuleSet,
    row: Mapping[str, np.ndarray],
    *,
    spreads: Mapping[str, float] | None = None,
    fixed: Sequence[str] = (),
    target: str | None = None,
) -> Counterfactual | None:
    """Return the smallest change of a row that changes its class.

    Rules cut a column of numbers into few cells, within which no answer changes: it is enough to try the nearest value
    of each cell. Changes of one column are all compared before those of two, and so on, up to three columns (of more
    than 200,000, not all those of two and three). No value becomes missing.

    Args:
        engine: Of a classifier.
        row: `x`, `c` or both, with one row.
        spreads: What a unit of change is, by column of numbers; 1 where nothing is said.
        fixed: Columns that cannot change.
        target: Name of the class that is wanted; None for any other.

    Returns:
        The change; None where no change of three columns is enough, or for values.
    """
    if not engine.classes:
        return None
    decision = int(engine.decisions(row)[0])
    before = engine.classes[decision] if decision >= 0 else ""
    options = {name: values for name, values in _options(engine, row).items() if name not in fixed and values}
    units = spreads or {}
    here = {name: _value(engine, row, name) for name in options}
    for count in range(1, MOST_COLUMNS + 1):
        tried: list[Tried] = []
        for names in itertools.combinations(options, count):
            if len(tried) > MOST_TRIED:
                break
            moves = [
                [(value, _step(value, here[name], units.get(name, 1.0))) for value in options[name]] for name in names
            ]
            tried.extend(
                (sum(step for _, step in chosen), names, tuple(value for value, _ in chosen))
                for chosen in itertools.product(*moves)
            )
        found = _best(engine, row, decision, tried, target)
        if found is not None:
            distance, names, values, after = found
            changes = tuple(
                Change(name, _shown(_value(engine, row, name)), _shown(value))
                for name, value in zip(names, values, strict=True)
            )
            return Counterfactual(before, after, changes, distance)
    return None


def _best(
    engine: RuleSet,
    row: Mapping[str, np.ndarray],
    decision: int,
    tried: list[Tried],
    target: str | None,
) -> tuple[float, tuple[str, ...], tuple[Any, ...], str] | None:
    """Return the nearest of the tried changes that flips the answer."""
    tried.sort(key=lambda entry: (entry[0], entry[1], tuple(map(str, entry[2]))))
    for start in range(0, len(tried), 4096):
        part = tried[start : start + 4096]
        inputs = {name: np.repeat(array[:1], len(part), axis=0) for name, array in row.items()}
        if "c" in inputs:
            inputs["c"] = inputs["c"].astype(object)
        for place, (_, names, values) in enumerate(part):
            for name, value in zip(names, values, strict=True):
                source, column = engine.columns[name]
                inputs[source][place, column] = value
        if "c" in inputs:
            inputs["c"] = inputs["c"].astype(str)
        said = engine.decisions(inputs)
        wanted = said == engine.classes.index(target) if target else (said != decision) & (said >= 0)
        if wanted.any():
            place = int(np.argmax(wanted))
            return (*part[place], engine.classes[int(said[place])])
    return None


def _options(engine: RuleSet, row: Mapping[str, np.ndarray]) -> dict[str, list[Any]]:
    """Return for each column the nearest value of each cell that the row is not in."""
    cuts: dict[str, set[tuple[float, bool]]] = {}
    named: dict[str, set[str]] = {}
    for rule in engine.rules:
        for atom in rule.condition.atoms:
            if isinstance(atom, Numbers):
                both = ((atom.low, atom.low_open), (atom.high, not atom.high_open))
                cuts.setdefault(atom.column, set()).update(end for end in both if math.isfinite(end[0]))
            elif isinstance(atom, Categories):
                named.setdefault(atom.column, set()).update(atom.values)
    made: dict[str, list[Any]] = {}
    for name, ends in cuts.items():
        value = _value(engine, row, name)
        made[name] = _nearest_values(sorted(ends), float("nan") if value is None else float(value))
    for name, values in named.items():
        made[name] = sorted(values - {str(_value(engine, row, name))})
    return made


def _nearest_values(ends: list[tuple[float, bool]], value: float) -> list[float]:
    """Return the value nearest to `value` in each cell between ends; an end is (number, whether it belongs below)."""
    firsts: list[float] = [-math.inf]
    lasts: list[float] = []
    for number, is_below in ends:
        single = np.float32(number)
        lasts.append(float(single if is_below else np.nextafter(single, np.float32(-np.inf))))
        firsts.append(float(np.nextafter(single, np.float32(np.inf)) if is_below else single))
    lasts.append(math.inf)
    made = []
    for first, last in zip(firsts, lasts, strict=True):
        if first > last or first <= value <= last:
            continue
        is_first = math.isfinite(first) and (math.isnan(value) or value < first)
        made.append(first if is_first or not math.isfinite(last) else last)
    return made


def _value(engine: RuleSet, row: Mapping[str, np.ndarray], name: str) -> Any:
    source, place = engine.columns[name]
    value = row[source][0, place]
    if source == "c":
        return str(value)
    return None if np.isnan(value) else float(value)


def _shown(value: Any) -> float | str | None:
    return value if value is None or isinstance(value, str) else single(value)


def _step(value: Any, before: Any, unit: float) -> float:
    """Return how far a value moves: in spreads for numbers, 1 for a category or where the value was missing."""
    if isinstance(value, str) or before is None:
        return 1.0
    return float(abs(value - before) / (unit or 1.0))
