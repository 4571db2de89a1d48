"""Rule sets: one representation for lists, sets, scores and trees of rules, a person's and learned ones alike."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, final

import numpy as np

from engine.errors import ArtifactError, did_you_mean
from rules.atoms import Atom, Numbers
from rules.evaluate import evaluate, matches
from rules.outputs import Abstain, Label, Output, Points, Probability, output_from_json
from rules.rule import Band, Calibration, Policy, Rule, Stage
from rules.schema import VERSION, schema_problems

__all__ = ["RuleSet"]


@final
@dataclass(frozen=True)
class RuleSet:
    """Rules with all that is needed to answer: how they combine, and what holds where none applies.

    A row is answered by the first rule of stage `before` that applies; else by the first of stage `after`; else by the
    model:

    * `first`: the first rule that applies; `unique`: the same, where no two apply to one row.
    * `sum`: points of all rules that apply, and the default's; a sigmoid or softmax, or `calibration`, makes
      probabilities.
    * `vote`: the mean of what the rules that apply say, by weight.

    The default answers where no rule applies; under `sum` it is what the total begins with. Where the engine abstains
    by a rule or by default, all classes are equally probable.

    Args:
        rules: In order.
        policy: How rules of stage `model` combine.
        default: Points under `sum` and for regression; else a class, probabilities, or to abstain.
        classes: Names in the order of the outputs; empty for regression.
        numeric_columns: Columns of the input `x`, in order.
        categorical_columns: Columns of the input `c`, in order.
        abstain: Probabilities at which the engine gives no class.
        calibration: What totals of points mean.

    Raises:
        ArtifactError: With everything in it that does not fit together.

    Example:
        >>> from rules.atoms import Condition, Numbers
        >>> from rules.outputs import Abstain, Label
        >>> from rules.rule import Rule
        >>> young = Rule("young", Condition((Numbers("age", high=18, high_open=True),)), Label("no"))
        >>> engine = RuleSet((young,), "first", Abstain(), ("no", "yes"), ("age",))
        >>> engine.predict({"x": np.array([[17], [40]], np.float32)}).tolist()
        ['no', '']
    """

    rules: tuple[Rule, ...]
    policy: Policy
    default: Output
    classes: tuple[str, ...] = ()
    numeric_columns: tuple[str, ...] = ()
    categorical_columns: tuple[str, ...] = ()
    abstain: Band | None = None
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        problems = _problems(self)
        if problems:
            raise ArtifactError("\n".join(problems))

    @property
    def task(self) -> str:
        """`classification`, or `regression` where there are no classes."""
        return "classification" if self.classes else "regression"

    @property
    def points(self) -> int:
        """How many points a rule gives: one for two classes and for regression, else one a class."""
        return len(self.classes) if len(self.classes) > 2 else 1

    @cached_property
    def columns(self) -> dict[str, tuple[str, int]]:
        """Input and position of each column, by name."""
        numeric = {name: ("x", place) for place, name in enumerate(self.numeric_columns)}
        return numeric | {name: ("c", place) for place, name in enumerate(self.categorical_columns)}

    @property
    def can_abstain(self) -> bool:
        """Whether there may be rows without an answer."""
        said = [self.default, *(rule.output for rule in self.rules)]
        return self.abstain is not None or any(isinstance(output, Abstain) for output in said)

    def of_stage(self, stage: Stage) -> tuple[Rule, ...]:
        """Return the rules of a stage, in order."""
        return tuple(rule for rule in self.rules if rule.stage == stage)

    def matches(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return which rules hold for which rows, whatever their stage: bool, shape (n_rows, n_rules)."""
        return matches(self, inputs)

    def values(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return probabilities (or values), float32, shape (n_rows, n_classes or 1)."""
        return evaluate(self, inputs)[0]

    def decisions(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the number of the most probable class, int64, shape (n_rows,); -1 where the engine abstains."""
        return evaluate(self, inputs)[1]

    def predict(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return names of classes, str, shape (n_rows,), "" where the engine abstains; or values, float32."""
        values, decisions = evaluate(self, inputs)
        if not self.classes:
            return np.asarray(values[:, 0])
        return np.asarray(np.array([*self.classes, ""])[decisions])

    def to_json(self) -> dict[str, Any]:
        """Return the rule set as plain containers, under `rules.schema.SCHEMA`."""
        made: dict[str, Any] = {"version": VERSION, "policy": self.policy}
        made |= {"classes": list(self.classes)} if self.classes else {}
        made |= {"numeric_columns": list(self.numeric_columns), "categorical_columns": list(self.categorical_columns)}
        made["rules"] = [rule.to_json() for rule in self.rules]
        made["default"] = self.default.to_json()
        if self.abstain is not None:
            made["abstain"] = {"low": self.abstain.low, "high": self.abstain.high}
            made["abstain"] |= {"class": self.abstain.name} if self.abstain.name else {}
        if self.calibration is not None:
            edges, probabilities = self.calibration.edges, self.calibration.probabilities
            made["calibration"] = {"edges": list(edges), "probabilities": list(probabilities)}
        return made

    @staticmethod
    def from_json(entry: Mapping[str, Any]) -> RuleSet:
        """Rebuild a rule set from `to_json`.

        Raises:
            ArtifactError: With everything that the JSON Schema refuses, or that does not fit together.
        """
        problems = schema_problems(entry)
        if problems:
            raise ArtifactError("\n".join(problems))
        categorical = tuple(entry.get("categorical_columns", ()))
        band, steps = entry.get("abstain"), entry.get("calibration")
        return RuleSet(
            tuple(Rule.from_json(rule, categorical) for rule in entry["rules"]),
            entry["policy"],
            output_from_json(entry["default"]),
            tuple(entry.get("classes", ())),
            tuple(entry.get("numeric_columns", ())),
            categorical,
            band and Band(band["low"], band["high"], band.get("class", "")),
            steps and Calibration(tuple(steps["edges"]), tuple(steps["probabilities"])),
        )


def _problems(made: RuleSet) -> list[str]:
    """Return what does not fit together, a sentence each."""
    found = []
    names = [*made.numeric_columns, *made.categorical_columns]
    for what, entries in (("columns", names), ("classes", made.classes), ("rules", [rule.id for rule in made.rules])):
        twice = sorted(name for name, count in Counter(entries).items() if count > 1)
        if twice:
            found.append(f"Names of {what} must differ, got {', '.join(twice)} more than once.")
    if len(made.classes) == 1:
        found.append(f"There must be two classes or more, got {made.classes[0]} alone.")
    for rule in made.rules:
        found += [f"Rule {rule.id}: {text}" for atom in rule.condition.atoms for text in _of_atom(atom, made)]
        found += [f"Rule {rule.id}: {text}" for text in _of_output(rule.output, made, is_added=_is_added(rule, made))]
        if made.policy == "vote" and not rule.is_hard and isinstance(rule.output, Abstain):
            found.append(f"Rule {rule.id}: nobody can vote to abstain; make the rule hard, or use an abstain band.")
        if not (rule.weight > 0 and math.isfinite(rule.weight)):
            found.append(f"Rule {rule.id}: the weight must be a positive number, got {rule.weight}.")
    found += [f"The default: {text}" for text in _of_output(made.default, made, is_added=made.policy == "sum")]
    if made.abstain is not None:
        found += _of_band(made.abstain, made.classes)
    if made.calibration is not None:
        found += _of_calibration(made.calibration, made)
    return found


def _is_added(rule: Rule, made: RuleSet) -> bool:
    return made.policy == "sum" and not rule.is_hard


def _of_atom(atom: Atom, made: RuleSet) -> list[str]:
    kind, known = (
        ("numeric", made.numeric_columns) if isinstance(atom, Numbers) else ("categorical", made.categorical_columns)
    )
    if atom.column in known:
        return []
    if atom.column in made.columns:
        asked = "an interval" if isinstance(atom, Numbers) else "categories"
        return [f"column {atom.column} is not {kind}, so it cannot be compared with {asked}."]
    return [f"there is no column {atom.column}{did_you_mean(atom.column, made.columns)}"]


def _of_output(output: Output, made: RuleSet, *, is_added: bool) -> list[str]:
    if not made.classes or is_added:
        width = made.points
        if not isinstance(output, Points):
            return [f"points must be given, got {output}."]
        if len(output.values) != width or not all(map(math.isfinite, output.values)):
            return [f"there must be {width} finite points, got {output.values}."]
    elif isinstance(output, Points):
        return ["a class or probabilities must be given, got points."]
    elif isinstance(output, Label) and output.name not in made.classes:
        return [f"there is no class {output.name}{did_you_mean(output.name, made.classes)}"]
    elif isinstance(output, Probability):
        values = output.values
        if len(values) != len(made.classes) or min(values) < 0 or abs(sum(values) - 1) > 1e-5:
            return [f"there must be {len(made.classes)} probabilities that sum up to 1, got {values}."]
    return []


def _of_band(band: Band, classes: tuple[str, ...]) -> list[str]:
    if not classes:
        return ["A regression has no probabilities to abstain at: leave the band out."]
    found = []
    if not 0 <= band.low <= band.high <= 1:
        found.append(f"The ends of the abstain band must ascend within [0, 1], got {band.low} and {band.high}.")
    if band.name and band.name not in classes:
        found.append(f"The abstain band: there is no class {band.name}{did_you_mean(band.name, classes)}")
    return found


def _of_calibration(calibration: Calibration, made: RuleSet) -> list[str]:
    edges, probabilities = calibration.edges, calibration.probabilities
    if made.policy != "sum" or len(made.classes) != 2:
        return ["A calibration needs two classes and the policy sum."]
    ascend = all(a < b for a, b in pairwise(edges))
    if len(probabilities) != len(edges) + 1 or not ascend or not all(0 <= p <= 1 for p in probabilities):
        return ["A calibration must have ascending edges, and one probability in [0, 1] more than edges."]
    return []
