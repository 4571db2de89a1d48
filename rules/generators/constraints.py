"""What a user demands of learned rules, in the form in which generators keep it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from rules.atoms import Condition
from rules.boxes import covers
from rules.generators.binned import Binned, Box
from rules.outputs import Output
from rules.rule import Band, Rule

__all__ = ["PREFERENCE", "Constraints"]

PREFERENCE = 1.5  # by how much the gain of a rule on what is preferred counts


@final
@dataclass(frozen=True)
class Constraints:
    """Demands on the rules that a generator makes.

    Args:
        without: Columns that no learned rule may use.
        forbidden: Conditions: no learned rule may apply to such rows alone.
        preferred: Columns, by how much the gain of a rule that uses them counts: above 1 for preferred ones, below 1
            for costly ones.
        preferred_conditions: Conditions: the gain of a rule that applies to such rows alone counts more.
        monotone: Direction by column: 1 where the answer (the second class, or the value) may only rise with the value.
        thresholds: Where rules may cut a column of numbers.
        max_rules: Most rules of the model, those that it must have among them; hard ones are not counted.
        max_conditions: Most comparisons in all rules of the model.
        min_support: Least share of the training rows in which a learned rule applies.
        min_precision: Least share of the rows of a rule that have the class it speaks for.
        must: Rules of the user's that every model has; under `sum` their points are fitted.
        hard: Rules that decide before or after the model.
        default: What holds where no rule applies, if the user says it.
        abstain: Where the engine gives no class.
    """

    without: frozenset[str] = frozenset()
    forbidden: tuple[Condition, ...] = ()
    preferred: Mapping[str, float] = field(default_factory=dict)
    preferred_conditions: tuple[Condition, ...] = ()
    monotone: Mapping[str, int] = field(default_factory=dict)
    thresholds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    max_rules: int | None = None
    max_conditions: int | None = None
    min_support: float = 0.0
    min_precision: float = 0.0
    must: tuple[Rule, ...] = ()
    hard: tuple[Rule, ...] = ()
    default: Output | None = None
    abstain: Band | None = None

    def favour(self, data: Binned, box: Box) -> float:
        """Return by how much the gain of a box counts: the product over its columns."""
        made = 1.0
        for column, _ in box.sides:
            made *= self.preferred.get(data.columns[column].name, 1.0)
        if self.preferred_conditions and any(covers(c, data.condition(box)) for c in self.preferred_conditions):
            made *= PREFERENCE
        return made

    def sign(self, data: Binned, box: Box) -> int | None:
        """Return the sign that the points of a box must have: 1, -1, 0 for any; None if none keeps the directions."""
        signs = set()
        for place, bits in box.sides:
            column = data.columns[place]
            direction = self.monotone.get(column.name, 0)
            if direction:
                signs.add(direction * _side(bits, len(column.edges)))
        if not signs:
            return 0
        return signs.pop() if len(signs) == 1 and 0 not in signs else None

    def allows(self, data: Binned, box: Box, support: float) -> bool:
        """Say whether a learned rule may have this box as its condition.

        Args:
            data: What the codes mean.
            box: The condition.
            support: Share of the training rows in it.
        """
        if support < self.min_support or self.sign(data, box) is None:
            return False
        return not self.forbidden or not any(covers(banned, data.condition(box)) for banned in self.forbidden)

    def within(self, n_rules: int, n_conditions: int) -> bool:
        """Say whether a model of this size is small enough."""
        is_few = self.max_rules is None or n_rules <= self.max_rules
        return is_few and (self.max_conditions is None or n_conditions <= self.max_conditions)


def _side(bits: int, n_edges: int) -> int:
    """Return 1 for values from some threshold on, -1 for values up to one, 0 for an interval with two ends."""
    known = [bool(bits >> code & 1) for code in range(n_edges + 1)]
    if known[-1] and not known[0]:
        return 1
    return -1 if known[0] and not known[-1] else 0
