"""Rows at which forms of one rule set could differ: corners of boxes, neighbours of thresholds, missing and unseen."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from rules.atoms import Atom, Condition, Numbers
from rules.boxes import ends, simplified
from rules.decimals import after, before
from rules.ruleset import RuleSet

__all__ = ["corner_rows", "random_rows", "row_inputs"]

UNSEEN = "never seen before"
CORNER_COLUMNS = 8  # of a box, of which all combinations are made; of further ones, ends drawn at random
Value = float | str


def row_inputs(engine: RuleSet, rows: Sequence[Mapping[str, Value]]) -> dict[str, np.ndarray]:
    """Return rows given by name of column as inputs of the rule set; what a row leaves out is missing.

    Returns:
        `x`, float32, and `c`, str, each only if there are such columns.
    """
    made: dict[str, np.ndarray] = {}
    if engine.numeric_columns:
        numbers = [[row.get(name, math.nan) for name in engine.numeric_columns] for row in rows]
        made["x"] = np.array(numbers, np.float32).reshape(len(rows), len(engine.numeric_columns))
    if engine.categorical_columns:
        texts = [[row.get(name, "") for name in engine.categorical_columns] for row in rows]
        made["c"] = np.array(texts, str).reshape(len(rows), len(engine.categorical_columns))
    return made


def corner_rows(engine: RuleSet, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the corners of every rule's box, and for each column of a box the nearest rows outside.

    Columns that the box is not about, and those beyond the first eight, get values that matter to some rule, at random.
    """
    values = _telling(engine)
    rows: list[dict[str, Value]] = []
    for rule in engine.rules:
        box = simplified(rule.condition) or Condition()
        inside = [_inside(atom) for atom in box.atoms]
        for corner in itertools.product(*inside[:CORNER_COLUMNS]):
            row = {name: _any(known, rng) for name, known in values.items()}
            row |= {atom.column: _any(ends_, rng) for atom, ends_ in zip(box.atoms, inside, strict=True)}
            rows.append(row | {atom.column: value for atom, value in zip(box.atoms, corner, strict=False)})
        for atom in box.atoms:
            rows += [rows[-1] | {atom.column: value} for value in values[atom.column]]
    return row_inputs(engine, rows)


def random_rows(
    engine: RuleSet, count: int, rng: np.random.Generator, inputs: Mapping[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """Return rows whose values matter to some rule, or occur in the data: every column drawn for itself."""
    values = _telling(engine)
    made = {}
    for kind, names in (("x", engine.numeric_columns), ("c", engine.categorical_columns)):
        if not names:
            continue
        columns = []
        for place, name in enumerate(names):
            drawn = np.array(values[name], dtype=np.float32 if kind == "x" else str)
            drawn = drawn[rng.integers(len(drawn), size=count)]
            if inputs is not None and len(inputs[kind]):
                seen = np.asarray(inputs[kind])[:, place]
                seen = seen[rng.integers(len(seen), size=count)]
                seen = seen if kind == "x" else seen.astype(str)
                drawn = np.where(rng.random(count) < 0.5, drawn, seen)
            columns.append(drawn)
        made[kind] = np.stack(columns, axis=1)
    return made


def _telling(engine: RuleSet) -> dict[str, list[Value]]:
    """Return for each column the values at which some rule may change its mind, and others."""
    found: dict[str, set[Value]] = {name: {0.0, math.inf, -math.inf} for name in engine.numeric_columns}
    found |= {name: {UNSEEN, ""} for name in engine.categorical_columns}
    for rule in engine.rules:
        for atom in rule.condition.atoms:
            if isinstance(atom, Numbers):
                for end in (atom.low, atom.high):
                    found[atom.column] |= {end, before(end), after(end)}
            else:
                found[atom.column] |= set(atom.values)
    numeric = {name: [*sorted(found[name], key=float), math.nan] for name in engine.numeric_columns}
    return numeric | {name: sorted(found[name], key=str) for name in engine.categorical_columns}


def _inside(atom: Atom) -> list[Value]:
    """Return the ends of an atom, one or two values that satisfy it."""
    if isinstance(atom, Numbers):
        low, high = ends(atom)
        found: list[Value] = sorted({low, high}) if low <= high else []
        return found + ([math.nan] if atom.missing else [])
    if atom.negated:
        return [UNSEEN, *([""] if atom.missing else [])]
    return [*atom.values[:1], *atom.values[1:][-1:], *([""] if atom.missing else [])]


def _any(values: Sequence[Value], rng: np.random.Generator) -> Value:
    return values[int(rng.integers(len(values)))]
