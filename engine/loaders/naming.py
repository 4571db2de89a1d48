"""Columns that the settings name: all known, none with two meanings."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from engine.errors import DataError, did_you_mean
from engine.loaders.kinds import KINDS
from engine.loaders.settings import DataSettings

__all__ = ["ROLES", "check_names"]

ROLES = ("group", "time", "weight")
AWAY = ("drop", "id", "forbid", "protect")  # lists of columns that are no inputs
SHOWN = 50


def check_names(tables: Sequence[tuple[str, pd.DataFrame]], settings: DataSettings, target: str) -> list[str]:
    """Return the columns that are inputs.

    Args:
        tables: With their names; the first one decides the columns.
        settings: The user's.
        target: Name of the target column.

    Raises:
        DataError: With every unknown column, every column of two meanings, and every column that another file lacks.
    """
    where, first = tables[0]
    known = list(first.columns)
    given = [("target", target), *((role, getattr(settings, role)) for role in ROLES)]
    given += [(option, name) for option in AWAY for name in getattr(settings, option)]
    given = [(option, name) for option, name in given if name]
    about = [("types", name) for name in settings.types or ()]
    if isinstance(settings.missing_codes, dict):
        about += [("missing_codes", name) for name in settings.missing_codes]
    shown = ", ".join(known[:SHOWN]) + (", ..." if len(known) > SHOWN else "")
    problems = [
        f"data.{option}: no column '{name}' in {where}{did_you_mean(name, known)} Columns: {shown}."
        for option, name in given + about
        if name not in known
    ]
    problems += [f"data.{option} must not be the target column '{target}'." for option, n in given[1:] if n == target]
    away = {name: option for option, name in reversed(given)}
    problems += [
        f"data.{option} names {name}, which is no input by data.{away[name]}: remove one of them."
        for option, name in about
        if name in away and name in known
    ]
    problems += _wrong_kinds(settings)
    roles = [getattr(settings, role) for role in ROLES if getattr(settings, role)]
    inputs = [name for name in known if name not in away]
    needed = [*inputs, target, *roles, *settings.protect]
    for file, table in tables:
        lost = [name for name in needed if name in known and name not in table.columns]
        if lost:
            problems.append(f"{file} must have the columns of {where}, it lacks {', '.join(lost)}.")
    if problems:
        raise DataError("\n".join(problems))
    return inputs


def _wrong_kinds(settings: DataSettings) -> list[str]:
    """Return a sentence for each type that is none; a date may have a format, as in `date:%d.%m.%Y`."""
    return [
        f"data.types.{name} must be one of {', '.join(KINDS)} (or date:FORMAT), got '{kind}'{did_you_mean(kind, KINDS)}"
        for name, kind in (settings.types or {}).items()
        if kind not in KINDS and not (kind.startswith("date:") and "%" in kind)
    ]
