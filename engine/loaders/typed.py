"""Columns of a table with their types: inferred or given, screened, told in a line a kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np
import pandas as pd

from engine.loaders.columns import canonical_text
from engine.loaders.dates import date_of_part
from engine.loaders.encoding import encode
from engine.loaders.kinds import KINDS, Column, has_padding, kind_of
from engine.loaders.screening import constant_columns, copied_columns, identity_note, shortened
from engine.loaders.settings import DataSettings
from engine.loaders.values import MISSING_WORDS, Values, numbers_of_words

__all__ = ["Typed", "typed_columns"]

PLURALS = {"number": "Numbers", "category": "Categories", "boolean": "Booleans", "date": "Dates"}
FEW = 0.1  # of the values: so many words among numbers are more likely mistakes than categories


@final
@dataclass(eq=False)
class Typed:
    """The inputs of a table, and everything there is to say of them.

    Args:
        columns: That give inputs, in the order of the table.
        numbers: Columns of `x` by name, float32, each of shape (n_rows,).
        texts: Columns of `c` by name, objects, each of shape (n_rows,).
        notes: What a user should know.
        problems: What cannot be used.
    """

    columns: tuple[Column, ...] = ()
    numbers: dict[str, np.ndarray] = field(default_factory=dict)
    texts: dict[str, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def typed_columns(
    tables: Sequence[tuple[str, pd.DataFrame]], names: Sequence[str], settings: DataSettings, *, is_array: bool
) -> Typed:
    """Read input columns.

    Args:
        tables: With their names; the first one decides what its columns are.
        names: Of the input columns.
        settings: The user's types and missing codes.
        is_array: Columns are places of an array: a model may count on each, so that useless ones stay.
    """
    typed = Typed()
    words: dict[str, list[str]] = {}
    coded: dict[str, int] = {}
    columns = []
    for name in names:
        values = [Values(table[name], _codes_of(name, settings)) for _, table in tables]
        coded[name] = sum(part.coded for part in values)
        column = _column(name, values[0], settings, typed)
        if column is None:
            continue
        columns.append(column)
        if column.kind != "category" and not pd.api.types.is_numeric_dtype(values[0].series.dtype):
            for word in values[0].words:
                if isinstance(word, str) and word and word.strip().lower() in MISSING_WORDS:
                    words.setdefault(word, []).append(name)
        _add(column, [(where, part) for (where, _), part in zip(tables, values, strict=True)], typed)
    if not is_array:
        _drop_useless(typed)
    typed.columns = tuple(c for c in columns if any(name in typed.numbers or name in typed.texts for name in c.inputs))
    typed.notes[:0] = _kind_notes(typed.columns)
    if words:
        told = "; ".join(f"'{word}' in {shortened(found)}" for word, found in sorted(words.items()))
        typed.notes.append(f"Taken for missing: {told}.")
    if settings.missing_codes:
        typed.notes.append(_code_note(coded))
    return typed


def _column(name: str, values: Values, settings: DataSettings, typed: Typed) -> Column | None:
    """Return what a column is, or None where it gives nothing."""
    try:
        found = kind_of(values)
    except TypeError:
        typed.problems.append(f"Column {name} must hold one value a row, not lists or mappings: data.drop={name}.")
        return None
    if found is None:
        typed.notes.append(f"Column {name} is wholly missing and was dropped.")
        return None
    kind, _, date_format = (settings.types or {}).get(name, found).partition(":")
    if name not in (settings.types or {}):
        known = int(values.series.notna().sum())
        note = identity_note(name, kind, values, known) or (_text_note(name, values) if kind == "category" else "")
        typed.notes += [note] if note else []
    return Column(name, kind, values.missing_codes, date_format)


def _add(column: Column, parts: Sequence[tuple[str, Values]], typed: Typed) -> None:
    made = []
    for where, values in parts:
        inputs, problem = encode(column, values, where)
        made.append(inputs)
        typed.problems += [problem] if problem else []
    for name in column.inputs:
        joined = np.concatenate([inputs[name] for inputs in made])
        if column.kind == "category":
            typed.texts[name] = joined
            continue
        with np.errstate(over="ignore"):
            typed.numbers[name] = joined.astype(np.float32)
        infinite = int(np.isinf(typed.numbers[name]).sum())
        if infinite:
            typed.problems.append(
                f"Column {name} must hold numbers within float32, {infinite} are infinite; leave such fields empty."
            )


def _drop_useless(typed: Typed) -> None:
    everything = typed.numbers | typed.texts
    everything = dict(sorted(everything.items(), key=lambda item: date_of_part(item[0]) is not None))  # copies go last
    constant = constant_columns(everything)
    if len(constant) == len(everything):
        constant = constant[1:]  # a model needs some input, if only to answer the same for all
    copies = copied_columns({name: column for name, column in everything.items() if name not in constant})
    for name in (*constant, *copies):
        typed.numbers.pop(name, None)
        typed.texts.pop(name, None)
    constant = [name for name in constant if date_of_part(name) is None]  # parts of dates are nothing to tell of
    copies = {name: first for name, first in copies.items() if date_of_part(name) is None}
    if constant:
        typed.notes.append(f"Dropped, since all rows have one value: {shortened(constant)}.")
    if copies:
        pairs = shortened([f"{name} (of {first})" for name, first in copies.items()])
        typed.notes.append(f"Dropped, since they repeat another column: {pairs}.")


def _codes_of(name: str, settings: DataSettings) -> tuple[str, ...]:
    given = settings.missing_codes or ()
    return tuple(canonical_text(code) for code in (given.get(name, ()) if isinstance(given, dict) else given))


def _kind_notes(columns: Sequence[Column]) -> list[str]:
    notes = []
    for kind in KINDS:
        names = [column.name for column in columns if column.kind == kind]
        if names:
            notes.append(f"{PLURALS[kind]} ({len(names)}): {shortened(names)}.")
    return notes


def _code_note(coded: Mapping[str, int]) -> str:
    found = [name for name, count in coded.items() if count]
    if not found:
        return "No value of an input equals one of data.missing_codes."
    return (
        f"{sum(coded.values())} values are missing by data.missing_codes, in {len(found)} columns: {shortened(found)}."
    )


def _text_note(name: str, values: Values) -> str:
    """Say why a column that might be meant as numbers is read as categories."""
    if isinstance(values.series.dtype, pd.CategoricalDtype):
        return ""
    numbers, others = numbers_of_words(values.words)
    if not others and has_padding(values.words):
        return f"Column {name} has leading zeros and is read as categories; otherwise data.types={{{name}: number}}."
    known = int((values.codes >= 0).sum())
    counted = int((~np.isnan(numbers))[values.codes].sum())
    if others and counted >= (1 - FEW) * known:
        return (
            f"Column {name} is read as text because of {known - counted} values such as {str(others[0])!r}; "
            "leave such fields empty to have numbers, or name them in data.missing_codes."
        )
    return ""
