"""New rows for a finished file: tables, npz, npy or a folder of images, as the inputs the file takes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import pandas as pd

from engine.artifact import Artifact
from engine.errors import DataError, did_you_mean
from engine.loaders.archive import read_archive
from engine.loaders.arrays import as_images
from engine.loaders.folder import image_files, read_images
from engine.loaders.frame import as_frame
from engine.loaders.paths import existing
from engine.loaders.tables import ENDINGS, read_file

__all__ = ["Inputs", "read_inputs", "table_inputs"]


@final
@dataclass(frozen=True, eq=False)
class Inputs:
    """Rows that a file can be run on.

    Args:
        arrays: `x`, `c` or both.
        ids: What names the rows, by column.
        target: Values to compare with, or None.
    """

    arrays: dict[str, np.ndarray]
    ids: pd.DataFrame
    target: pd.Series | None


def read_inputs(
    artifact: Artifact, path: Path, *, ids: Sequence[str] = (), target: str | None = None, also: Sequence[str] = ()
) -> Inputs:
    """Read rows for a file.

    Args:
        artifact: The file.
        path: A table (csv, Parquet, lines of JSON), npz, npy, or a folder of images or of class folders.
        ids: Columns (arrays of an npz file) to keep; the names of images are kept in any case.
        target: Column or array to compare with; class folders need none.
        also: Columns of a table to keep where it has them.

    Raises:
        DataError: If the rows do not fit the file; columns are matched by name, their order does not matter.
    """
    problem = existing(path, folders=path.is_dir())
    if problem:
        raise DataError(problem)
    if path.is_dir():
        return _folder(artifact, path, ids, target)
    if path.name.lower().endswith((".npz", ".npy")):
        return _arrays(artifact, path, ids, target)
    if path.name.lower().endswith(ENDINGS):
        return _table(artifact, path, ids, target, also)
    raise DataError(f"{path} must end in {', '.join(ENDINGS)}, .npz or .npy, or be a folder of images.")


def table_inputs(artifact: Artifact, frame: pd.DataFrame, *, where: str = "The table") -> dict[str, np.ndarray]:
    """Return the inputs of a file from columns of these names, in any order, others ignored.

    Args:
        artifact: A file that names its columns, in its card or in itself.
        frame: Rows as the user has them.
        where: What to call the frame in messages.

    Raises:
        DataError: With every missing column, or every column that holds something else.
    """
    return artifact.inputs_of(frame, where=where)


def _table(artifact: Artifact, path: Path, ids: Sequence[str], target: str | None, also: Sequence[str]) -> Inputs:
    frame = as_frame(read_file(path))
    wanted = [("id", name) for name in ids] + ([("target", target)] if target else [])
    _refuse_unknown(wanted, list(frame.columns), f"column in {path}", "Columns")
    arrays = table_inputs(artifact, frame, where=str(path))
    kept = [*ids, *(name for name in also if name in frame.columns and name not in ids)]
    return Inputs(arrays, frame[kept], frame[target] if target else None)


def _arrays(artifact: Artifact, path: Path, ids: Sequence[str], target: str | None) -> Inputs:
    arrays = read_archive(path)
    wanted = [("id", name) for name in ids] + ([("target", target)] if target else [])
    _refuse_unknown(wanted, list(arrays), f"array in {path}", "Arrays")
    shapes = artifact.input_shapes
    rows = _rows_name(artifact)
    if "x" in arrays:
        arrays = {rows: arrays["x"], **arrays}
    missing = [name for name in shapes if name not in arrays]
    if missing:
        raise DataError(f"{path} must hold arrays {', '.join(shapes)}; it holds {', '.join(arrays)}.")
    inputs = {name: arrays[name] for name in shapes}
    if rows in inputs:
        inputs[rows] = _laid_out(_chosen(inputs[rows], artifact), shapes[rows])
    count = min(len(array) for array in inputs.values())
    used = inputs | {name: arrays[name] for _, name in wanted}
    uneven = [f"{name} ({len(array)})" for name, array in used.items() if len(array) != count]
    if uneven or not count:
        raise DataError(f"{path} must hold as many values in each array, at least one; got {count} and {uneven}.")
    columns = {name: pd.Series(arrays[name].reshape(count, -1)[:, 0]) for _, name in wanted}
    return Inputs(inputs, pd.DataFrame({name: columns[name] for name in ids}), columns[target] if target else None)


def _folder(artifact: Artifact, path: Path, ids: Sequence[str], target: str | None) -> Inputs:
    if ids or target:
        raise DataError(f"{path} is a folder of images and has no columns: remove id= and target=.")
    inner = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    flat = image_files(path)
    files = flat or [file for folder in inner for file in image_files(folder)]
    if not files:
        raise DataError(f"{path} must hold images, or folders of images; it has none.")
    rows = _rows_name(artifact)
    x = _laid_out(read_images(files), artifact.input_shapes.get(rows, ()))
    names = pd.DataFrame({"file": [file.relative_to(path).as_posix() for file in files]})
    return Inputs({rows: x}, names, None if flat else pd.Series([file.parent.name for file in files]))


def _rows_name(artifact: Artifact) -> str:
    """Return the input that takes rows: `x`, or the one input of a file that somebody else made."""
    names = list(artifact.input_shapes)
    return names[0] if len(names) == 1 else "x"


def _chosen(x: np.ndarray, artifact: Artifact) -> np.ndarray:
    """Return the columns that the file takes, where it was made from more and calls them by their numbers."""
    names = artifact.column_names("numeric")
    places = {at: int(name[1:]) for at, name in enumerate(names) if re.fullmatch(r"x\d+", name)}
    n_named = sum(map(bool, names))  # a file may leave names out of what it does not read
    is_told = bool(places) and len(places) == n_named
    if x.ndim == 2 and is_told and len(names) < x.shape[1] and max(places.values()) < x.shape[1]:
        chosen = np.full((len(x), len(names)), np.nan, np.float32)
        chosen[:, list(places)] = x[:, list(places.values())]
        return chosen
    return x


def _laid_out(x: np.ndarray, shape: tuple[int | None, ...]) -> np.ndarray:
    """Return x in the layout of the file, where it can be told."""
    if len(shape) == 4 and x.ndim in (3, 4) and x.shape[1:] != shape[1:]:
        return as_images(x)
    if len(shape) == 2 and x.ndim > 2:
        return x.reshape(len(x), -1)
    return x


def _refuse_unknown(wanted: Sequence[tuple[str, str]], known: Sequence[str], what: str, title: str) -> None:
    problems = [
        f"{option}: no {what} is called '{name}'{did_you_mean(name, known)} {title}: {', '.join(known[:50])}."
        for option, name in wanted
        if name not in known
    ]
    if problems:
        raise DataError("\n".join(problems))
