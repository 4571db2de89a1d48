"""Columns of a table as inputs of a file: one way for the rows that train and for those that are predicted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from engine.errors import DataError
from engine.loaders.dates import date_of_part
from engine.loaders.kinds import Column, kind_of
from engine.loaders.values import Values

__all__ = ["encode", "frame_inputs"]

WANTED = {
    "number": "numbers",
    "boolean": "true and false, yes and no, or 1 and 0",
    "date": "dates such as 2026-01-31",
}


def encode(column: Column, values: Values, where: str) -> tuple[dict[str, np.ndarray], str]:
    """Return the inputs that a column gives, and what is wrong with it.

    Args:
        column: What it is.
        values: Its values.
        where: Name of the table, for messages.

    Returns:
        By name, float64 or canonical text as objects, each of shape (n_rows,); and a sentence, or nothing.
    """
    if column.kind == "category":
        return {column.name: values.texts()}, ""
    if column.kind == "date":
        parts, other = values.dates(column.date_format)
        made = {f"{column.name}:{part}": numbers for part, numbers in parts.items()}
    else:
        numbers, other = values.numbers() if column.kind == "number" else values.booleans()
        made = {column.name: numbers}
    if other is None:
        return made, ""
    wanted = f"dates of the form {column.date_format}" if column.date_format else WANTED[column.kind]
    return made, f"Column {column.name} of {where} must hold {wanted}, got {str(other)!r}."


def frame_inputs(
    frame: pd.DataFrame,
    names: Mapping[str, Sequence[str]],
    columns: Iterable[Column] = (),
    *,
    where: str = "The table",
) -> dict[str, np.ndarray]:
    """Return the inputs of a file from columns of these names, in any order, others ignored.

    Args:
        frame: Rows as the user has them, with columns called by texts that differ (`as_frame`).
        names: Of the columns of `x` and of `c`; `<column>:<part>` is a part of a date, unless the frame has it; the
            empty text is a column that the file does not read.
        columns: What is known of them; others are numbers where they stand in `x`, otherwise categories.
        where: What to call the frame in messages.

    Raises:
        DataError: With every missing column, and every column that holds something else.
    """
    known = {column.name: column for column in columns}
    sources = [_source(name, key, frame, known) for key, wanted in names.items() for name in wanted
               if name or name in frame.columns]  # fmt: skip
    needed = {column.name: column for column in sources}
    problems = []
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        present = ", ".join(frame.columns[:50])
        problems.append(f"{where} must have the columns of the model, it lacks {', '.join(missing)}. It has {present}.")
    found: dict[str, np.ndarray] = {}
    for name, column in needed.items():
        if name in frame.columns:
            made, problem = encode(column, Values(frame[name], column.missing_codes), where)
            found |= made
            problems += [problem] if problem else []
    if problems:
        raise DataError("\n".join(problems))
    inputs: dict[str, np.ndarray] = {}
    unread = {"x": np.full(len(frame), np.nan), "c": np.full(len(frame), "", object)}
    if names.get("x"):
        with np.errstate(over="ignore"):
            inputs["x"] = np.stack([found.get(name, unread["x"]) for name in names["x"]], axis=1).astype(np.float32)
    if names.get("c"):
        inputs["c"] = np.stack([found.get(name, unread["c"]) for name in names["c"]], axis=1)
    return inputs


def _source(name: str, key: str, frame: pd.DataFrame, known: Mapping[str, Column]) -> Column:
    """Return the column that an input comes from; what no card tells is told by its name and its values."""
    if name in known:
        return known[name]
    if key == "c":
        return Column(name, "category")
    date = date_of_part(name)
    if date is not None and name not in frame.columns and (date in known or date in frame.columns):
        return known.get(date) or Column(date, "date")
    is_boolean = name in frame.columns and kind_of(Values(frame[name])) == "boolean"
    return Column(name, "boolean" if is_boolean else "number")
