"""What makes a score too good: rows on both sides of a split, columns that give the target away."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from engine.data import Rows, Split

__all__ = ["give_away_notes", "row_hashes", "shared_row_notes"]

MAX_COLUMNS = 1000
MAX_ROWS = 5000
PREVIEW_ROWS = 1000
NEAR_PERFECT = 0.99
STEP = 64  # values of a row that are hashed at a time
FIRST, FACTOR = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
BIN_ROWS = 5  # at least, at the first look at a column
PROMISING = 0.8  # below this on rows they were made from, bins need not be followed by trees


def row_hashes(x: np.ndarray | None, c: np.ndarray | None) -> np.ndarray:
    """Return a 64-bit number for the inputs of each row, uint64; equal inputs, equal numbers."""
    rows = len(x if x is not None else c)  # type: ignore[arg-type]
    hashes = np.full(rows, FIRST, dtype=np.uint64)
    for column in _bytewise(x, c):
        hashes = (hashes ^ pd.util.hash_array(column)) * FACTOR
        hashes ^= hashes >> np.uint64(32)
    return hashes


def _bytewise(x: np.ndarray | None, c: np.ndarray | None) -> Iterator[np.ndarray]:
    """Yield whole numbers that are equal where the inputs are: eight bytes of x at a time, then each text's place."""
    if x is not None:
        for start in range(0, int(np.prod(x.shape[1:], dtype=np.int64)), STEP):
            flat = np.ascontiguousarray(x.reshape(len(x), -1)[:, start : start + STEP])
            flat = flat.view(np.uint8).reshape(len(x), -1)
            padded = np.zeros((len(x), -(-flat.shape[1] // 8) * 8), dtype=np.uint8)
            padded[:, : flat.shape[1]] = flat
            yield from padded.view(np.uint64).T
    if c is not None:
        for column in c.T:
            yield pd.factorize(column)[0].astype(np.uint64)


def shared_row_notes(hashes: np.ndarray, splits: tuple[Split, ...], test: np.ndarray) -> tuple[str, ...]:
    """Tell how many rows stand, with equal inputs, on both sides of train/valid and of search/test.

    Args:
        hashes: Of all rows.
        splits: Row numbers.
        test: Row numbers.
    """
    notes = []
    pairs = [(hashes[split.valid], hashes[split.train]) for split in splits]
    shared = sum(int(np.isin(valid, train).sum()) for valid, train in pairs)
    if shared:
        total = sum(len(valid) for valid, _ in pairs)
        notes.append(f"{shared} of {total} validation rows stand among the training rows too (equal inputs).")
    pool = np.concatenate([side for pair in pairs for side in pair])
    shared = int(np.isin(hashes[test], pool).sum())
    if shared:
        notes.append(
            f"{shared} of {len(test)} test rows stand among the training or validation rows too (equal inputs)."
        )
    return tuple(notes)


def give_away_notes(rows: Rows, names: tuple[str, ...], *, classification: bool, seed: int = 0) -> tuple[str, ...]:
    """Name the single columns from which a tree predicts the target almost perfectly, out of fold.

    Args:
        rows: Training and validation rows; `c` may hold objects.
        names: Of the columns of `x`, flattened, then of `c`.
        classification: Whether the score is balanced accuracy (a constant has 1 / classes), otherwise R2 (0).
        seed: Of the 5,000 rows that are looked at.

    Returns:
        One note for each column that scores at least 0.99; none where there are more than 1,000 columns.
    """
    if len(names) > MAX_COLUMNS:
        return ()
    picked = np.random.default_rng(seed).permutation(len(rows))[:MAX_ROWS]
    y = np.asarray(rows.y[picked])
    measure = "balanced accuracy" if classification else "R2"
    notes = []
    for name, column in zip(names, _columns(rows, picked), strict=True):
        score = _score(column, y, classification)
        if score >= NEAR_PERFECT:
            notes.append(
                f"{name} alone predicts the target ({measure} {score:.3f}); "
                "remove it if it is not known where the model is used."
            )
    return tuple(notes)


def _columns(rows: Rows, picked: np.ndarray) -> Iterator[np.ndarray]:
    if rows.x is not None:
        yield from rows.x[picked].reshape(len(picked), -1).T
    if rows.c is not None:
        for column in rows.c[picked].T:
            yield pd.factorize(column, sort=True)[0]


def _score(column: np.ndarray, y: np.ndarray, classification: bool) -> float:
    """Return the score out of two folds, or 0 where the column is not promising on rows it was fitted to."""
    kind = DecisionTreeClassifier if classification else DecisionTreeRegressor
    values = np.asarray(column, dtype=np.float32)[:, None]
    known = y[:PREVIEW_ROWS]
    if _quality(known, _binned(values[:PREVIEW_ROWS, 0], known, classification), classification) < PROMISING:
        return 0.0
    half = len(y) // 2
    guessed = np.empty_like(y)
    for train, other in ((slice(half), slice(half, None)), (slice(half, None), slice(half))):
        guessed[other] = kind(random_state=0).fit(values[train], y[train]).predict(values[other])
    return _quality(y, guessed, classification)


def _binned(column: np.ndarray, y: np.ndarray, classification: bool) -> np.ndarray:
    """Return what each row's bin of the column tells of the target, on the rows themselves."""
    distinct, place = np.unique(column, return_inverse=True)
    bins = max(2, len(column) // BIN_ROWS)
    if len(distinct) > bins:
        place = place * bins // len(distinct)
    if not classification:
        return np.asarray((np.bincount(place, y) / np.maximum(1, np.bincount(place)))[place])
    classes, index = np.unique(y, return_inverse=True)
    counts = np.zeros((place.max() + 1, len(classes)))
    np.add.at(counts, (place, index), 1)
    return np.asarray(classes[(counts / counts.sum(axis=0)).argmax(axis=1)][place])


def _quality(y: np.ndarray, guessed: np.ndarray, classification: bool) -> float:
    if classification:
        rows = np.bincount(y)
        right = np.bincount(y[y == guessed], minlength=len(rows))
        return float((right[rows > 0] / rows[rows > 0]).mean()) if len(rows) > 1 else 0.0
    spread = float(((y - y.mean()) ** 2).sum())
    return 1 - float(((y - guessed) ** 2).sum()) / spread if spread else 0.0
