"""Dates as numbers: the parts that a model is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["PARTS", "date_of_part", "date_parts", "parse_dates"]

PARTS = ("days", "year", "month", "day", "weekday", "hour")
DAY_SECONDS = 86_400


def parse_dates(values: Sequence[Any], date_format: str) -> pd.Series:
    """Return times without a zone, in UTC where they have one; NaT for what is no date.

    Args:
        values: Texts, dates, or times.
        date_format: As `strptime` has it; empty for dates such as 2026-01-31 12:00, with or without time and zone. No
            other order of day and month is guessed.
    """
    series: pd.Series = pd.Series(values)
    if isinstance(series.dtype, pd.PeriodDtype):
        series = pd.Series(series.dt.to_timestamp())
    if not pd.api.types.is_datetime64_any_dtype(series.dtype):
        series = pd.to_datetime(series.astype(object), format=date_format or "ISO8601", errors="coerce", utc=True)
    return series if series.dt.tz is None else series.dt.tz_convert("UTC").dt.tz_localize(None)


def date_parts(times: pd.Series) -> dict[str, np.ndarray]:
    """Return the numeric parts of dates, float64, NaN where the date is missing.

    Args:
        times: Without a zone.

    Returns:
        `days` since 1970-01-01, `year`, `month` and `day` from 1, `weekday` from 0 for Monday, `hour` with minutes as a
        fraction, each of shape (n_rows,).

    Example:
        >>> {name: part.tolist() for name, part in date_parts(pd.to_datetime(pd.Series(["2026-01-31 12:30"]))).items()}
        {'days': [20484.0], 'year': [2026.0], 'month': [1.0], 'day': [31.0], 'weekday': [5.0], 'hour': [12.5]}
    """
    when, stamps = times.dt, times.to_numpy(dtype="datetime64[s]")
    seconds = pd.Series(np.where(np.isnat(stamps), np.nan, stamps.astype(np.int64)))
    parts = {
        "days": np.floor(seconds / DAY_SECONDS),
        "year": when.year,
        "month": when.month,
        "day": when.day,
        "weekday": when.day_of_week,
        "hour": (seconds % DAY_SECONDS) / 3600,
    }
    return {name: parts[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in PARTS}


def date_of_part(name: str) -> str | None:
    """Return the column whose part an input is called after, or None.

    Example:
        >>> date_of_part("signup:year"), date_of_part("signup")
        ('signup', None)
    """
    column, colon, part = name.rpartition(":")
    return column if colon and column and part in PARTS else None
