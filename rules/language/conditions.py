"""Conditions in SQL: boolean expressions over columns, read into conjunctions. Nothing in them is ever run."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NoReturn

import numpy as np

from engine.errors import MissingExtraError, SettingsError, did_you_mean
from engine.loaders.columns import canonical_text
from rules.atoms import Atom, Categories, Condition, Numbers
from rules.boxes import is_covered, simplified, union
from rules.language.table import Table

__all__ = ["read_condition"]

MOST_CHARACTERS = 5000
MOST_BOXES = 64
MOST_LISTED = 200
MIRRORED = {"LT": "GT", "LTE": "GTE", "GT": "LT", "GTE": "LTE", "EQ": "EQ", "NEQ": "NEQ"}
OPPOSITE = {"LT": "GTE", "LTE": "GT", "GT": "LTE", "GTE": "LT", "EQ": "NEQ", "NEQ": "EQ"}
SIGNS = {"LT": "<", "LTE": "<=", "GT": ">", "GTE": ">=", "EQ": "=", "NEQ": "<>"}
REMEDIES = {
    "Like": "LIKE is not understood; list the values with IN",
    "ILike": "ILIKE is not understood; list the values with IN",
    "Case": "CASE is not understood; write one rule for each branch",
    "Cast": "casts and dates are not understood; compare with a plain number or a text in single quotes",
    "Select": "a query inside a condition is not understood; list the values with IN",
    "Subquery": "a query inside a condition is not understood; list the values with IN",
    "Exists": "a query inside a condition is not understood; write what must hold of the row itself",
    "Placeholder": "placeholders are not understood; write the value itself",
    "Parameter": "parameters are not understood; write the value itself",
    "NullSafeEQ": "IS NOT DISTINCT FROM is not understood; use =, or IS NULL",
    "NullSafeNEQ": "IS DISTINCT FROM is not understood; use <>, or IS NOT NULL",
    "Alias": "something follows a complete condition; remove it",
    "Array": "square brackets are not understood; put names of columns into double quotes",
    "Xor": "XOR is not understood; use AND, OR and NOT",
}
ARITHMETIC = (
    "Neg",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Mod",
    "IntDiv",
    "Pow",
    "DPipe",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
)
Boxes = tuple[tuple[Atom, ...], ...]


class Refusal(Exception):  # noqa: N818  an answer to the reader below, never seen by a caller
    """Why a part of a condition is not understood, and what to do."""


def read_condition(text: str, table: Table) -> tuple[Condition, ...]:
    """Read a boolean expression in SQL: AND, OR, NOT, comparisons, IN, BETWEEN, IS NULL, TRUE and FALSE as values.

    A comparison with a missing value is neither true nor false, as in SQL, and a rule needs true.

    Args:
        text: The expression.
        table: Columns and known values.

    Returns:
        Conjunctions with one atom a column: the condition is true exactly where one of them holds.

    Raises:
        SettingsError: With every part that is not understood, or does not fit the table, a line each.

    Example:
        >>> found = read_condition("NOT (age >= 18 OR town IS NULL)", Table(("age",), ("town",), ()))
        >>> [atom.to_json() for condition in found for atom in condition.atoms]
        [{'column': 'age', '<': 18}, {'column': 'town', 'missing': False}]
    """
    reader = Reader(table)
    try:
        boxes = reader.boxes(_parsed(text), is_true=True)
    except Refusal as refusal:
        reader.problems.append(str(refusal))
        boxes = ()
    except RecursionError:
        reader.problems.append("the condition is nested too deeply; split it into several rules")
        boxes = ()
    if reader.problems:
        raise SettingsError("\n".join(dict.fromkeys(reader.problems)))
    found = [box for atoms in boxes if (box := simplified(Condition(atoms))) is not None]
    if not found:
        raise SettingsError("no row can satisfy the condition: it contradicts itself; correct it, or remove the rule")
    if is_covered(Condition(), found):
        raise SettingsError("every row satisfies the condition; use `default` for what holds everywhere")
    return _merged(found)


def _merged(boxes: list[Condition]) -> tuple[Condition, ...]:
    """Return the boxes with those joined that are one box together."""
    made: list[Condition] = []
    for box in boxes:
        for place, other in enumerate(made):
            both = union(other, box)
            if both is not None:
                made[place] = both
                break
        else:
            made.append(box)
    return tuple(made) if len(made) == len(boxes) else _merged(made)


def _parsed(text: str) -> Any:
    try:
        import sqlglot
    except ImportError as error:
        raise MissingExtraError("Rules in SQL need the package sqlglot: pip install 'lilliput[rules]'.") from error
    if len(text) > MOST_CHARACTERS:
        raise Refusal(f"a condition has at most {MOST_CHARACTERS} characters, this one {len(text)}; split the rule")
    try:
        parsed = sqlglot.parse(text)
    except sqlglot.errors.ParseError as error:
        found = error.errors[0]
        raise Refusal(
            f"character {found['col']}: this is no SQL condition near '{found['highlight']}'; write comparisons joined "
            "by AND, OR and NOT, texts in single quotes, unusual names of columns in double quotes"
        ) from error
    except sqlglot.errors.SqlglotError as error:
        raise Refusal("this is no SQL condition; is a quote or a parenthesis left open?") from error
    if len(parsed) != 1 or parsed[0] is None:
        raise Refusal("there must be one condition, without semicolons; join several by AND, or write several rules")
    return parsed[0]


class Reader:
    """From a parsed expression to conjunctions; collects every problem on the way."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.problems: list[str] = []

    def boxes(self, node: Any, *, is_true: bool) -> Boxes:
        """Return the conjunctions of a node being true, or being false; NULL is neither."""
        kind = type(node).__name__
        if kind == "Paren":
            return self.boxes(node.this, is_true=is_true)
        if kind == "Not":
            return self.boxes(node.this, is_true=not is_true)
        if kind in ("And", "Or"):
            return self._joined(node, is_all=(kind == "And") == is_true, is_true=is_true)
        readers: dict[str, Callable[[Any, bool], Boxes]] = {"In": self._in, "Between": self._between, "Is": self._is}
        reader = self._compared if kind in SIGNS else readers.get(kind, self._refused)
        try:
            return reader(node, is_true)
        except Refusal as refusal:
            self.problems.append(str(refusal))
            return ((),)

    def _joined(self, node: Any, *, is_all: bool, is_true: bool) -> Boxes:
        parts = [self.boxes(part, is_true=is_true) for part in (node.left, node.right)]
        if not is_all:
            made = parts[0] + parts[1]
        else:
            pairs = ((*one, *other) for one in parts[0] for other in parts[1])
            made = tuple(pair for pair in pairs if self.problems or simplified(Condition(pair)) is not None)
        if len(made) > MOST_BOXES:
            raise Refusal(f"the condition has more than {MOST_BOXES} alternatives; split it into several rules")
        return made

    def _refused(self, node: Any, is_true: bool) -> Boxes:  # noqa: ARG002
        kind = type(node).__name__
        if kind == "Column":
            name = self._column(node)
            raise Refusal(f"column {name} alone is no comparison; write for instance {name} = 'True' or {name} > 0")
        if _is_value(node):
            raise Refusal(f"{node.sql()} alone is no condition; compare a column with a value, or use `default`")
        _refuse(node)

    def _compared(self, node: Any, is_true: bool) -> Boxes:
        kind, left, right = type(node).__name__, _bare(node.this), _bare(node.expression)
        if type(left).__name__ in SIGNS:
            raise Refusal(f"'{node.sql()}' chains comparisons; write BETWEEN, or two comparisons joined by AND")
        if type(left).__name__ != "Column" and type(right).__name__ == "Column":
            left, right, kind = right, left, MIRRORED[kind]
        if type(left).__name__ != "Column":
            if _is_value(left):
                raise Refusal(f"'{node.sql()}' compares no column; name one on one side")
            _refuse(left)
        column = self._column(left)
        kind = kind if is_true else OPPOSITE[kind]
        if column not in self.table.numeric_columns and kind not in ("EQ", "NEQ") and _is_value(right):
            raise Refusal(
                f"column {column} holds texts, which {SIGNS[kind]} does not order; use =, <> or IN, or make it a number"
            )
        value = self._value(right, column, node)
        if column in self.table.numeric_columns:
            return self._number_boxes(column, kind, value)
        return ((Categories(column, (str(value),), kind == "NEQ"),),)

    def _number_boxes(self, column: str, kind: str, value: Any) -> Boxes:
        if kind == "NEQ":
            return (Numbers(column, high=value, high_open=True),), (Numbers(column, low=value, low_open=True),)
        if kind == "EQ":
            return ((Numbers(column, value, value),),)
        is_open = kind in ("LT", "GT")
        if kind in ("LT", "LTE"):
            return ((Numbers(column, high=value, high_open=is_open),),)
        return ((Numbers(column, low=value, low_open=is_open),),)

    def _in(self, node: Any, is_true: bool) -> Boxes:
        column = self._column(_bare(node.this), node)
        if node.args.get("query") is not None or node.args.get("unnest") is not None:
            raise Refusal(REMEDIES["Subquery"])
        entries = node.expressions
        if not entries:
            raise Refusal(f"IN of column {column} has no values; list at least one")
        if len(entries) > MOST_LISTED:
            raise Refusal(f"IN of column {column} lists {len(entries)} values, at most {MOST_LISTED} are read")
        if any(type(entry).__name__ == "Null" for entry in entries):
            raise Refusal(f"NULL in a list equals nothing; write OR {column} IS NULL")
        values = [self._value(_bare(entry), column, node) for entry in entries]
        if column not in self.table.numeric_columns:
            return ((Categories(column, tuple(map(str, values)), not is_true),),)
        ascending = sorted(set(values))
        if is_true:
            return tuple((Numbers(column, value, value),) for value in ascending)
        ends = [-math.inf, *ascending, math.inf]
        return tuple(
            (Numbers(column, low, high, not math.isinf(low), not math.isinf(high)),) for low, high in pairwise(ends)
        )

    def _between(self, node: Any, is_true: bool) -> Boxes:
        column = self._column(_bare(node.this), node)
        if column not in self.table.numeric_columns:
            raise Refusal(f"column {column} holds texts, which BETWEEN does not order; use = or IN")
        low, high = (self._value(_bare(node.args[end]), column, node) for end in ("low", "high"))
        if low > high:
            raise Refusal(f"BETWEEN {low:g} AND {high:g} holds for no number; write the lower end first")
        if is_true:
            return ((Numbers(column, low, high),),)
        return (Numbers(column, high=low, high_open=True),), (Numbers(column, low=high, low_open=True),)

    def _is(self, node: Any, is_true: bool) -> Boxes:
        column = self._column(_bare(node.this), node)
        if type(node.expression).__name__ != "Null":
            raise Refusal(f"IS {node.expression.sql()} is not understood; IS NULL and IS NOT NULL are")
        if column in self.table.numeric_columns:
            return ((Numbers(column, math.inf, -math.inf, missing=True) if is_true else Numbers(column),),)
        return ((Categories(column, negated=not is_true, missing=is_true),),)

    def _column(self, node: Any, whole: Any = None) -> str:
        """Return the name of the column that a node is."""
        if type(node).__name__ != "Column":
            if _is_value(node):
                raise Refusal(f"'{(whole or node).sql()}' compares no column; name one first")
            _refuse(node)
        if node.table:
            raise Refusal(f"there is one table only; write {node.name} in place of {node.sql()}")
        name = str(node.name)
        if name in self.table.columns:
            return name
        raise Refusal(self.table.absent(name))

    def _value(self, node: Any, column: str, whole: Any) -> Any:
        """Return what a column is compared with: a number for a column of numbers, else a text."""
        kind = type(node).__name__
        is_number = column in self.table.numeric_columns
        if kind == "Null":
            raise Refusal(f"'{whole.sql()}' is never true; write {column} IS NULL or IS NOT NULL")
        if kind == "Column":
            self._is_text_or_column(node, column)
        if kind == "Boolean":
            if is_number:
                raise Refusal(f"column {column} holds numbers; compare it with 1 or 0 in place of {node.sql()}")
            return self._text("True" if node.this else "False", column)
        literal = node.this if kind == "Neg" and type(node.this).__name__ == "Literal" else node
        if type(literal).__name__ != "Literal":
            _refuse(node)
        if not is_number:
            sign = "-" if literal is not node else ""
            return self._text(
                str(literal.this) if literal.is_string else canonical_text(f"{sign}{literal.this}"), column
            )
        if literal.is_string:
            raise Refusal(f"column {column} holds numbers; compare it with a number, without quotes, not {node.sql()}")
        return _float32(float(literal.this) * (-1 if literal is not node else 1), column, str(literal.this))

    def _text(self, value: str, column: str) -> str:
        if value == "":
            raise Refusal(f"an empty text is a missing value; write {column} IS NULL")
        known = self.table.known_values.get(column)
        if known is not None and value not in known:
            near = did_you_mean(value, known)
            listed = f" (values: {', '.join(sorted(known))})" if len(known) <= 12 else ""
            raise Refusal(f"column {column} never has the value '{value}' in the data{listed}{near}")
        return value

    def _is_text_or_column(self, node: Any, column: str) -> NoReturn:
        name = str(node.name)
        if name in self.table.columns:
            raise Refusal(
                f"columns {column} and {name} are compared with each other; derive their difference as a column"
            )
        raise Refusal(
            f"{node.sql()} is the name of a column that is not there; write a text as '{name}', in single quotes"
        )


def _bare(node: Any) -> Any:
    while type(node).__name__ == "Paren":
        node = node.this
    return node


def _is_value(node: Any) -> bool:
    kind = type(node).__name__
    return kind in ("Literal", "Null", "Boolean") or (kind == "Neg" and type(node.this).__name__ == "Literal")


def _float32(value: float, column: str, text: str) -> float:
    with np.errstate(over="ignore"):
        single = float(np.float32(value))
    if math.isinf(single):
        raise Refusal(f"column {column}: {text} is beyond the numbers of 32 bits; use a smaller one")
    if value == int(value) and single != value:
        raise Refusal(f"column {column}: {value:.0f} is not told from {single:.0f} in 32 bits; use a rounder number")
    return value


def _refuse(node: Any) -> NoReturn:
    kind = type(node).__name__
    if kind in ARITHMETIC:
        raise Refusal(f"'{node.sql()}' calculates; derive a column for it, or bring the constants to one side")
    if kind in REMEDIES:
        raise Refusal(REMEDIES[kind])
    if hasattr(node, "sql_name"):
        name = node.name if kind == "Anonymous" else node.sql_name()
        raise Refusal(f"function {name} is not understood; derive a column for it")
    raise Refusal(f"'{node.sql()}' is not understood; use comparisons, IN, BETWEEN, IS NULL, AND, OR and NOT")
