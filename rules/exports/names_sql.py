"""Names, texts and numbers in SQL, as one dialect wants them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from engine.errors import SettingsError, did_you_mean
from rules.atoms import Atom, Condition, Numbers
from rules.decimals import after, before, decimal_at_least, decimal_at_most

__all__ = ["Dialect", "Naming", "dialect_of", "number"]

Naming = Callable[[str], str]  # from a column to what a query calls it

MOST_NESTED = 50  # databases limit how deep an expression may be
PART = r'(?:"(?:[^"]|"")+"|[^."]+)'  # of the name of a table
WRITTEN_HERE = ("duckdb", "postgres", "sqlite")  # others are made by sqlglot from the text for DuckDB


@final
@dataclass(frozen=True)
class Dialect:
    """A dialect that queries are written in directly.

    Args:
        name: As sqlglot has it.
        reserved: Words that must be quoted, lower case.
        folds: Whether an unquoted name is not the name as it is written where that has upper case.
    """

    name: str
    reserved: frozenset[str]
    folds: bool

    def quoted(self, name: str) -> str:
        """Return a name, quoted only where it must be."""
        is_plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name, re.ASCII) and name.lower() not in self.reserved
        if is_plain and (not self.folds or name == name.lower()):
            return name
        return '"' + name.replace('"', '""') + '"'

    def table(self, name: str) -> str:
        """Return the name of a table, after those of its schema and so on: `public.data`, or `public."odd.name"`.

        Raises:
            SettingsError: If it is empty.
        """
        if not name:
            raise SettingsError("table must be the name of a table, such as data or public.data, got nothing.")
        if not re.fullmatch(rf"{PART}(\.{PART})*", name):
            return self.quoted(name)
        parts = [part[1:-1].replace('""', '"') if part[0] == '"' else part for part in re.findall(PART, name)]
        return ".".join(map(self.quoted, parts))

    def text(self, value: str) -> str:
        """Return a text."""
        return "'" + value.replace("'", "''") + "'"

    @property
    def prefix(self) -> str:
        """What names of our own begin with; not every database takes a name that begins with an underscore."""
        return "_" if self.name in WRITTEN_HERE else "t_"

    @property
    def is_brief(self) -> bool:
        """Whether there is a short form of CASE, and a selection within another needs no name."""
        return self.name in ("duckdb", "sqlite")

    def choice(self, test: str, then: str, otherwise: str) -> str:
        """Return one of two expressions: the second where the test is false or NULL."""
        if then == otherwise:
            return then
        if self.name == "postgres":
            return f"CASE WHEN {test} THEN {then} ELSE {otherwise} END"
        return f"{'IIF' if self.name == 'sqlite' else 'IF'}({test},{then},{otherwise})"

    def ladder(self, tests: Sequence[tuple[str, str]], otherwise: str) -> str:
        """Return what stands beside the first test that is true; last tests that change nothing are left out."""
        kept = list(tests)
        while kept and kept[-1][1] == otherwise:
            kept.pop()
        if self.is_brief and len(kept) <= MOST_NESTED:
            made = otherwise
            for test, then in reversed(kept):
                made = self.choice(test, then, made)
            return made
        if len(kept) < 2:
            return self.count(*kept[0], otherwise) if kept else otherwise
        lines = " ".join(f"WHEN {test} THEN {then}" for test, then in kept)
        return f"CASE {lines} ELSE {otherwise} END"

    def count(self, test: str, then: str, otherwise: str) -> str:
        """Return one of two whole numbers, as part of a sum: the second where the test is false or NULL."""
        chosen = self.choice(test, then, otherwise)
        if self.name != "postgres" or otherwise != "0":
            return chosen
        tested = f"({test})" if " AND " in test or " OR " in test else test
        counted = f"({tested} IS TRUE)::int" + ("" if then == "1" else f"*{then}")
        return min(chosen, counted, key=len)

    def largest(self, values: Sequence[str]) -> str:
        """Return the largest of some numbers."""
        return f"{'MAX' if self.name == 'sqlite' else 'GREATEST'}({','.join(values)})"

    def bounded(self, value: str, most: int) -> str:
        """Return a number, or the nearest one whose absolute value is allowed."""
        least, greatest = ("MIN", "MAX") if self.name == "sqlite" else ("LEAST", "GREATEST")
        return f"{least}({most},{greatest}(-{most},{value}))"

    def condition(self, condition: Condition, named: Naming) -> str:
        """Return a conjunction that is true exactly where it holds; missing values are NULL."""
        return " AND ".join(self.atom(atom, named) for atom in condition.atoms) or "1=1"

    def atom(self, atom: Atom, named: Naming) -> str:
        """Return the comparison that an atom is."""
        name = named(atom.column)
        plain = _numbers(atom, name) if isinstance(atom, Numbers) else self._categories(atom, name)
        if not atom.missing:
            return plain or f"{name} IS NOT NULL"
        if plain == "1=0":
            return f"{name} IS NULL"
        return f"({plain} OR {name} IS NULL)" if plain else "1=1"

    def _categories(self, atom: Atom, name: str) -> str:
        assert not isinstance(atom, Numbers)
        if not atom.values:
            return "" if atom.negated else "1=0"
        listed = ",".join(self.text(value) for value in atom.values)
        if len(atom.values) == 1:
            return f"{name}{'<>' if atom.negated else '='}{listed}"
        return f"{name} {'NOT ' if atom.negated else ''}IN({listed})"


def dialect_of(name: str) -> Dialect:
    """Return the dialect that a query for `name` is written in; sqlglot turns it into the others.

    Raises:
        SettingsError: If sqlglot does not know the dialect.
    """
    from sqlglot.dialects.dialect import Dialect as Known

    if name not in Known.classes or not name:
        known = sorted(filter(None, Known.classes))
        raise SettingsError(f"No SQL dialect '{name}'{did_you_mean(name, known)} Dialects: {', '.join(known)}.")
    own = name if name in WRITTEN_HERE else "duckdb"
    dialect = Known.get_or_raise(own)
    words = {word for entry in dialect.tokenizer_class.KEYWORDS for word in entry.lower().split()}
    words |= {word.lower() for word in dialect.generator_class.RESERVED_KEYWORDS}
    return Dialect(name, frozenset(words), folds=name not in ("duckdb", "sqlite"))


def number(value: float) -> str:
    """Return a number as every dialect reads it: whole ones without a point."""
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))


def _numbers(atom: Numbers, name: str) -> str:
    """Return an interval; empty where every number is in it.

    Each end is a text that decides alike for float32 columns and for float64 columns that hold float32 numbers.
    """
    if atom.is_void:
        return "1=0"
    low, low_open, high, high_open = atom.low, atom.low_open, atom.high, atom.high_open
    if low == math.inf or (math.isinf(low) and low_open):  # infinities have no text of their own
        low, low_open = (before(low), True) if low > 0 else (after(low), False)
    if high == -math.inf or (math.isinf(high) and high_open):
        high, high_open = (after(high), True) if high < 0 else (before(high), False)
    lower = decimal_at_least(low) if low_open else decimal_at_most(low)
    upper = decimal_at_most(high) if high_open else decimal_at_least(high)
    if math.isinf(low):
        return "" if math.isinf(high) else f"{name}{'<' if high_open else '<='}{upper}"
    if math.isinf(high):
        return f"{name}{'>' if low_open else '>='}{lower}"
    if lower == upper and not low_open and not high_open:
        return f"{name}={lower}"
    if not low_open and not high_open:
        return f"{name} BETWEEN {lower} AND {upper}"
    return f"{name}{'>' if low_open else '>='}{lower} AND {name}{'<' if high_open else '<='}{upper}"
