"""What makes a score too good: rows on both sides of a split, columns that give the target away."""

from __future__ import annotations

import hashlib
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
PROMISING = 0.8  # below this on rows it was fitted to, a coarse tree need not be tried on others


def row_hashes(x: np.ndarray | None, c: np.ndarray | None) -> np.ndarray:
    """Return a 64-bit number for the inputs of each row; equal inputs, equal numbers."""
    columns = [] if x is None else [x]
    if c is not None:
        columns.append(np.stack([pd.factorize(column)[0] for column in c.T], axis=1))
    hashes = np.empty(len(columns[0]), dtype=np.uint64)
    for number in range(len(hashes)):
        content = hashlib.blake2b(digest_size=8)
        for column in columns:
            content.update(column[number].tobytes())
        hashes[number] = int.from_bytes(content.digest(), "little")
    return hashes


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
    first, known = values[:PREVIEW_ROWS], y[:PREVIEW_ROWS]
    coarse = kind(min_samples_leaf=5, random_state=0).fit(first, known)
    if _quality(known, coarse.predict(first), classification) < PROMISING:
        return 0.0
    half = len(y) // 2
    guessed = np.empty_like(y)
    for train, other in ((slice(half), slice(half, None)), (slice(half, None), slice(half))):
        guessed[other] = kind(random_state=0).fit(values[train], y[train]).predict(values[other])
    return _quality(y, guessed, classification)


def _quality(y: np.ndarray, guessed: np.ndarray, classification: bool) -> float:
    if classification:
        rows = np.bincount(y)
        right = np.bincount(y[y == guessed], minlength=len(rows))
        return float((right[rows > 0] / rows[rows > 0]).mean()) if len(rows) > 1 else 0.0
    spread = float(((y - y.mean()) ** 2).sum())
    return 1 - float(((y - guessed) ** 2).sum()) / spread if spread else 0.0
