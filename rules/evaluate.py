"""What a rule set says of rows: the reference that every exported form must equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from engine.errors import ArtifactError
from rules.atoms import Atom
from rules.outputs import Abstain, Label, Output, Points, Probability
from rules.rule import Band, Rule
from rules.totals import totals_of

if TYPE_CHECKING:
    from rules.ruleset import RuleSet

__all__ = ["banded", "evaluate", "matches", "vector"]


def matches(engine: RuleSet, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return which rules hold for which rows: bool, shape (n_rows, n_rules).

    Args:
        engine: The rules.
        inputs: `x`, float32, shape (n_rows, n_numeric), NaN for missing; `c`, str, shape (n_rows, n_categorical), ""
            for missing; each only if there are such columns.

    Raises:
        ArtifactError: If an input is missing or has another number of columns.
    """
    columns = _columns(engine, inputs)
    count = len(next(iter(inputs.values())))
    held: dict[Atom, np.ndarray] = {}
    made = np.ones((count, len(engine.rules)), bool)
    for place, rule in enumerate(engine.rules):
        for atom in rule.condition.atoms:
            if atom not in held:
                held[atom] = atom.holds(columns[atom.column])
            made[:, place] &= held[atom]
    return made


def evaluate(engine: RuleSet, inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return what the rules say of each row.

    Args:
        engine: The rules.
        inputs: As for `matches`.

    Returns:
        Probabilities or values, float32, shape (n_rows, n_classes or 1); and the number of the most probable class (the
        first of equal ones), int64, shape (n_rows,), -1 where the engine abstains; all 0 for regression.
    """
    held = matches(engine, inputs)
    in_model = np.array([not rule.is_hard for rule in engine.rules], bool)
    model = tuple(rule for rule in engine.rules if not rule.is_hard)
    values, is_silent = _of_model(engine, model, held[:, in_model])
    if engine.abstain is not None:
        is_silent = is_silent | banded(engine.abstain, values, engine.classes)
    stages = ("before", "after")
    order = [place for stage in stages for place, rule in enumerate(engine.rules) if rule.stage == stage]
    if order:
        first, is_decided = _first(held[:, order])
        said = [engine.rules[place].output for place in order]
        values[is_decided] = np.array([vector(output, engine) for output in said])[first[is_decided]]
        silent = np.array([isinstance(output, Abstain) for output in said])
        is_silent = np.where(is_decided, silent[first], is_silent)
    rounded = values.astype(np.float32)
    decisions = rounded.argmax(axis=1)
    return rounded, np.where(is_silent, -1, decisions)


def vector(output: Output, engine: RuleSet) -> list[float]:
    """Return what an output says that decides alone: probabilities of the classes, or the value of a regression."""
    if isinstance(output, Label):
        return [float(name == output.name) for name in engine.classes]
    if isinstance(output, Probability | Points):
        return list(output.values)
    return [1 / len(engine.classes)] * len(engine.classes)


def banded(band: Band, values: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Return which rows a band withholds: bool, shape (n_rows,), of probabilities, shape (n_rows, n_classes)."""
    asked = values[:, classes.index(band.name)] if band.name else values.max(axis=1)
    rounded = asked.astype(np.float32)
    within: np.ndarray = (rounded >= np.float32(band.low)) & (rounded <= np.float32(band.high))
    return within


def _of_model(engine: RuleSet, model: tuple[Rule, ...], held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return values, float64, shape (n_rows, n_classes or 1), and which rows get no answer."""
    if engine.policy in ("first", "unique"):
        said = [*(rule.output for rule in model), engine.default]
        first, is_any = _first(held)
        chosen = np.where(is_any, first, len(model))
        silent = np.array([isinstance(output, Abstain) for output in said])
        return np.array([vector(output, engine) for output in said], float)[chosen], silent[chosen]
    totals = totals_of(engine)
    summed = held @ totals.values + totals.base
    if engine.policy == "vote":
        _, is_any = _first(held)
        weights = np.where(is_any, held @ totals.weights, 1)
        values = np.where(is_any[:, None], summed / weights[:, None], vector(engine.default, engine))
        return values, ~is_any & isinstance(engine.default, Abstain)
    return totals.answered(summed), np.zeros(len(held), bool)


def _first(held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of the first column that holds (0 where none does), and whether one does."""
    if not held.shape[1]:
        return np.zeros(len(held), int), np.zeros(len(held), bool)
    return held.argmax(axis=1), np.asarray(held.any(axis=1))


def _columns(engine: RuleSet, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    for name, wanted in (("x", engine.numeric_columns), ("c", engine.categorical_columns)):
        if wanted and name not in inputs:
            raise ArtifactError(f"The rules need the input {name}, with the columns {', '.join(wanted)}.")
        if wanted and np.shape(inputs[name])[1:] != (len(wanted),):
            shape = " x ".join(map(str, np.shape(inputs[name])))
            raise ArtifactError(f"Input {name} must have shape N x {len(wanted)}, got {shape}.")
    return {column: inputs[name][:, place] for column, (name, place) in engine.columns.items()}
