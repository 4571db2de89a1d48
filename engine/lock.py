"""One driver a run folder: a lock of the operating system, which ends with the process that holds it."""

from __future__ import annotations

import errno
import logging
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from engine.errors import RecordError

__all__ = ["LOCK_NAME", "locked"]

LOCK_NAME = ".lock"
# Windows keeps others from reading a locked byte: it lies where no text ever is.
LOCKED_BYTE = 2**30
WITHOUT_LOCKS = frozenset((errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP))

_logger = logging.getLogger("lilliput")

if sys.platform == "win32":
    import msvcrt

    def _hold(descriptor: int) -> None:
        os.lseek(descriptor, LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _hold(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run folder for this process alone; the folder is made where there is none.

    The lock lies on an open file, so it ends with the process, however that ends; worker processes do not inherit it.
    The file stays behind, and means nothing by itself. On a network folder the lock holds as far as the file server
    knows locks; where there are none at all, that is logged, and two drivers are not kept apart.

    Args:
        folder: Of the run.

    Raises:
        RecordError: If another driver holds the folder; it says which one.
        OSError: If the folder cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place, locked(Path(place)):
        ...     (Path(place) / LOCK_NAME).exists()
        True
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK_NAME
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            _hold(descriptor)
        except (BlockingIOError, PermissionError) as error:  # Windows says that access is denied
            raise RecordError(
                f"run={folder} is in use by {_holder(path)}. One driver works in a run folder at a time: wait until "
                "that one ends or end it, or search in another folder."
            ) from error
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
            _logger.warning("%s lies on a file system without locks; let no other driver work in it.", folder)
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(
            descriptor, f"process {os.getpid()} on {platform.node()}, since {datetime.now():%Y-%m-%d %H:%M:%S}".encode()
        )
        yield
    finally:
        os.close(descriptor)


def _holder(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()[:200] or "another driver"
    except OSError:
        return "another driver"
