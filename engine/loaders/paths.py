"""The files of a source, one for each origin."""

from __future__ import annotations

from pathlib import Path

from engine.errors import DataError
from engine.loaders.raw import OPEN, TEST, VALID
from engine.loaders.settings import DataSettings

__all__ = ["existing", "files_of"]


def files_of(settings: DataSettings, *, folders: bool = False) -> dict[int, Path]:
    """Return the paths that the settings name, by origin.

    Raises:
        DataError: With every path that does not exist, or is a folder where a file is needed, or the reverse.
    """
    given = {
        OPEN: ("path", settings.path),
        VALID: ("valid_path", settings.valid_path),
        TEST: ("test_path", settings.test_path),
    }
    paths = {origin: Path(path) for origin, (_, path) in given.items() if path}
    problems = []
    for origin, path in paths.items():
        problem = existing(path, folders=folders)
        if problem:
            problems.append(f"data.{given[origin][0]}: {problem}")
    if problems:
        raise DataError("\n".join(problems))
    return paths


def existing(path: Path, *, folders: bool = False) -> str | None:
    """Return what is wrong with a path, or None."""
    if not path.exists():
        return f"{path} does not exist."
    if path.is_dir() != folders:
        return f"{path} must be a {'folder' if folders else 'file'}, got a {'file' if folders else 'folder'}."
    if not folders and path.stat().st_size == 0:
        return f"{path} is empty."
    return None
