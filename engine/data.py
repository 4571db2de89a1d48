"""Data sets as the engine holds them: a folder of memory-mapped columns, a signature, and its splits."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np

from engine.errors import DataError

__all__ = ["Dataset", "Rows", "Signature", "Split", "concatenate"]


@final
@dataclass(frozen=True)
class Signature:
    """What a file must know of the data: shapes, types, columns, classes. Frozen, JSON.

    Args:
        kind: `images` (C, H, W), `signals` (C, L) or `table`.
        task: `classification` or `regression`.
        shape: Of one row of `x`: (C, H, W), (C, L) or (n_numeric_columns,).
        dtype: Of `x`: `uint8` or `float32`.
        classes: Names of the classes in the order of the outputs; empty for regression.
        center: Mean of `x` over the training rows; 0 for uint8, where zero stays zero.
        spread: Standard deviation of `x` over the training rows.
        numeric_columns: Columns of `x`, for tables.
        categorical_columns: Columns of `c`, for tables.
    """

    kind: str
    task: str
    shape: tuple[int, ...]
    dtype: str
    classes: tuple[str, ...] = ()
    center: float = 0.0
    spread: float = 1.0
    numeric_columns: tuple[str, ...] = ()
    categorical_columns: tuple[str, ...] = ()

    @property
    def outputs(self) -> int:
        """Number of columns of `y`: one a class, or 1."""
        return len(self.classes) if self.task == "classification" else 1

    def to_json(self) -> dict[str, Any]:
        """Return the signature as plain containers."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @staticmethod
    def from_json(entry: Mapping[str, Any]) -> Signature:
        """Rebuild a signature from `to_json`."""
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()
        }
        return Signature(**values)


@final
@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows: inputs, targets, weights. Arrays may be memory-mapped; nobody writes to them.

    Args:
        y: Class index, int64, shape (n_rows,); or value, float64, for regression.
        x: Inputs, uint8 or float32, shape (n_rows, *signature.shape); None for a table without numbers.
        c: Categories, text as objects, shape (n_rows, n_categorical_columns); empty string for missing; None if there
            are none. Equal texts of a column are held once, however long.
        weight: Weight of each row, float64, shape (n_rows,), or None.
    """

    y: np.ndarray
    x: np.ndarray | None = None
    c: np.ndarray | None = None
    weight: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.y)

    def take(self, index: np.ndarray) -> Rows:
        """Return the rows with these numbers, copied, in this order."""
        taken: dict[str, Any] = {
            name: None if column is None else np.asarray(column[index]) for name, column in self.columns().items()
        }
        return Rows(**taken)

    def columns(self) -> dict[str, np.ndarray | None]:
        """Return the columns by name, absent ones as None."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def inputs(self) -> dict[str, np.ndarray]:
        """Return what a model file takes: `x`, `c`, or both."""
        return {name: column for name, column in (("x", self.x), ("c", self.c)) if column is not None}


@final
@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers of one pair: int64, shapes (n_train,) and (n_valid,), disjoint."""

    train: np.ndarray
    valid: np.ndarray


@final
@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and validation rows of one data set. Test rows are never in it.

    Args:
        signature: What a file must know.
        rows: All training and validation rows.
        splits: One train/valid pair, or k folds.
        folder: Where it lies as memory-mapped columns, if it does.

    Raises:
        DataError: If a fold shares rows between its two sides, or one side is empty.
    """

    signature: Signature
    rows: Rows
    splits: tuple[Split, ...]
    folder: Path | None = None

    def __post_init__(self) -> None:
        for number, split in enumerate(self.splits):
            shared = np.intersect1d(split.train, split.valid)
            if len(split.train) == 0 or len(split.valid) == 0 or len(shared):
                raise DataError(
                    f"Fold {number} must have rows on both sides and none on both, got {len(split.train)} training, "
                    f"{len(split.valid)} validation and {len(shared)} shared rows."
                )

    @cached_property
    def digest(self) -> str:
        """SHA-256 over signature, columns and splits: equal exactly when the search sees the same data."""
        total = hashlib.sha256(json.dumps(self.signature.to_json(), sort_keys=True).encode())
        for name, column in self.rows.columns().items():
            if column is not None and name == "c":
                column, words = _coded(column)
                total.update(json.dumps(words).encode())
            if column is not None:
                total.update(f"{name}{column.dtype}{column.shape}".encode())
                for start in range(0, len(column), 4096):
                    total.update(np.ascontiguousarray(column[start : start + 4096]).tobytes())
        for split in self.splits:
            total.update(np.ascontiguousarray(split.train).tobytes())
            total.update(np.ascontiguousarray(split.valid).tobytes())
        return total.hexdigest()

    def train(self, fold: int = 0) -> Rows:
        """Return the training rows of a fold."""
        return self.rows.take(self.splits[fold].train)

    def valid(self, fold: int = 0) -> Rows:
        """Return the validation rows of a fold."""
        return self.rows.take(self.splits[fold].valid)

    def save(self, folder: Path) -> Dataset:
        """Write the columns to a folder, whatever was there before, and return the memory-mapped data set."""
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        for name, column in self.rows.columns().items():
            if column is not None and name == "c":
                column, words = _coded(column)
                (folder / "words.json").write_text(json.dumps(words))
            if column is not None:
                np.save(folder / f"{name}.npy", column, allow_pickle=False)
        for number, split in enumerate(self.splits):
            np.save(folder / f"train_{number}.npy", split.train, allow_pickle=False)
            np.save(folder / f"valid_{number}.npy", split.valid, allow_pickle=False)
        (folder / "signature.json").write_text(json.dumps(self.signature.to_json()))
        return Dataset.open(folder)

    @staticmethod
    def open(folder: Path) -> Dataset:
        """Map the columns of a folder that `save` wrote; processes share the pages."""
        signature = Signature.from_json(json.loads((folder / "signature.json").read_text()))
        columns: dict[str, Any] = {entry.name: _map(folder / f"{entry.name}.npy") for entry in fields(Rows)}
        if columns["y"] is None:
            raise DataError(f"{folder} holds no column y; write it with Dataset.save.")
        if columns["c"] is not None:
            columns["c"] = _decoded(columns["c"], json.loads((folder / "words.json").read_text()))
        splits = tuple(
            Split(np.load(folder / f"train_{n}.npy"), np.load(folder / f"valid_{n}.npy"))
            for n in range(len(list(folder.glob("train_*.npy"))))
        )
        return Dataset(signature, Rows(**columns), splits, folder)


def concatenate(parts: Iterable[Rows]) -> Rows:
    """Return the rows of several parts, one after the other; a weight of 1 where a part has none."""
    parts = list(parts)
    columns: dict[str, Any] = {}
    for name in ("y", "x", "c"):
        found = [getattr(part, name) for part in parts]
        columns[name] = None if found[0] is None else np.concatenate(found)
    if any(part.weight is not None for part in parts):
        weights = [np.ones(len(part)) if part.weight is None else part.weight for part in parts]
        columns["weight"] = np.concatenate(weights)
    return Rows(**columns)


def _coded(texts: np.ndarray) -> tuple[np.ndarray, list[list[str]]]:
    """Return the place of each text among the distinct ones of its column, int32, and these, in order of appearance."""
    import pandas as pd

    codes = np.empty(texts.shape, dtype=np.int32)
    words = []
    for place in range(texts.shape[1]):
        codes[:, place], distinct = pd.factorize(np.asarray(texts[:, place], dtype=object))
        words.append([str(word) for word in distinct])
    return codes, words


def _decoded(codes: np.ndarray, words: list[list[str]]) -> np.ndarray:
    texts = np.empty(codes.shape, dtype=object)
    for place, distinct in enumerate(words):
        texts[:, place] = np.asarray(distinct, dtype=object)[codes[:, place]]
    return texts


def _map(path: Path) -> np.ndarray | None:
    return np.load(path, mmap_mode="r", allow_pickle=False) if path.exists() else None
