"""csv files, plain or gzipped."""

from __future__ import annotations

import warnings
import zlib
from pathlib import Path

import pandas as pd

from engine.errors import DataError
from engine.loaders.joining import join_frames
from engine.loaders.paths import files_of
from engine.loaders.raw import Raw
from engine.loaders.settings import DataSettings

__all__ = ["read_csv", "read_table"]


def read_csv(path: Path) -> pd.DataFrame:
    """Return all fields as text; only an empty field is missing, "NA" and "None" are words.

    Raises:
        DataError: If it is unreadable or has no rows.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""], index_col=False)
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path} is empty.") from error
    except (OSError, ValueError, EOFError, zlib.error, pd.errors.ParserWarning) as error:
        raise DataError(f"{path} must be a readable csv file in UTF-8 with one header line: {error}.") from error
    if frame.empty:
        raise DataError(f"{path} must have rows below its header line, it has none.")
    return frame


def read_table(settings: DataSettings) -> Raw:
    """Read csv files; numeric columns become `x`, all others `c`."""
    frames = {origin: read_csv(path) for origin, path in files_of(settings).items()}
    return join_frames(frames, settings, target=str(settings.target), where=str(settings.path))
