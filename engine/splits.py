"""Who trains, who validates, who tests: row numbers, from columns and settings."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import final

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold

from engine.data import Split
from engine.errors import DataError
from engine.loaders.raw import OPEN, TEST, VALID, Raw
from engine.loaders.settings import DataSettings

__all__ = ["SMALL_TABLE", "Partition", "divide"]

SMALL_TABLE = 10_000  # training and validation rows below which a table is validated in folds
FOLDS = 5
GROUP_DRAWS = 20


@final
@dataclass(frozen=True, eq=False)
class Partition:
    """Row numbers, int64, ascending: test rows, and train/valid pairs that share no row with them."""

    test: np.ndarray
    splits: tuple[Split, ...]

    @property
    def pool(self) -> np.ndarray:
        """All rows that train or validate."""
        return np.unique(np.concatenate([side for split in self.splits for side in (split.train, split.valid)]))


def divide(raw: Raw, labels: np.ndarray | None, settings: DataSettings, *, seed: int) -> Partition:
    """Divide the rows.

    Rows with a split of their own (a test or validation file) stay in it. The others: by time, past to future; by whole
    groups; or at random, in the proportions of the classes, with at least one training row of every class.

    Args:
        raw: Columns.
        labels: Class indices, or None for regression.
        settings: Shares, folds, max_rows.
        seed: The same seed, the same rows.

    Raises:
        DataError: If there are too few rows, groups or times, or a group stands in two files.
    """
    rng = np.random.default_rng(seed)
    rows = _limited(np.flatnonzero(raw.origin == OPEN), labels, settings.max_rows, rng)
    test, valid = np.flatnonzero(raw.origin == TEST), np.flatnonzero(raw.origin == VALID)
    if len(rows) < 10:
        raise DataError(f"At least 10 rows are needed to train and validate, got {len(rows)}.")
    _check_groups(raw, rows, valid, test)
    if not len(test) and settings.test_share:
        rows, test = _cut(raw, labels, rows, settings.test_share, rng)
    if len(valid):
        return Partition(test, (Split(rows, valid),))
    folds = settings.folds
    if folds is None and raw.kind == "table" and len(rows) < SMALL_TABLE and raw.time is None:
        folds = FOLDS
    if folds is None:
        return Partition(test, (Split(*_cut(raw, labels, rows, settings.valid_share, rng)),))
    return Partition(test, _folded(raw, labels, rows, folds, rng))


def _limited(rows: np.ndarray, labels: np.ndarray | None, limit: int | None, rng: np.random.Generator) -> np.ndarray:
    if limit is None or len(rows) <= limit:
        return rows
    kept, _ = _stratified(rows, labels, 1 - limit / len(rows), rng)
    return kept


def _cut(
    raw: Raw, labels: np.ndarray | None, rows: np.ndarray, share: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    if raw.time is not None:
        return _later(rows, raw.time, share)
    if raw.group is not None:
        return _grouped(rows, raw.group, labels, share, rng)
    return _stratified(rows, labels, share, rng)


def _stratified(
    rows: np.ndarray, labels: np.ndarray | None, share: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a share of the rows, of every class as near to the share as whole rows allow; one row of each stays."""
    shuffled = rng.permutation(rows)
    strata = (
        np.zeros(len(rows), dtype=np.int64) if labels is None else np.unique(labels[shuffled], return_inverse=True)[1]
    )
    sizes = np.bincount(strata)
    exact = sizes * share
    taken = np.minimum(np.floor(exact).astype(np.int64), sizes - 1)
    lacking = min(math.ceil(len(rows) * share - 1e-9), len(rows) - 1) - taken.sum()
    for stratum in np.argsort(taken - exact, kind="stable"):
        if lacking > 0 and taken[stratum] < min(math.ceil(exact[stratum] - 1e-9), sizes[stratum] - 1):
            taken[stratum] += 1
            lacking -= 1
    order = np.argsort(strata, kind="stable")
    place = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    drawn = place < np.repeat(taken, sizes)
    if not drawn.any():
        raise DataError(f"Too few rows for a share of {share}: {len(rows)} rows in {len(sizes)} classes.")
    return np.sort(shuffled[order[~drawn]]), np.sort(shuffled[order[drawn]])


def _later(rows: np.ndarray, time: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Cut between two different times, as near to the share as they allow."""
    ordered = rows[np.argsort(time[rows], kind="stable")]
    times = time[ordered]
    edges = np.flatnonzero(times[1:] != times[:-1]) + 1
    if not len(edges):
        raise DataError(f"data.time (or times) must hold different times to divide {len(rows)} rows, all are the same.")
    edge = edges[np.abs(edges - len(rows) * (1 - share)).argmin()]
    return np.sort(ordered[:edge]), np.sort(ordered[edge:])


def _grouped(
    rows: np.ndarray, group: np.ndarray, labels: np.ndarray | None, share: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw whole groups, several times, and keep the draw that trains on most classes, then the one nearest in rows."""
    groups = group[rows]
    if len(np.unique(groups)) < 2:
        raise DataError(f"data.group must leave at least two groups to divide, got one for {len(rows)} rows.")
    draws = GroupShuffleSplit(GROUP_DRAWS, test_size=share, random_state=int(rng.integers(2**31)))
    best: tuple[tuple[float, float], np.ndarray, np.ndarray] | None = None
    try:
        for kept, drawn in draws.split(rows, groups=groups):
            lost = 0 if labels is None else len(np.setdiff1d(labels[rows], labels[rows[kept]]))
            cost = (float(lost), abs(len(drawn) / len(rows) - share))
            if best is None or cost < best[0]:
                best = cost, rows[kept], rows[drawn]
    except ValueError as error:
        raise DataError(f"data.group has too few groups for a share of {share}: {len(np.unique(groups))}.") from error
    assert best is not None
    return best[1], best[2]


def _folded(
    raw: Raw, labels: np.ndarray | None, rows: np.ndarray, folds: int, rng: np.random.Generator
) -> tuple[Split, ...]:
    if raw.time is not None:
        return _windows(rows, raw.time, folds)
    if raw.group is not None:
        fold = _group_folds(raw.group[rows], None if labels is None else labels[rows], folds, rng)
    else:
        fold = _class_folds(None if labels is None else labels[rows], len(rows), folds, rng)
    return tuple(Split(rows[fold != number], rows[fold == number]) for number in range(fold.max() + 1))


def _class_folds(labels: np.ndarray | None, count: int, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Return each row's fold, classes evenly spread; the only row of a class has none (-1), it always trains."""
    folds = min(folds, count)
    shuffled = rng.permutation(count)
    fold = np.empty(count, dtype=np.int64)
    if labels is None:
        fold[shuffled] = np.arange(count) % folds
        return fold
    alone = np.bincount(labels)[labels] == 1
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    order = order[~alone[order]]
    if not len(order):
        raise DataError(f"Some class must have two rows to be validated, all {count} rows have classes of their own.")
    fold[alone] = -1
    fold[order] = np.arange(len(order)) % folds
    return fold


def _group_folds(groups: np.ndarray, labels: np.ndarray | None, folds: int, rng: np.random.Generator) -> np.ndarray:
    names = np.unique(groups)
    if len(names) < 2:
        raise DataError(f"data.group must leave at least two groups to divide, got one for {len(groups)} rows.")
    classes = np.zeros(len(groups), dtype=np.int64) if labels is None else labels
    if np.bincount(classes).max() < folds:  # too few of each to spread them
        classes = np.zeros_like(classes)
    parts = StratifiedGroupKFold(min(folds, len(names)), shuffle=True, random_state=int(rng.integers(2**31)))
    fold = np.empty(len(groups), dtype=np.int64)
    used = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes with fewer rows than folds are allowed
        for _, side in parts.split(groups, classes, groups):
            if len(side):
                fold[side] = used
                used += 1
    return fold


def _windows(rows: np.ndarray, time: np.ndarray, folds: int) -> tuple[Split, ...]:
    """Fold k trains on all parts up to the k-th and validates on the next one; parts end between two times."""
    ordered = rows[np.argsort(time[rows], kind="stable")]
    times = time[ordered]
    edges = np.flatnonzero(times[1:] != times[:-1]) + 1
    if len(edges) < folds:
        raise DataError(
            f"data.time (or times) must hold more than {folds} different times for {folds} folds, got {len(edges) + 1}."
        )
    wanted = len(rows) * np.arange(1, folds + 1) / (folds + 1)
    cuts = sorted({int(edges[np.abs(edges - position).argmin()]) for position in wanted})
    ends = [*cuts[1:], len(rows)]
    return tuple(
        Split(np.sort(ordered[:start]), np.sort(ordered[start:end])) for start, end in zip(cuts, ends, strict=True)
    )


def _check_groups(raw: Raw, *sides: np.ndarray) -> None:
    if raw.group is None:
        return
    seen = [np.unique(raw.group[side]) for side in sides]
    shared = sum(len(np.intersect1d(seen[a], seen[b])) for a, b in ((0, 1), (0, 2), (1, 2)))
    if shared:
        raise DataError(f"data.group: {shared} groups stand in two of the given files; move each to one of them.")
