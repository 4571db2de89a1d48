"""Training rows as generators see them: codes of a sample, targets and weights of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np

from engine.data import Rows, Signature
from rules.atoms import Condition
from rules.generators.binned import Binned, Box, binned
from rules.generators.constraints import Constraints
from rules.generators.refit import Kind
from rules.outputs import Output, Points, Probability
from rules.rule import Policy, Rule
from rules.ruleset import RuleSet

__all__ = ["Examples", "examples"]

SAMPLE_ROWS = 40_000


@final
@dataclass(frozen=True, eq=False)
class Examples:
    """What a generator learns from.

    Args:
        signature: Of the data.
        inputs: `x`, `c` or both, of all rows.
        targets: float64, shape (n_rows, n_outputs): the probability of the second of two classes, of each of more, or
            values.
        truth: Where `targets` are a teacher's alone, what is true instead, of the same shape; otherwise None.
        weights: float64, shape (n_rows,), 1 on average.
        sample: Numbers of the rows that choose conditions; all of them where there are few.
        data: The sample as codes.
        constraints: The user's.
        seed: Of everything random.
    """

    signature: Signature
    inputs: Mapping[str, np.ndarray]
    targets: np.ndarray
    truth: np.ndarray | None
    weights: np.ndarray
    sample: np.ndarray
    data: Binned
    constraints: Constraints
    seed: int

    @property
    def kind(self) -> Kind:
        """The loss that fits the task."""
        if self.signature.task == "regression":
            return "squares"
        return "logistic" if len(self.signature.classes) == 2 else "multinomial"

    @cached_property
    def shares(self) -> np.ndarray:
        """Probabilities of all classes, float64, shape (n_rows, n_classes); for regression the values."""
        if self.kind != "logistic":
            return self.targets
        return np.hstack([1 - self.targets, self.targets])

    def holds(self, condition: Condition) -> np.ndarray:
        """Return which rows keep a condition: bool, shape (n_rows,)."""
        found = np.ones(len(self.targets), bool)
        for atom in condition.atoms:
            name, place = self._places[atom.column]
            found &= atom.holds(self.inputs[name][:, place])
        return found

    def inside(self, box: Box) -> np.ndarray:
        """Return which of all rows lie in a box: bool, shape (n_rows,)."""
        return (
            box.mask(self.data.codes) if len(self.sample) == len(self.targets) else self.holds(self.data.condition(box))
        )

    def output(self, values: np.ndarray) -> Output:
        """Return what a rule says that decides alone: probabilities, or the value of a regression."""
        if self.kind == "squares":
            return Points((_shortened(float(values[0]), float(self.targets.std())),))
        shares = np.round(np.clip(values, 0, 1), 4)
        shares[shares.argmax()] += 1 - shares.sum()
        return Probability(tuple(float(share) for share in np.round(shares, 4)))

    def mean_of(self, mask: np.ndarray, *, prior: float = 1.0) -> np.ndarray:
        """Return the mean target of some rows, `prior` rows of the whole added: float64, shape (n_classes or 1,)."""
        weights = self.weights[mask]
        whole = np.average(self.shares, axis=0, weights=self.weights)
        summed = weights @ self.shares[mask] + prior * whole
        mean: np.ndarray = summed / (weights.sum() + prior)
        return mean

    @cached_property
    def must(self) -> tuple[Rule, ...]:
        """Rules that every model must have, as they decide alone: points become the shares of their rows."""
        made = []
        for rule in self.constraints.must:
            if self.kind != "squares" and isinstance(rule.output, Points):
                rule = replace(rule, output=self.output(self.mean_of(self.holds(rule.condition))))
            made.append(rule)
        return tuple(made)

    def ruleset(self, rules: tuple[Rule, ...], policy: Policy, default: Output) -> RuleSet:
        """Return a rule set for these data."""
        return RuleSet(
            rules,
            policy,
            default,
            self.signature.classes,
            self.signature.numeric_columns,
            self.signature.categorical_columns,
        )

    @cached_property
    def _places(self) -> dict[str, tuple[str, int]]:
        numeric = {name: ("x", place) for place, name in enumerate(self.signature.numeric_columns)}
        return numeric | {name: ("c", place) for place, name in enumerate(self.signature.categorical_columns)}


def examples(
    rows: Rows,
    signature: Signature,
    constraints: Constraints,
    *,
    soft: np.ndarray | None = None,
    teach: float = 0.0,
    most_bins: int = 250,
    seed: int = 0,
) -> Examples:
    """Prepare rows for a generator; rows that hard rules decide before the model are left out.

    Args:
        rows: Training rows.
        signature: Of the data.
        constraints: The user's.
        soft: A teacher's probabilities or values, float64, shape (n_rows, n_classes or 1).
        teach: Share in [0, 1] of the targets that comes from the teacher.
        most_bins: Most codes of a column of numbers.
        seed: Of the sample.
    """
    targets, truth = _targets(rows, signature), None
    if soft is not None and teach:
        taught = soft[:, 1:] if signature.task == "classification" and len(signature.classes) == 2 else soft
        truth = targets if teach == 1 else None
        targets = (1 - teach) * targets + teach * taught
    weights = np.ones(len(rows)) if rows.weight is None else np.asarray(rows.weight, np.float64)
    inputs: dict[str, Any] = rows.inputs()
    decided = [rule for rule in constraints.hard if rule.stage == "before"]
    if decided:
        nothing = Binned((), np.empty((0, 0), np.uint8))
        whole = Examples(signature, inputs, targets, truth, weights, np.arange(len(rows)), nothing, constraints, seed)
        open_rows = ~np.any([whole.holds(rule.condition) for rule in decided], axis=0)
        if open_rows.any():
            inputs = {name: column[open_rows] for name, column in inputs.items()}
            targets, weights = targets[open_rows], weights[open_rows]
            truth = None if truth is None else truth[open_rows]
    kept = weights > 0
    if not kept.all() and kept.any():
        inputs = {name: column[kept] for name, column in inputs.items()}
        targets, weights = targets[kept], weights[kept]
        truth = None if truth is None else truth[kept]
    weights = weights / weights.mean() if weights.sum() > 0 else np.ones(len(weights))
    count = len(targets)
    sample = np.arange(count)
    if count > SAMPLE_ROWS:
        sample = np.sort(np.random.default_rng(seed).choice(count, SAMPLE_ROWS, replace=False))
    seen = inputs if len(sample) == count else {name: column[sample] for name, column in inputs.items()}
    data = binned(seen, signature, most_bins=most_bins, without=constraints.without, thresholds=constraints.thresholds)
    return Examples(signature, inputs, targets, truth, weights, sample, data, constraints, seed)


def _targets(rows: Rows, signature: Signature) -> np.ndarray:
    y = np.asarray(rows.y)
    if signature.task == "regression":
        return y.astype(np.float64)[:, None]
    if len(signature.classes) == 2:
        return np.asarray(y == 1, np.float64)[:, None]
    return np.asarray(y[:, None] == np.arange(len(signature.classes)), np.float64)


def _shortened(value: float, spread: float) -> float:
    """Round a value to a thousandth of the spread of all values, as a decimal."""
    digits = 3 - int(np.floor(np.log10(spread))) if spread > 0 else 6
    return float(np.round(value, digits))
