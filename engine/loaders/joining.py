"""From the parts of a source (one file, or one for each split) to raw columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import pandas as pd

from engine.errors import DataError, did_you_mean
from engine.loaders.arrays import as_images, as_signals, compact, count_not_finite
from engine.loaders.columns import as_groups, as_numbers, as_text, as_times, as_weights, is_missing
from engine.loaders.raw import TEST, VALID, Raw
from engine.loaders.settings import ROW_NUMBER, DataSettings

__all__ = ["Arrays", "join_arrays", "join_frames"]

MAX_TEXT_BYTES = 2 * 2**30
ROLES = ("group", "time", "weight")


@final
@dataclass(frozen=True, eq=False)
class Arrays:
    """One part of a source that is not a table: inputs, targets, and row-wise arrays by role."""

    x: np.ndarray
    y: np.ndarray
    roles: Mapping[str, np.ndarray] = field(default_factory=dict)


def join_arrays(
    parts: Mapping[int, Arrays], settings: DataSettings, *, kind: str, where: str, notes: Iterable[str] = ()
) -> Raw:
    """Return images or signals as raw columns.

    Args:
        parts: By origin.
        settings: The user's.
        kind: `images` or `signals`.
        where: Name of the source, for messages.
        notes: What the reader found.

    Raises:
        DataError: With every problem of layout, type and values.
    """
    problems = [
        f"data.{option} names columns, but {where} holds {kind}: remove it."
        for option in ("drop", "id")
        if getattr(settings, option)
    ]
    layouts = [(as_images if kind == "images" else as_signals)(part.x) for part in parts.values()]
    shapes = {layout.shape[1:] for layout in layouts}
    if len(shapes) > 1:
        named = ", ".join(" x ".join(map(str, shape)) for shape in sorted(shapes))
        raise DataError(f"{where} must have rows of one shape in all its parts, got {named}.")
    x = compact(layouts[0] if len(layouts) == 1 else np.concatenate(layouts))
    wrong = count_not_finite(x)
    if wrong:
        problems.append(f"{where} must hold finite values in x, {wrong} of {x.size} are NaN or infinite.")
    y = np.concatenate([part.y for part in parts.values()])
    series = [{role: pd.Series(values) for role, values in part.roles.items()} for part in parts.values()]
    columns = _join_roles(series, settings, where, problems)
    if problems:
        raise DataError("\n".join(problems))
    return Raw(
        kind, y, _origins({origin: len(part.y) for origin, part in parts.items()}), x, notes=tuple(notes), **columns
    )


def join_frames(
    frames: Mapping[int, pd.DataFrame], settings: DataSettings, *, target: str, where: str, notes: Iterable[str] = ()
) -> Raw:
    """Return tables as raw columns: numbers to `x`, everything else to `c`.

    What is a number is decided by the rows that are to be divided, and holds for all others.

    Args:
        frames: By origin; the first one decides the columns.
        settings: The user's.
        target: Name of the target column.
        where: Name of the source, for messages.
        notes: What the reader found.

    Raises:
        DataError: With every unknown column, missing column and unusable value.
    """
    frames = {origin: _numbered(frame, settings) for origin, frame in frames.items()}
    inputs = _input_columns(frames, settings, target, where)
    table = _Table(frames, where, list(notes))
    for name in inputs:
        table.add(name)
    if not table.numbers and not table.texts and not table.problems:
        table.problems.append(f"{where} must have an input column besides the target and what data.drop removes.")
    given = {role: getattr(settings, role) for role in ROLES if getattr(settings, role)}
    series = [{role: frame[name] for role, name in given.items()} for frame in frames.values()]
    columns = _join_roles(series, settings, where, table.problems)
    if table.problems:
        raise DataError("\n".join(table.problems))
    y = pd.concat([frame[target] for frame in frames.values()], ignore_index=True)
    x, c = table.stack()
    origin = _origins({origin: len(frame) for origin, frame in frames.items()})
    return Raw(
        "table", _plain(y), origin, x, c, tuple(table.numbers), tuple(table.texts), notes=tuple(table.notes), **columns
    )


class _Table:
    """Collects columns, and everything that is wrong with them."""

    def __init__(self, frames: Mapping[int, pd.DataFrame], where: str, notes: list[str]) -> None:
        self.frames, self.where, self.notes = frames, where, notes
        self.numbers: dict[str, np.ndarray] = {}
        self.texts: dict[str, np.ndarray] = {}
        self.problems: list[str] = []

    def add(self, name: str) -> None:
        """Read one input column."""
        first, *others = (frame[name] for frame in self.frames.values())
        missing = is_missing(first)
        if missing.all():
            self.notes.append(f"Column {name} is wholly missing and was dropped.")
            return
        numbers, other = as_numbers(first)
        if not other.any():
            self._add_numbers(name, [numbers, *(self._checked(name, column) for column in others)])
            return
        self.texts[name] = np.concatenate([as_text(column) for column in (first, *others)])
        self._note_text(name, first, int((~missing).sum()), other)

    def stack(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return `x` and `c`."""
        x = np.stack(list(self.numbers.values()), axis=1) if self.numbers else None
        c = np.stack(list(self.texts.values()), axis=1) if self.texts else None
        if c is not None:
            widths = {name: max(map(len, set(text))) for name, text in self.texts.items()}
            widest = max(widths, key=lambda name: widths[name])
            size = c.size * widths[widest] * 4
            if size > MAX_TEXT_BYTES:
                raise DataError(f"Text columns would take {size} bytes; remove the widest: data.drop={widest}.")
        return x, c

    def _checked(self, name: str, column: pd.Series) -> np.ndarray:
        numbers, other = as_numbers(column)
        if other.any():
            self.problems.append(
                f"Column {name} holds numbers in {self.where}, so it must in every file, got {column[other].iloc[0]!r}."
            )
        return numbers

    def _add_numbers(self, name: str, parts: list[np.ndarray]) -> None:
        with np.errstate(over="ignore"):
            column = np.concatenate(parts).astype(np.float32)
        infinite = int(np.isinf(column).sum())
        if infinite:
            self.problems.append(
                f"Column {name} must hold numbers within float32, {infinite} are infinite; leave such fields empty."
            )
        self.numbers[name] = column

    def _note_text(self, name: str, column: pd.Series, known: int, other: np.ndarray) -> None:
        distinct = column.nunique()
        if other.sum() <= 0.1 * known:
            self.notes.append(
                f"Column {name} is read as text because of {int(other.sum())} values such as "
                f"{str(column[other].iloc[0])!r}; leave such fields empty to have numbers."
            )
        elif distinct > 100 and distinct > 0.5 * known:
            self.notes.append(
                f"Column {name} has {distinct} different texts in {known} rows; "
                f"data.drop={name} unless it repeats in new rows."
            )


def _numbered(frame: pd.DataFrame, settings: DataSettings) -> pd.DataFrame:
    if settings.time != ROW_NUMBER or ROW_NUMBER in frame.columns:
        return frame
    return frame.assign(**{ROW_NUMBER: np.arange(len(frame))})


def _input_columns(frames: Mapping[int, pd.DataFrame], settings: DataSettings, target: str, where: str) -> list[str]:
    first = next(iter(frames.values()))
    known = list(first.columns)
    named = [("target", target), *((role, getattr(settings, role)) for role in ROLES)]
    named += [(option, name) for option in ("drop", "id") for name in getattr(settings, option)]
    given = [(option, name) for option, name in named if name]
    problems = []
    for option, name in given:
        if name not in known:
            shown = ", ".join(known[:50]) + (", ..." if len(known) > 50 else "")
            hint = did_you_mean(name, known) or "."
            problems.append(f"data.{option}: no column '{name}' in {where}{hint} Columns: {shown}.")
    for option, name in given[1:]:
        if name == target:
            problems.append(f"data.{option} must not be the target column '{target}'.")
    away = {name for _, name in given}
    inputs = [name for name in known if name not in away]
    needed = [*inputs, target, *(getattr(settings, role) for role in ROLES if getattr(settings, role))]
    for origin, frame in frames.items():
        lost = [name for name in needed if name in known and name not in frame.columns]
        if lost:
            file = {VALID: settings.valid_path, TEST: settings.test_path}.get(origin)
            problems.append(f"{file} must have the columns of {where}, it lacks {', '.join(lost)}.")
    if problems:
        raise DataError("\n".join(problems))
    return inputs


def _join_roles(
    parts: Sequence[Mapping[str, pd.Series]], settings: DataSettings, where: str, problems: list[str]
) -> dict[str, Any]:
    made = {}
    for role, read in (("group", as_groups), ("time", as_times), ("weight", as_weights)):
        if role in parts[0]:
            values = pd.concat([part[role] for part in parts], ignore_index=True)
            made[role] = read(values, f"data.{role}={getattr(settings, role)} in {where}", problems)
    return made


def _origins(lengths: Mapping[int, int]) -> np.ndarray:
    return np.repeat(np.asarray(list(lengths), dtype=np.int8), list(lengths.values()))


def _plain(values: pd.Series) -> np.ndarray:
    numeric = pd.api.types.is_numeric_dtype(values.dtype)
    return values.to_numpy() if numeric else values.astype(object).to_numpy()
