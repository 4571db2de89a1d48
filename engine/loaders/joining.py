"""From the parts of a source (one file, or one for each split) to raw columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import pandas as pd

from engine.errors import DataError
from engine.loaders.arrays import as_images, as_signals, compact, count_not_finite
from engine.loaders.columns import as_groups, as_times, as_weights
from engine.loaders.frame import as_frame
from engine.loaders.naming import ROLES, check_names
from engine.loaders.raw import TEST, VALID, Raw
from engine.loaders.settings import ROW_NUMBER, DataSettings
from engine.loaders.typed import typed_columns
from engine.loaders.values import Values

__all__ = ["ROLES", "Arrays", "join_arrays", "join_frames"]


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
        for option in ("drop", "id", "forbid", "protect", "types", "missing_codes")
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
    frames: Mapping[int, pd.DataFrame],
    settings: DataSettings,
    *,
    target: str,
    where: str,
    notes: Iterable[str] = (),
    is_array: bool = False,
) -> Raw:
    """Return tables as raw columns: numbers, booleans and the parts of dates to `x`, categories to `c`.

    What a column is, is decided by the user or by the rows that are to be divided, and holds for all others.

    Args:
        frames: By origin; the first one decides the columns.
        settings: The user's.
        target: Name of the target column.
        where: Name of the source, for messages.
        notes: What the reader found.
        is_array: Columns are places of an array, and all of them stay.

    Raises:
        DataError: With every unknown column, missing column and unusable value.
    """
    places = {VALID: settings.valid_path, TEST: settings.test_path}
    tables = [
        (str(places.get(origin) or where), _numbered(as_frame(part), settings)) for origin, part in frames.items()
    ]
    names = check_names(tables, settings, target)
    typed = typed_columns(tables, names, settings, is_array=is_array)
    problems = list(typed.problems)
    if not typed.numbers and not typed.texts and not problems:
        problems.append(f"{where} must have an input column besides the target and what data.drop removes.")
    given = {role: getattr(settings, role) for role in ROLES if getattr(settings, role)}
    series = [{role: table[name] for role, name in given.items()} for _, table in tables]
    roles = _join_roles(series, settings, where, problems)
    if problems:
        raise DataError("\n".join(problems))
    y = pd.concat([table[target] for _, table in tables], ignore_index=True)
    protected = {
        name: np.concatenate([Values(table[name]).texts() for _, table in tables]) for name in settings.protect
    }
    return Raw(
        "table",
        _plain(y),
        _origins({origin: len(frame) for origin, frame in frames.items()}),
        np.stack(list(typed.numbers.values()), axis=1) if typed.numbers else None,
        np.stack(list(typed.texts.values()), axis=1) if typed.texts else None,
        tuple(typed.numbers),
        tuple(typed.texts),
        columns=typed.columns,
        protected=protected,
        notes=(*notes, *typed.notes),
        **roles,
    )


def _numbered(frame: pd.DataFrame, settings: DataSettings) -> pd.DataFrame:
    if settings.time != ROW_NUMBER or ROW_NUMBER in frame.columns:
        return frame
    return frame.assign(**{ROW_NUMBER: np.arange(len(frame))})


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
