"""What npz and npy files declare of themselves, compared with what they are before anything is read."""

from __future__ import annotations

import math
import zipfile
from typing import IO

from numpy.lib import format as npy

__all__ = ["check_declared"]

MAX_ENTRIES = 1000
MAX_BYTES = 16 * 2**30  # of all arrays, unpacked
FREE_BYTES = 256 * 2**20  # up to which an archive may be packed as tightly as zip can
MAX_RATIO = 200  # beyond that; rows of real data reach a tenth of it


def check_declared(file: IO[bytes], length: int) -> None:
    """Refuse an archive whose arrays would take the memory, and arrays that are shorter than they say.

    Args:
        file: Open at its beginning, where it is left.
        length: Of the file, in bytes.

    Raises:
        ValueError: If it is too large unpacked, packed too tightly, or shorter than it says.
        zipfile.BadZipFile: If it is damaged.
    """
    is_archive = file.read(2) == b"PK"
    file.seek(0)
    if not is_archive:
        _check_array(file, length, "it")
        file.seek(0)
        return
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if len(entries) > MAX_ENTRIES:
            raise ValueError(f"it holds {len(entries)} arrays, at most {MAX_ENTRIES} are read")
        total = sum(entry.file_size for entry in entries)
        if total > MAX_BYTES:
            raise ValueError(f"its arrays take {total} bytes, at most {MAX_BYTES} are read")
        if total > max(FREE_BYTES, MAX_RATIO * length):
            raise ValueError(
                f"its {length} bytes unpack to {total}, more than {MAX_RATIO} times as many; if that is meant, "
                "save it with numpy.savez, unpacked"
            )
        for entry in entries:
            with archive.open(entry) as member:
                _check_array(member, entry.file_size, entry.filename)
    file.seek(0)


def _check_array(file: IO[bytes], length: int, name: str) -> None:
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{name} is written in version {version} of the format; save arrays of numbers or text")
    shape, _, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(file)
    if dtype.hasobject:
        raise ValueError("pickled objects")
    needed, found = math.prod(shape) * max(1, dtype.itemsize), length - file.tell()
    if min(shape, default=0) < 0 or needed > found:
        raise ValueError(f"{name} says it has shape {shape}, which takes {needed} bytes; there are {found}")
