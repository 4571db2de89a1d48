"""Data sets of OpenML by name or number, fetched once and kept in a folder."""

from __future__ import annotations

import urllib.error
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import fetch_openml, get_data_home

from engine.errors import DataError
from engine.loaders.joining import join_frames
from engine.loaders.raw import OPEN, Raw
from engine.loaders.settings import DataSettings

__all__ = ["read_openml"]


def read_openml(settings: DataSettings) -> Raw:
    """Read a data set of OpenML; its own target unless `data.target` names another column.

    Raises:
        DataError: If there is no such data set, or OpenML cannot be reached and the folder does not hold it.
    """
    wanted = str(settings.path)
    folder = Path(get_data_home(settings.cache))
    if wanted.isdecimal() and settings.version:
        raise DataError(f"data.version goes with a name, but data.path={wanted} is a number: remove data.version.")
    named: dict[str, Any] = {"name": wanted, "version": settings.version or "active"}
    if wanted.isdecimal():
        named = {"data_id": int(wanted)}
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            # Its quicker parser takes categories called true and false for booleans, and fails.
            options = {"data_home": folder, "as_frame": True, "parser": "liac-arff", "n_retries": 1, "delay": 0.5}
            bunch = fetch_openml(**named, **options)
    except urllib.error.HTTPError as error:
        raise DataError(f"OpenML has no data set {_told(settings)} that can be read: {error}.") from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise DataError(
            f"OpenML cannot be reached ({reason}), and {folder} does not hold {_told(settings)}; "
            "give data.cache=<folder> of an earlier run, or a file by data=csv or data=parquet."
        ) from error
    except ValueError as error:
        raise DataError(f"OpenML's data set {_told(settings)} cannot be read: {error}") from error
    details = bunch.details
    notes = [f"OpenML data set {details['id']}: {details['name']}, version {details['version']}, kept in {folder}."]
    notes += [str(entry.message).splitlines()[0] for entry in warned if entry.category is UserWarning]
    frame = _plain(bunch.frame)
    target = settings.target or (bunch.target_names[0] if len(bunch.target_names) == 1 else None)
    if target is None:
        raise DataError(f"{_told(settings)} names no target of its own: add data.target=<column>.")
    return join_frames({OPEN: frame}, settings, target=target, where=f"OpenML data set {details['id']}", notes=notes)


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with OpenML's sparse columns dense."""
    sparse = [name for name in frame.columns if isinstance(frame[name].dtype, pd.SparseDtype)]
    return frame.assign(**{name: np.asarray(frame[name]) for name in sparse})


def _told(settings: DataSettings) -> str:
    version = f" (version {settings.version})" if settings.version else ""
    return f"'{settings.path}'{version}"
