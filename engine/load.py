"""From settings to a data set: read, name the classes, divide, put the test rows apart, look for leaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from engine.data import Dataset, Rows, Signature, Split
from engine.errors import DataError
from engine.leakage import give_away_notes, row_hashes, shared_row_notes
from engine.loaders import DataSettings, Raw, read
from engine.loaders.kinds import Column
from engine.loaders.memory import read_frame
from engine.loaders.settings import IN_MEMORY
from engine.loaders.targets import Target, read_target
from engine.splits import Partition, divide

__all__ = ["DataSettings", "Loaded", "load", "load_frame"]

BLOCK_ROWS = 2048  # read as float64 at a time
MANY_CLASSES = 10  # of whole numbers: more may be meant as values


@final
@dataclass(frozen=True, eq=False)
class Loaded:
    """A data set, and apart from it the rows that nobody may choose by.

    Args:
        dataset: Training and validation rows, and their splits.
        test: Test rows.
        notes: What a user should know: dropped columns, repeated rows, columns that give the target away.
        source: Where the rows came from.
        columns: What the columns of a table are, and which inputs they give.
        protected: Text of the protected columns in the test rows, by name, objects, each of shape (n_test_rows,).
    """

    dataset: Dataset
    test: Rows | None
    notes: tuple[str, ...]
    source: str
    columns: tuple[Column, ...] = ()
    protected: Mapping[str, np.ndarray] = field(default_factory=dict)


def load(settings: DataSettings, *, seed: int) -> Loaded:
    """Read and divide a source.

    Args:
        settings: What the user says about it.
        seed: Of the split; the same seed and files give the same rows in the same order.

    Raises:
        DataError: If settings, files, values or splits cannot be used.
    """
    return _divided(read(settings), settings, seed)


def load_frame(
    x: Any,
    y: Any,
    *,
    settings: DataSettings | None = None,
    sample_weight: Any = None,
    groups: Any = None,
    times: Any = None,
    seed: int = 0,
) -> Loaded:
    """Divide a table that is in memory, as `load` does a file.

    Args:
        x: DataFrame, or array of shape (n_rows, n_columns), whose columns are then called x0, x1, ...
        y: Targets, shape (n_rows,): classes or numbers.
        settings: What the user says about it; `DataSettings("frame")` if nothing.
        sample_weight: Weights, shape (n_rows,), or None.
        groups: Groups, of which none stands in two splits, shape (n_rows,), or None.
        times: When each row was, shape (n_rows,): a split is from past to future; or None.
        seed: Of the split.

    Raises:
        DataError: If the table, its values or splits cannot be used.

    Example:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"age": range(20, 70), "town": ["Ulm", "Bonn"] * 25})
        >>> loaded = load_frame(frame, frame.age > 50, settings=DataSettings("frame", test_share=0))
        >>> signature = loaded.dataset.signature
        >>> signature.numeric_columns, signature.categorical_columns, signature.classes, loaded.test
        (('age',), ('town',), ('False', 'True'), None)
    """
    settings = settings or DataSettings("frame")
    raw, settings = read_frame(x, y, settings, sample_weight=sample_weight, groups=groups, times=times)
    return _divided(raw, settings, seed)


def _divided(raw: Raw, settings: DataSettings, seed: int) -> Loaded:
    target = read_target(raw.y, task=settings.task, where=_target_name(settings))
    partition = divide(raw, target.labels, settings, seed=seed)
    if target.labels is not None:
        _check_classes(target, partition)
    everything = Rows(target.y, raw.x, raw.c, raw.weight)
    shared = shared_row_notes(row_hashes(raw.x, raw.c), partition.splits, partition.test)
    pool = partition.pool
    splits = tuple(
        Split(np.searchsorted(pool, split.train), np.searchsorted(pool, split.valid)) for split in partition.splits
    )
    rows = everything.take(pool)
    signature = _signature(raw, target, rows, splits[0])
    leaks = give_away_notes(rows, _names(signature), classification=bool(target.classes))
    is_plain = settings.task is None and signature.kind == "table"
    notes = (*raw.notes, *_class_notes(target, partition, is_plain=is_plain), *shared, *leaks)
    test = everything.take(partition.test) if len(partition.test) else None
    protected = {name: texts[partition.test] for name, texts in raw.protected.items()}
    return Loaded(Dataset(signature, rows, splits), test, notes, _source(settings), raw.columns, protected)


def _source(settings: DataSettings) -> str:
    if settings.name == IN_MEMORY:
        return "a table in memory"
    return f"{settings.name} {settings.path}" if settings.path else f"{settings.name} (scikit-learn)"


def _target_name(settings: DataSettings) -> str:
    if settings.name == "images":
        return f"The class folders of {settings.path}"
    if settings.name == IN_MEMORY:
        return "y"
    return f"Target {settings.target or 'y'} of {settings.path or settings.name}"


def _signature(raw: Raw, target: Target, rows: Rows, split: Split) -> Signature:
    shape = (0,) if rows.x is None else tuple(rows.x.shape[1:])
    dtype = "float32" if rows.x is None else str(rows.x.dtype)
    center, spread = (0.0, 1.0) if rows.x is None else _moments(rows.x, split.train)
    return Signature(
        raw.kind,
        "classification" if target.classes else "regression",
        shape,
        dtype,
        target.classes,
        0.0 if dtype == "uint8" else center,
        spread,
        raw.numeric,
        raw.categorical,
    )


def _moments(x: np.ndarray, train: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation over all known values of the training rows; never a spread of 0."""
    count = max(1, sum(values.size for values in _known(x, train)))
    center = sum(float(values.sum()) for values in _known(x, train)) / count
    square = sum(float(((values - center) ** 2).sum()) for values in _known(x, train)) / count
    return center, square**0.5 or 1.0


def _known(x: np.ndarray, train: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(train), BLOCK_ROWS):
        values = x[train[start : start + BLOCK_ROWS]].astype(np.float64)
        yield values[np.isfinite(values)]


def _check_classes(target: Target, partition: Partition) -> None:
    trained = np.concatenate([target.y[split.train] for split in partition.splits])
    lost = np.setdiff1d(target.y[np.concatenate([partition.pool, partition.test])], trained)
    if len(lost):
        names = ", ".join(target.classes[index] for index in lost)
        raise DataError(
            f"Every class must have training rows; {names} stand only in test or validation rows. "
            "Give more rows, or remove these classes."
        )


def _class_notes(target: Target, partition: Partition, *, is_plain: bool) -> Iterator[str]:
    if not target.classes:
        return
    if is_plain and len(target.classes) > MANY_CLASSES and all(map(_is_number, target.classes)):
        count = len(target.classes)
        yield f"The target holds {count} different whole numbers, read as classes; data.task=regression reads values."
    for number, split in enumerate(partition.splits):
        lost = np.setdiff1d(target.y[partition.pool], target.y[split.train])
        if len(lost):
            names = ", ".join(target.classes[index] for index in lost)
            yield f"Fold {number} trains without rows of {names}."


def _is_number(name: str) -> bool:
    return name.removeprefix("-").isdecimal()


def _names(signature: Signature) -> tuple[str, ...]:
    if signature.kind == "table":
        return tuple(f"Column {name}" for name in signature.numeric_columns + signature.categorical_columns)
    return tuple(f"Position {', '.join(map(str, place))} of x" for place in np.ndindex(*signature.shape))
