"""Data sources as raw columns: embedded sets, npz, folders of images, csv, Parquet, lines of JSON, OpenML."""

from __future__ import annotations

from engine.errors import DataError
from engine.loaders.archive import read_npz
from engine.loaders.embedded import read_embedded
from engine.loaders.folder import read_folder
from engine.loaders.openml import read_openml
from engine.loaders.raw import Raw
from engine.loaders.settings import IN_MEMORY, DataSettings, check
from engine.loaders.tables import read_table

__all__ = ["DataSettings", "Raw", "read"]

READERS = {
    "npz": read_npz,
    "images": read_folder,
    "csv": read_table,
    "parquet": read_table,
    "jsonl": read_table,
    "openml": read_openml,
}


def read(settings: DataSettings) -> Raw:
    """Read a source.

    Raises:
        DataError: If the settings, the files or the values cannot be used; with all problems of the stage reached.
    """
    check(settings)
    if settings.name == IN_MEMORY:
        raise DataError("data=frame is a table in memory, for Python alone: call engine.load.load_frame.")
    return READERS.get(settings.name, read_embedded)(settings)
