"""The same answers from fewer rules and atoms: what is implied, void, shadowed or divided for nothing goes."""

from __future__ import annotations

from dataclasses import replace

from rules.analysis import shadows
from rules.boxes import meet, simplified, union
from rules.outputs import Points
from rules.rule import Rule
from rules.ruleset import RuleSet

__all__ = ["simplify"]


def simplify(engine: RuleSet) -> RuleSet:
    """Return a rule set that says the same of every row there could be, in fewer rules and atoms if possible.

    Atoms that others imply go, and rules that hold for no row or never decide; two rules that say the same and whose
    boxes are one box together become one, under the id of the first; the points of rules with equal conditions are
    added.

    Example:
        >>> from rules.atoms import Condition, Numbers
        >>> from rules.outputs import Label
        >>> young = Rule("a", Condition((Numbers("age", high=20, high_open=True),)), Label("no"))
        >>> middle = Rule("b", Condition((Numbers("age", low=20, high=30),)), Label("no"))
        >>> made = simplify(RuleSet((young, middle), "first", Label("yes"), ("no", "yes"), ("age",)))
        >>> [atom.to_json() for rule in made.rules for atom in rule.condition.atoms]
        [{'column': 'age', '<=': 30}]
    """
    rules = [replace(rule, condition=box) for rule in engine.rules if (box := simplified(rule.condition)) is not None]
    made = replace(engine, rules=tuple(rules))
    hidden = {shadow.rule for shadow in shadows(made)}
    rules = [rule for rule in rules if rule.id not in hidden]
    while True:
        merged = _merged(rules, engine)
        if len(merged) == len(rules):
            break
        rules = merged
    if engine.policy in ("first", "unique"):
        while rules and not rules[-1].is_hard and rules[-1].output == engine.default:
            rules.pop()
    return replace(engine, rules=tuple(rules))


def _merged(rules: list[Rule], engine: RuleSet) -> list[Rule]:
    """Return the rules with the first pair merged that can be; the same rules where none can."""
    for later, second in enumerate(rules):
        for earlier, first in enumerate(rules[:later]):
            if first.stage != second.stage or first.source != second.source:
                continue
            between = [rule for rule in rules[earlier + 1 : later] if rule.stage == first.stage]
            one = _added(first, second, engine) or _one_box(first, second, between, engine)
            if one is not None:
                return [*rules[:earlier], one, *rules[earlier + 1 : later], *rules[later + 1 :]]
    return rules


def _added(first: Rule, second: Rule, engine: RuleSet) -> Rule | None:
    """Return one rule for two with one condition whose points are added."""
    mine, theirs = first.output, second.output
    if engine.policy != "sum" or first.is_hard or not isinstance(mine, Points) or not isinstance(theirs, Points):
        return None
    if set(first.condition.atoms) != set(second.condition.atoms):
        return None
    values = (first.weight * a + second.weight * b for a, b in zip(mine.values, theirs.values, strict=True))
    return replace(first, output=Points(tuple(values)), weight=1.0)


def _one_box(first: Rule, second: Rule, between: list[Rule], engine: RuleSet) -> Rule | None:
    """Return one rule for two that say the same, where their boxes are one box together."""
    if first.output != second.output:
        return None
    is_list = first.is_hard or engine.policy in ("first", "unique")
    if is_list and any(meet(second.condition, rule.condition) is not None for rule in between):
        return None  # the second would take rows of the rules between
    if not is_list and (first.weight != second.weight or meet(first.condition, second.condition) is not None):
        return None  # where both hold, both count
    box = union(first.condition, second.condition)
    return None if box is None else replace(first, condition=box)
