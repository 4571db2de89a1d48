"""Reading back the English of `to_text`: the proof of the text, which nothing else could run."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence

from engine.errors import ArtifactError
from rules.atoms import Atom, Categories, Condition, Numbers
from rules.exports.to_text import HARD, POLICIES
from rules.outputs import Abstain, Label, Output, Points, Probability
from rules.rule import Band, Calibration, Policy, Rule, Stage
from rules.ruleset import RuleSet

__all__ = ["from_text"]

TEXT = r'"(?:[^"\\]|\\.)*"'
RULE = re.compile(rf"Rule ({TEXT}|.*) \((yours|learned)(?:, weight (\S+))?\)")
ATOM = re.compile(rf"  (?:if|and) ({TEXT}|\S+) is (.*)")
BAND = re.compile(
    rf"Where the probability of (the most probable class|{TEXT}) lies from (\S+) to (\S+), a person decides\."
)
BOUND = re.compile(r"(above|at least|below|at most) (\S+)")
STEP = re.compile(r"  from a total of (\S+) on it is (\S+)[,.]")


def from_text(text: str, numeric_columns: Sequence[str], categorical_columns: Sequence[str]) -> RuleSet:
    """Return the rule set that a text of `to_text` tells.

    Args:
        text: The text.
        numeric_columns: Columns of the input `x`, which the text does not list.
        categorical_columns: Columns of the input `c`.

    Raises:
        ArtifactError: If a line is none that `to_text` writes.
    """
    lines = iter(text.splitlines())
    classes = tuple(_texts(next(lines).removeprefix("The classes are "))) if text.startswith("The classes") else ()
    stage: Stage = "model"
    policy: Policy = "first"
    rules: list[Rule] = []
    default: Output = Abstain()
    band: Band | None = None
    steps: list[tuple[float, float]] = []
    stages: dict[str, Stage] = {HARD["before"]: "before", HARD["after"]: "after"}
    policies: dict[str, Policy] = {sentence: name for name, sentence in POLICIES.items()}  # type: ignore[misc]
    for line in lines:
        if line in stages:
            stage = stages[line]
        elif line in policies:
            stage, policy = "model", policies[line]
        elif found := RULE.fullmatch(line):
            atoms, output = _body(lines, classes, categorical_columns)
            source = "user" if found[2] == "yours" else "learned"
            rules.append(Rule(_name(found[1]), Condition(atoms), output, float(found[3] or 1), source, stage))  # type: ignore[arg-type]
        elif found := re.fullmatch(r"(?:Where no rule holds, |The total begins with )(.*)\.", line):
            default = _output(found[1], classes)
        elif found := BAND.fullmatch(line):
            name = "" if found[1].startswith("the") else json.loads(found[1])
            band = Band(float(found[2]), float(found[3]), name)
        elif found := re.fullmatch(rf"The probability of {TEXT} is (\S+) at first[,.]", line):
            steps.append((-math.inf, float(found[1])))
        elif found := STEP.fullmatch(line):
            steps.append((float(found[1]), float(found[2])))
        elif line and not re.match(r"The (answer is a number|total is the value|probability of .* is (1 /|its))", line):
            raise ArtifactError(f"This is no line of a rule set in English: {line}")
    edges, shares = tuple(edge for edge, _ in steps[1:]), tuple(share for _, share in steps)
    calibration = Calibration(edges, shares) if steps else None
    columns = tuple(numeric_columns), tuple(categorical_columns)
    return RuleSet(tuple(rules), policy, default, classes, *columns, band, calibration)


def _body(lines: Iterator[str], classes: Sequence[str], categorical: Sequence[str]) -> tuple[tuple[Atom, ...], Output]:
    atoms: list[Atom] = []
    for line in lines:
        if line.startswith("  then "):
            return tuple(atoms), _output(line.removeprefix("  then "), classes)
        found = ATOM.fullmatch(line)
        if found is None:
            raise ArtifactError(f"This is no condition of a rule in English: {line}")
        atoms.append(_atom(_name(found[1]), found[2], categorical))
    raise ArtifactError("The last rule does not say what holds then.")


def _atom(column: str, said: str, categorical: Sequence[str]) -> Atom:
    missing = said.endswith("or is missing") or said in ("missing", "anything")
    if column in categorical:
        negated = said.startswith(("not ", "none of ")) or said in ("known", "anything")
        return Categories(column, tuple(_texts(said)), negated, missing)
    if said in ("missing", "impossible"):
        return Numbers(column, math.inf, -math.inf, missing=missing)
    ends: dict[str, str] = dict(BOUND.findall(said.replace(",", "")))
    low, high = ends.get("above") or ends.get("at least", "-inf"), ends.get("below") or ends.get("at most", "inf")
    return Numbers(column, float(low), float(high), "above" in ends, "below" in ends, missing)


def _output(said: str, classes: Sequence[str]) -> Output:
    if said == "a person decides":
        return Abstain()
    if said.startswith("the answer is "):
        return Label(json.loads(said.removeprefix("the answer is ")))
    numbers = tuple(float(number) for number in re.findall(r"(\S+) (?:of|for) ", re.sub(TEXT, "", said) + " "))
    if said.startswith("the probabilities"):
        return Probability(numbers)
    return Points(numbers if classes else (float(said.removeprefix("the value is ")),))


def _texts(said: str) -> list[str]:
    return [json.loads(found) for found in re.findall(TEXT, said)]


def _name(said: str) -> str:
    return json.loads(said) if said.startswith('"') else said
