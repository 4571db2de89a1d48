"""From what a user writes to what generators keep: the file of rules, and the keywords of the estimators."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from engine.data import Dataset, Rows, Signature
from engine.errors import SettingsError, did_you_mean
from rules.generators.constraints import PREFERENCE, Constraints
from rules.language.read import read_rules
from rules.language.table import Table
from rules.language.user_rules import Demands, UserRules

__all__ = ["demands_for", "demands_of"]


def demands_of(file: str | Path | None, data: Dataset) -> Constraints:
    """Read a file of rules for a data set.

    Args:
        file: In the language of rules; None demands nothing.
        data: Whose rows the rules are checked against.

    Raises:
        SettingsError: With everything in the file that does not fit.
    """
    return demands_for(file, data.signature, data.rows)


def demands_for(
    file: str | Path | None,
    signature: Signature,
    rows: Rows,
    *,
    max_rules: int | None = None,
    max_conditions: int | None = None,
    monotone: Mapping[str, int] | None = None,
    forbidden: Iterable[str] = (),
) -> Constraints:
    """Join a file of rules with demands that are given as keywords; the stricter one holds.

    Args:
        file: In the language of rules, or None.
        signature: Of the data.
        rows: Training rows, against which the file is checked.
        max_rules: Most rules.
        max_conditions: Most comparisons in all rules.
        monotone: Direction by column, 1 or -1.
        forbidden: Columns that no learned rule may use.

    Raises:
        SettingsError: With everything in the file or in the keywords that does not fit.
    """
    monotone, banned = dict(monotone or {}), list(forbidden)
    columns = (*signature.numeric_columns, *signature.categorical_columns)
    problems = [
        f"{option}: no column '{name}'{did_you_mean(name, columns)}"
        for option, names in (("monotone", monotone), ("forbidden", banned))
        for name in names
        if name not in columns
    ]
    problems += [
        f"monotone: column '{name}' must hold numbers to have a direction."
        for name in monotone
        if name in signature.categorical_columns
    ]
    problems += [
        f"monotone: the direction of '{name}' must be 1 or -1, got {direction!r}."
        for name, direction in monotone.items()
        if direction not in (1, -1)
    ]
    if monotone and len(signature.classes) > 2:
        problems.append(f"monotone needs two classes or values, got {len(signature.classes)} classes.")
    problems += [
        f"{name} must be at least 1, got {value}."
        for name, value in (("max_rules", max_rules), ("max_conditions", max_conditions))
        if value is not None and value < 1
    ]
    if problems:
        raise SettingsError("\n".join(problems))
    own = Demands(
        forbidden_columns=tuple(banned), monotone=monotone, max_rules=max_rules, max_conditions=max_conditions
    )
    if file is None:
        return _constraints(UserRules(demands=own))
    return _constraints(read_rules(file, Table.of(signature, rows), also=own))


def _constraints(user: UserRules) -> Constraints:
    demands = user.demands
    preferred = dict.fromkeys(demands.preferred_columns, PREFERENCE)
    preferred |= {name: preferred.get(name, 1.0) / cost for name, cost in demands.costs.items()}
    return Constraints(
        without=frozenset(demands.forbidden_columns),
        forbidden=demands.forbidden,
        preferred=preferred,
        preferred_conditions=demands.preferred,
        monotone=demands.monotone,
        thresholds=demands.thresholds,
        max_rules=demands.max_rules,
        max_conditions=demands.max_conditions,
        min_support=demands.min_support,
        min_precision=demands.min_precision,
        must=user.must,
        hard=user.hard,
        default=user.default,
        abstain=user.abstain,
    )
