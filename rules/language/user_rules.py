"""What a person wrote: rules, and demands on the rules that are learned beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from engine.errors import SettingsError
from rules.atoms import Condition
from rules.language.table import Table
from rules.outputs import Output, Points
from rules.rule import Band, Policy, Rule
from rules.ruleset import RuleSet

__all__ = ["Demands", "UserRules"]


@final
@dataclass(frozen=True)
class Demands:
    """Demands on learned rules.

    Args:
        forbidden_columns: Columns that no learned rule may use.
        forbidden: No learned rule may speak only of rows in one of these boxes.
        preferred_columns: Columns to use rather than others.
        preferred: Conditions to use rather than others.
        monotone: By column, 1 where the answer (the probability of the second class, or the value) may only rise with
            the value, -1 where it may only fall.
        thresholds: By column, where learned rules may cut.
        costs: By column, what asking for its value costs, positive; 1 is usual.
        max_rules: Most rules of the model, must-have ones included; hard rules are not counted.
        max_conditions: Most atoms in all rules of the model.
        min_support: Least share of the training rows for which a learned rule must hold, in [0, 1].
        min_precision: Least share of a rule's rows that have the class it speaks for, in [0, 1].
    """

    forbidden_columns: tuple[str, ...] = ()
    forbidden: tuple[Condition, ...] = ()
    preferred_columns: tuple[str, ...] = ()
    preferred: tuple[Condition, ...] = ()
    monotone: Mapping[str, int] = field(default_factory=dict)
    thresholds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    max_rules: int | None = None
    max_conditions: int | None = None
    min_support: float = 0.0
    min_precision: float = 0.0

    def joined(self, other: Demands) -> Demands:
        """Return both demands at once: the stricter one of each, the other's where there can be only one."""
        return Demands(
            tuple(dict.fromkeys((*self.forbidden_columns, *other.forbidden_columns))),
            (*self.forbidden, *other.forbidden),
            tuple(dict.fromkeys((*self.preferred_columns, *other.preferred_columns))),
            (*self.preferred, *other.preferred),
            {**self.monotone, **other.monotone},
            {**self.thresholds, **other.thresholds},
            {**self.costs, **other.costs},
            _least(self.max_rules, other.max_rules),
            _least(self.max_conditions, other.max_conditions),
            max(self.min_support, other.min_support),
            max(self.min_precision, other.min_precision),
        )


@final
@dataclass(frozen=True)
class UserRules:
    """A file of rules, read and validated.

    Args:
        rules: In the order of the file, all of source `user`: hard ones of stage `before` and `after`, must-have ones
            of stage `model`. A condition with alternatives is several rules, `id.1`, `id.2`; where rules are counted,
            no two of them hold for one row.
        policy: How rules of stage `model` combine, where no learned rules join them.
        default: What holds where no rule applies; None where the file does not say.
        abstain: Probabilities at which the engine gives no class.
        demands: On learned rules.
        lines: Line of each rule in the file, by id.
    """

    rules: tuple[Rule, ...] = ()
    policy: Policy = "first"
    default: Output | None = None
    abstain: Band | None = None
    demands: Demands = field(default_factory=Demands)
    lines: Mapping[str, int] = field(default_factory=dict)

    @property
    def hard(self) -> tuple[Rule, ...]:
        """Rules that decide before the model, or override it."""
        return tuple(rule for rule in self.rules if rule.is_hard)

    @property
    def must(self) -> tuple[Rule, ...]:
        """Rules that every model must have; their points may be fitted."""
        return tuple(rule for rule in self.rules if not rule.is_hard)

    def engine(self, table: Table) -> RuleSet:
        """Return the rule set of these rules alone, without a learned one.

        Args:
            table: With the columns and classes of the rows that it will take.

        Raises:
            SettingsError: If there is no default, which nothing else can stand in for.
        """
        default = self.default
        if default is None and self.policy == "sum":
            default = Points((0.0,) * (len(table.classes) if len(table.classes) > 2 else 1))
        if default is None:
            raise SettingsError(
                "A rule set without learned rules needs `default`: a class, `{abstain: true}`, or a value."
            )
        columns = table.numeric_columns, table.categorical_columns
        return RuleSet(self.rules, self.policy, default, table.classes, *columns, self.abstain)


def _least(first: int | None, second: int | None) -> int | None:
    return min((value for value in (first, second) if value is not None), default=None)
