"""Sums of points in SQL: each part of a score card as its shortest expression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rules.atoms import Categories, Numbers
from rules.exports.names_sql import Dialect, Naming, number
from rules.exports.steps import Choice, Part, Staircase, Term

__all__ = ["joined", "summed"]

MOST_SHIFTS = 40  # of one part that are tried


def summed(
    parts: Sequence[tuple[Part, np.ndarray]], base: float, dialect: Dialect, named: Naming, *, can_shift: bool
) -> tuple[str, float]:
    """Return a sum, and what is still to be added to it.

    Args:
        parts: With what each adds, by alternative, shape (n_alternatives,).
        base: What the sum begins with.
        dialect: To write in.
        named: What columns are called.
        can_shift: Whether whole numbers may be moved between the parts and what is added: no minus sign is shorter.
    """
    texts = []
    for part, values in parts:
        tried = values if len(values) <= MOST_SHIFTS else values[[0, -1, -2]]
        shifts = {0.0, *(tried.tolist() if can_shift else ())}
        forms = [(_written(part, [number(value) for value in values - shift], dialect, named), shift)
                 for shift in sorted(shifts)]  # fmt: skip
        text, shift = min(forms, key=lambda form: len(form[0]) + form[0].startswith("-"))
        base += shift
        texts += [text] if text != "0" else []
    return joined(texts) or "0", base


def joined(texts: Sequence[str]) -> str:
    """Return a sum of expressions, of which some may begin with a minus."""
    return "".join(text if place == 0 or text.startswith("-") else f"+{text}" for place, text in enumerate(texts))


def _written(part: Part, said: Sequence[str], dialect: Dialect, named: Naming) -> str:
    """Return what a part of a sum is: one text for each of its alternatives."""
    if isinstance(part, Term):
        return dialect.count(dialect.condition(part.condition, named), said[1], said[0])
    forms = _steps(part, said, dialect, named) if isinstance(part, Staircase) else _choices(part, said, dialect, named)
    return min(forms, key=len)


def _steps(part: Staircase, said: Sequence[str], dialect: Dialect, named: Naming) -> list[str]:
    """Return forms of a staircase: upwards and downwards."""
    *steps, missing = said
    up: list[tuple[Numbers, str]] = []
    down: list[tuple[Numbers, str]] = []
    for cut, below, above in zip(part.cuts, steps, steps[1:], strict=False):
        if below != above:
            up.append((Numbers(part.column, high=cut.value, high_open=not cut.is_after), below))
            down.insert(0, (Numbers(part.column, low=cut.value, low_open=cut.is_after), above))
    name = named(part.column)
    forms: list[str] = []
    for branches, opposite, last in ((up, down, steps[-1]), (down, up, steps[0])):
        tests = [(dialect.atom(atom, named), text) for atom, text in branches]
        rest = dialect.atom(opposite[0][0], named) if opposite else f"{name} IS NOT NULL"
        forms += _with_missing(name, tests, (rest, last), missing, dialect)
    return forms


def _choices(part: Choice, said: Sequence[str], dialect: Dialect, named: Naming) -> list[str]:
    """Return forms of a list of categories: each compared with the column, or the column named once."""
    *groups, other, missing = said
    listed: dict[str, list[str]] = {}
    for names, text in zip(part.groups, groups, strict=True):
        if text != other:
            listed.setdefault(text, []).extend(names)
    tests = [(dialect.atom(Categories(part.column, tuple(names)), named), text) for text, names in listed.items()]
    name = named(part.column)
    forms = _with_missing(name, tests, (f"{name} IS NOT NULL", other), missing, dialect)
    if missing == other and len(listed) > 1:
        pairs = [f"WHEN {dialect.text(value)} THEN {text}" for text, names in listed.items() for value in names]
        forms.append(f"CASE {name} {' '.join(pairs)} ELSE {other} END")
    return forms


def _with_missing(
    name: str, tests: Sequence[tuple[str, str]], rest: tuple[str, str], missing: str, dialect: Dialect
) -> list[str]:
    """Return forms of a choice by one column, which treat a missing value first, last, or as the rest is treated.

    Args:
        name: What the column is called.
        tests: With what is said where the first of them is true.
        rest: A test of the rows that are left and have a value, and what is said of them.
        missing: What is said of a missing value.
        dialect: To write in.
    """
    if missing == rest[1]:
        return [dialect.ladder(tests, missing)]
    first = dialect.ladder([(f"{name} IS NULL", missing), *tests], rest[1])
    return [first, dialect.ladder([*tests, rest], missing)]
