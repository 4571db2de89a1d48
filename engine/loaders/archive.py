"""npz files: arrays by name, never pickled objects."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from engine.errors import DataError
from engine.loaders.declared import check_declared
from engine.loaders.joining import ROLES, Arrays, join_arrays, join_frames
from engine.loaders.paths import files_of
from engine.loaders.raw import OPEN, TEST, VALID, Raw
from engine.loaders.settings import ROW_NUMBER, DataSettings

__all__ = ["read_archive", "read_npz"]

ENDINGS = {OPEN: "_train", VALID: "_valid", TEST: "_test"}


def read_archive(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an npz file, or that of an npy file as `x`.

    Raises:
        DataError: If it is unreadable, holds pickled objects, or is not what it says.
    """
    try:
        with path.open("rb") as file:  # opened here: numpy leaves it open when it fails
            check_declared(file, path.stat().st_size)
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                return {"x": content}
            with content:
                return {name: content[name] for name in content.files}
    except MemoryError as error:
        raise DataError(f"{path} must fit in memory; its arrays do not.") from error
    except Exception as error:  # damaged archives and headers raise whatever their readers stumble over
        hint = "it holds Python objects; save arrays of numbers or text" if "pickle" in str(error) else str(error)
        raise DataError(f"{path} must be a readable npz or npy file: {hint}.") from error


def read_npz(settings: DataSettings) -> Raw:
    """Read `x` and `y`, or `x_train`, `y_train`, `x_test`, `y_test` (and `x_valid`, `y_valid`)."""
    parts: dict[int, Arrays] = {}
    for origin, path in files_of(settings).items():
        for found, part in _parts(read_archive(path), path, settings, origin).items():
            if found in parts:
                option = "test_path" if found == TEST else "valid_path"
                raise DataError(f"{settings.path} has such rows itself: remove data.{option}.")
            parts[found] = part
    parts = dict(sorted(parts.items()))
    where = str(settings.path)
    kind = settings.kind or ("table" if parts[OPEN].x.ndim == 2 else "images")
    if kind != "table":
        return join_arrays(parts, settings, kind=kind, where=where)
    frames = {key: _frame(part, settings) for key, part in parts.items()}
    return join_frames(frames, settings, target="y", where=where, is_array=True)


def _parts(arrays: Mapping[str, np.ndarray], path: Path, settings: DataSettings, origin: int) -> dict[int, Arrays]:
    target = settings.target or "y"
    if "x" in arrays:
        endings = {origin: ""}
    elif origin == OPEN and "x_train" in arrays:
        endings = {key: ending for key, ending in ENDINGS.items() if key == OPEN or f"x{ending}" in arrays}
    else:
        wanted = f"x and {target}" + (f", or x_train, {target}_train, x_test, {target}_test" if origin == OPEN else "")
        raise DataError(f"{path} must hold arrays {wanted}; it holds {', '.join(arrays) or 'nothing'}.")
    if settings.time == ROW_NUMBER:
        numbers = {
            f"{ROW_NUMBER}{ending}": np.arange(len(np.atleast_1d(arrays[f"x{ending}"]))) for ending in endings.values()
        }
        arrays = {**numbers, **arrays}
    roles = {role: getattr(settings, role) for role in ROLES if getattr(settings, role)}
    problems = [
        f"{path} must hold an array {name}{ending}; it holds {', '.join(arrays)}."
        for ending in endings.values()
        for name in (target, *roles.values())
        if f"{name}{ending}" not in arrays
    ]
    if problems:
        raise DataError("\n".join(problems))
    found = {
        key: Arrays(
            arrays[f"x{ending}"],
            _flat(arrays[f"{target}{ending}"]),
            {role: _flat(arrays[f"{name}{ending}"]) for role, name in roles.items()},
        )
        for key, ending in endings.items()
    }
    problems = [problem for key, part in found.items() for problem in _part_problems(part, path, endings[key])]
    if problems:
        raise DataError("\n".join(problems))
    return found


def _part_problems(part: Arrays, path: Path, ending: str) -> list[str]:
    if part.x.ndim < 2 or 0 in part.x.shape:
        return [f"{path}: x{ending} must hold rows with values, got shape {_shape(part.x)}."]
    return [
        f"{path}: {name}{ending} must have one value for each of the {len(part.x)} rows of x{ending}, "
        f"got shape {_shape(values)}."
        for name, values in (("y", part.y), *part.roles.items())
        if values.shape != part.x.shape[:1]
    ]


def _frame(part: Arrays, settings: DataSettings) -> pd.DataFrame:
    if part.x.dtype.kind not in "biuf":
        raise DataError(f"x must hold numbers, got {part.x.dtype}; write text columns to a csv file.")
    flat = part.x.reshape(len(part.x), -1)
    if flat.dtype.kind == "b":
        flat = flat.astype(np.uint8)
    frame = pd.DataFrame(flat, columns=[f"x{number}" for number in range(flat.shape[1])])
    extra = {getattr(settings, role): values for role, values in part.roles.items()}
    return pd.concat([frame, pd.DataFrame({"y": part.y, **extra})], axis=1)


def _flat(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8")
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def _shape(array: np.ndarray) -> str:
    return " x ".join(map(str, array.shape)) or "of a single value"
