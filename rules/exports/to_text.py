"""Rule sets as English text, of so few kinds of sentence that it can be read back, and so be proven."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from rules.atoms import Atom, Categories
from rules.decimals import written
from rules.outputs import Label, Output, Points, Probability
from rules.rule import Rule
from rules.ruleset import RuleSet

__all__ = ["HARD", "POLICIES", "atom_text", "output_text", "to_text"]

HARD = {
    "before": "These rules come first. The first that holds decides alone:",
    "after": "Then come these rules. The first that holds overrides the model:",
}
POLICIES = {
    "first": "The model. The first rule that holds decides:",
    "unique": "The model. No two rules hold for one row; the one that holds decides:",
    "sum": "The model. The points of all rules that hold are added up:",
    "vote": "The model. All rules that hold vote:",
}
MEANINGS = {
    0: "The total is the value.",
    2: "The probability of {second} is 1 / (1 + exp(-total)).",
    3: "The probability of a class is its exp(total), divided by the sum of those of all classes.",
}


def to_text(engine: RuleSet) -> str:
    """Return the rules in English, a line for each part of a condition.

    Example:
        >>> from rules.atoms import Condition, Numbers
        >>> old = Rule("old", Condition((Numbers("age", low=60),)), Label("yes"), source="user")
        >>> print(to_text(RuleSet((old,), "first", Label("no"), ("no", "yes"), ("age",))), end="")
        The classes are "no", "yes".
        <BLANKLINE>
        The model. The first rule that holds decides:
        <BLANKLINE>
        Rule old (yours)
          if age is at least 60
          then the answer is "yes"
        <BLANKLINE>
        Where no rule holds, the answer is "no".
    """
    listed = ", ".join(map(_quoted, engine.classes))
    lines = [f"The classes are {listed}." if engine.classes else "The answer is a number.", ""]
    for stage, head in HARD.items():
        rules = [rule for rule in engine.rules if rule.stage == stage]
        lines += [head, "", *_rules(rules, engine)] if rules else []
    lines += [POLICIES[engine.policy], "", *_rules(engine.of_stage("model"), engine)]
    lines.append(_default(engine))
    if engine.policy == "sum":
        lines += _meaning(engine)
    if engine.abstain is not None:
        band = engine.abstain
        whose = f"of {_quoted(band.name)}" if band.name else "of the most probable class"
        lines.append(f"Where the probability {whose} lies from {band.low!r} to {band.high!r}, a person decides.")
    return "\n".join(lines) + "\n"


def atom_text(atom: Atom) -> str:
    """Return what a condition says of one column."""
    if isinstance(atom, Categories):
        listed = ", ".join(map(_quoted, atom.values))
        is_ = "is none of" if atom.negated else "is one of"
        said = f"{is_} {listed}" if len(atom.values) > 1 else f"is {'not ' if atom.negated else ''}{listed}"
        if not atom.values:
            said = ("is anything" if atom.missing else "is known") if atom.negated else "is missing"
            return f"{_quoted_column(atom.column)} {said if atom.negated or atom.missing else 'is impossible'}"
    elif atom.is_void:
        return f"{_quoted_column(atom.column)} {'is missing' if atom.missing else 'is impossible'}"
    else:
        said = _interval(atom.low, atom.high, atom.low_open, atom.high_open)
        if said == "is known" and atom.missing:
            return f"{_quoted_column(atom.column)} is anything"
    return f"{_quoted_column(atom.column)} {said}{', or is missing' if atom.missing else ''}"


def output_text(output: Output, classes: Sequence[str]) -> str:
    """Return what a rule says."""
    if isinstance(output, Label):
        return f"the answer is {_quoted(output.name)}"
    if isinstance(output, Probability):
        pairs = zip(classes, output.values, strict=True)
        return "the probabilities are " + ", ".join(f"{value!r} of {_quoted(name)}" for name, value in pairs)
    if not isinstance(output, Points):
        return "a person decides"
    if not classes:
        return f"the value is {output.values[0]!r}"
    names = classes if len(classes) > 2 else classes[1:]
    return "points: " + ", ".join(
        f"{value!r} for {_quoted(name)}" for name, value in zip(names, output.values, strict=True)
    )


def _rules(rules: Sequence[Rule], engine: RuleSet) -> list[str]:
    lines = []
    for rule in rules:
        weight = f", weight {rule.weight!r}" if rule.weight != 1 else ""
        lines.append(f"Rule {_plain(rule.id)} ({'yours' if rule.source == 'user' else 'learned'}{weight})")
        words = ["if", *["and"] * len(rule.condition)]
        lines += [f"  {word} {atom_text(atom)}" for word, atom in zip(words, rule.condition.atoms, strict=False)]
        lines += [f"  then {output_text(rule.output, engine.classes)}", ""]
    return lines


def _default(engine: RuleSet) -> str:
    said = output_text(engine.default, engine.classes)
    return f"The total begins with {said}." if engine.policy == "sum" else f"Where no rule holds, {said}."


def _meaning(engine: RuleSet) -> list[str]:
    if engine.calibration is None:
        sentence = MEANINGS[min(len(engine.classes), 3)]
        return [sentence.format(second=_quoted(engine.classes[1])) if len(engine.classes) == 2 else sentence]
    second = _quoted(engine.classes[1])
    lines = [f"The probability of {second} is {engine.calibration.probabilities[0]!r} at first,"]
    steps = zip(engine.calibration.edges, engine.calibration.probabilities[1:], strict=True)
    lines += [f"  from a total of {edge!r} on it is {share!r}," for edge, share in steps]
    return [*lines[:-1], lines[-1][:-1] + "."]


def _interval(low: float, high: float, low_open: bool, high_open: bool) -> str:
    parts = []
    if low != -math.inf or low_open:
        parts.append(f"{'above' if low_open else 'at least'} {written(low)}")
    if high != math.inf or high_open:
        parts.append(f"{'below' if high_open else 'at most'} {written(high)}")
    return f"is {' and '.join(parts)}" if parts else "is known"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _plain(name: str) -> str:
    """Return a name as it is where that is one plain line, else quoted."""
    is_plain = name.isprintable() and name == name.strip() and name and "(" not in name and name[0] != '"'
    return name if is_plain else _quoted(name)


def _quoted_column(name: str) -> str:
    """Return the name of a column, quoted unless it is one word."""
    return name if name.replace("_", "a").replace("-", "a").isalnum() else _quoted(name)
