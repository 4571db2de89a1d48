"""What is true of rules for every row there could be: overlaps, shadows, contradictions, gaps; exact, not sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from rules.atoms import Atom, Condition
from rules.boxes import covers, is_covered, is_everything, meet, remainder, simplified, touches, witness
from rules.rule import Rule
from rules.ruleset import RuleSet

__all__ = ["Overlap", "Shadow", "contradictions", "gaps", "implied_atoms", "overlaps", "shadows"]


@final
@dataclass(frozen=True)
class Overlap:
    """Two rules that hold for one row.

    Args:
        first: Id of the earlier rule.
        second: Id of the later rule.
        box: Where both hold.
        row: One such row, by name of column; a column that is left out may have any value.
        is_conflict: Whether they say different things.
        covers: `first` where the first holds wherever the second does, `second` the other way round, `both`, or empty.
    """

    first: str
    second: str
    box: Condition
    row: dict[str, float | str]
    is_conflict: bool
    covers: str


@final
@dataclass(frozen=True)
class Shadow:
    """A rule that never decides, because earlier ones take all its rows.

    Args:
        rule: Its id.
        by: Ids of the earlier rules that share rows with it.
    """

    rule: str
    by: tuple[str, ...]


def contradictions(rules: Sequence[Rule]) -> tuple[str, ...]:
    """Return the ids of rules that hold for no row."""
    return tuple(rule.id for rule in rules if simplified(rule.condition) is None)


def implied_atoms(condition: Condition) -> tuple[Atom, ...]:
    """Return the atoms that follow from the others, each from those that are kept before it.

    Example:
        >>> from rules.atoms import Numbers
        >>> implied_atoms(Condition((Numbers("a", high=5), Numbers("a", high=10))))
        (Numbers(column='a', low=-inf, high=10.0, low_open=False, high_open=False, missing=False),)
    """
    kept = list(range(len(condition)))
    found = []
    for place, atom in reversed(list(enumerate(condition.atoms))):
        others = Condition(tuple(condition.atoms[other] for other in kept if other != place))
        if is_everything(atom) or covers(Condition((atom,)), others):
            kept.remove(place)
            found.append(atom)
    return tuple(found)


def overlaps(rules: Sequence[Rule]) -> tuple[Overlap, ...]:
    """Return all pairs of rules that hold for one row, with such a row."""
    boxes = [simplified(rule.condition) for rule in rules]
    found = []
    for later, rule in enumerate(rules):
        for earlier in range(later):
            one, other = boxes[earlier], boxes[later]
            if one is None or other is None or not touches(one, other):
                continue
            both = meet(one, other)
            assert both is not None
            wider = [
                name for name, outer, inner in (("first", one, other), ("second", other, one)) if covers(outer, inner)
            ]
            found.append(
                Overlap(
                    rules[earlier].id,
                    rule.id,
                    both,
                    witness(both),
                    rules[earlier].output != rule.output,
                    "both" if len(wider) == 2 else "".join(wider),
                )
            )
    return tuple(found)


def shadows(engine: RuleSet) -> tuple[Shadow, ...]:
    """Return the rules that never decide: all their rows are taken by hard rules, or by earlier ones of a list.

    Rules whose boxes fall into too many pieces to tell are not among them.
    """
    order = [rule for stage in ("before", "after") for rule in engine.rules if rule.stage == stage]
    n_hard = len(order)
    order += engine.of_stage("model")
    is_list = engine.policy in ("first", "unique")
    found = []
    for place, rule in enumerate(order):
        box = simplified(rule.condition)
        earlier = order[: place if is_list else min(place, n_hard)]
        if box is None or not earlier:
            continue
        taken = [other for other in earlier if meet(box, other.condition) is not None]
        if is_covered(box, [other.condition for other in taken]):
            found.append(Shadow(rule.id, tuple(other.id for other in taken)))
    return tuple(found)


def gaps(rules: Sequence[Rule]) -> tuple[Condition, ...] | None:
    """Return boxes of the rows for which no rule holds; empty where there are none, None where there are too many."""
    return remainder(Condition(), [rule.condition for rule in rules])
