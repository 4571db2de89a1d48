"""Data sources as raw columns: embedded sets, npz, folders of images, csv."""

from __future__ import annotations

from engine.loaders.archive import read_npz
from engine.loaders.embedded import read_embedded
from engine.loaders.folder import read_folder
from engine.loaders.raw import Raw
from engine.loaders.settings import DataSettings, check
from engine.loaders.tables import read_table

__all__ = ["DataSettings", "Raw", "read"]

READERS = {"npz": read_npz, "images": read_folder, "csv": read_table}


def read(settings: DataSettings) -> Raw:
    """Read a source.

    Raises:
        DataError: If the settings, the files or the values cannot be used; with all problems of the stage reached.
    """
    check(settings)
    return READERS.get(settings.name, read_embedded)(settings)
