"""Rules as a list in which each says only what the earlier ones leave open: the same answers from fewer comparisons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from rules.analysis import overlaps
from rules.atoms import Atom, Condition, Numbers
from rules.boxes import difference, is_covered, simplified
from rules.rule import Rule
from rules.ruleset import RuleSet

__all__ = ["as_list"]

MOST_RULES = 16  # beyond, rules are left as they are: the algebra is exact, and its time grows steeply
MOST_STEPS = 200


def as_list(engine: RuleSet) -> RuleSet:
    """Return an ordered list that says the same of every row, without the atoms that follow from rules before.

    A leaf of a tree names all splits above it; in a list that comes to the leaf after its neighbours, the last ones do.
    Rules of policy `unique` are brought into an order that saves much; those of `first` keep theirs. Other policies,
    and hard rules, are left alone, and so are sets of more than sixteen rules.

    Example:
        >>> from rules.atoms import Numbers
        >>> from rules.outputs import Label
        >>> low = Rule("low", Condition((Numbers("a", high=5, missing=True),)), Label("no"))
        >>> high = Rule("high", Condition((Numbers("a", low=5, low_open=True),)), Label("yes"))
        >>> made = as_list(RuleSet((low, high), "unique", Label("no"), ("no", "yes"), ("a",)))
        >>> made.policy, [len(rule.condition) for rule in made.rules]
        ('first', [1, 0])
    """
    model = engine.of_stage("model")
    if engine.policy not in ("first", "unique") or len(model) > MOST_RULES:
        return engine
    waiting = [replace(rule, condition=box) for rule in model if (box := simplified(rule.condition)) is not None]
    is_free = engine.policy == "unique" and not overlaps(waiting)
    made: list[Rule] = []
    taken: list[Condition] = []
    while waiting:
        first = len(waiting) if is_free else 1
        shortened = [replace(rule, condition=_shortened(rule.condition, taken)) for rule in waiting[:first]]
        said = made[-1].output if made else None
        keys = [(len(rule.condition), rule.output != said, at) for at, rule in enumerate(shortened)]
        place = min(keys)[2]
        taken.append(waiting.pop(place).condition)
        made.append(shortened[place])
        if not shortened[place].condition.atoms:
            break  # it holds for all that is left
    hard = [rule for rule in engine.rules if rule.is_hard]
    return replace(engine, rules=(*hard, *made), policy="first")


def _shortened(box: Condition, taken: Sequence[Condition]) -> Condition:
    """Return a box without the atoms, and ends of intervals, that exclude only rows which are taken already."""
    kept = {atom.column: atom for atom in box.atoms}
    for column, atom in list(kept.items()):
        for wider in (None, *_wider(atom)):
            others = {name: other for name, other in kept.items() if name != column}
            tried = others | ({column: wider} if wider is not None else {})
            pieces = difference(Condition(tuple(tried.values())), Condition(tuple(kept.values())))
            if all(is_covered(piece, taken, most=MOST_STEPS) for piece in pieces):
                kept = tried
                break
    return Condition(tuple(kept.values()))


def _wider(atom: Atom) -> tuple[Atom, ...]:
    """Return an interval of two ends without the one or the other."""
    if not isinstance(atom, Numbers) or atom.is_void or math.inf in (atom.high, -atom.low):
        return ()
    return replace(atom, low=-math.inf, low_open=False), replace(atom, high=math.inf, high_open=False)
