"""The teacher of a search: opinions about training rows by models that did not see them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np

from automl.judges import JUDGES, Hearing, judged, shares
from automl.table import table_of
from automl.targets import Targets
from engine.data import Dataset
from engine.errors import RecordError
from engine.lock import locked

__all__ = ["EVERYTHING", "LEAST_FOLDS", "opinions"]

PARTS = 4  # of the training rows, where there are no folds to divide them by
MOST_ROWS = 60_000  # that one of the models is trained on
SCREEN_ROWS = 400  # about which the first models must have been asked before one of them may be left out
LEAST_ROWS = 200  # below which opinions are worth less than labels
LEAST_FOLDS = 3  # so that a model which saw two of them less has rows left
PATIENCE_SECONDS = 0.1

EVERYTHING = -1  # instead of a fold: all rows are trained on

Heard = tuple[int, np.ndarray]  # a fold, and the rows about which a model tells it

_known: WeakKeyDictionary[Dataset, dict[int, np.ndarray]] = WeakKeyDictionary()


def opinions(data: Dataset, fold: int, seed: int, goes_on: Callable[[], bool] = lambda: True) -> np.ndarray | None:
    """Return out-of-fold opinions about the training rows of a fold.

    One bag of models of several kinds tells all folds: each model is told to one fold about rows that it did not see,
    and saw none of that fold's validation rows. Where rows are validated in folds, a model leaves out two of them, and
    tells each about the other. Only which kinds are worth training is told by one fold's rows to all. The first process
    that needs the bag makes it, others wait for it; it is kept beside the data.

    Args:
        data: Rows and splits.
        fold: Which pair of `data.splits`, or `EVERYTHING`: then each row is judged by all models that did not see it.
        seed: Of the division and the training.
        goes_on: Asked from time to time; False means: there is no time for a teacher.

    Returns:
        Probabilities, float32, shape (n_train, n_classes), or values, shape (n_train, 1); None where there are too few
        rows, or no time.
    """
    index = np.arange(len(data.rows)) if fold == EVERYTHING else np.asarray(data.splits[fold].train)
    if min(len(split.train) for split in data.splits) < LEAST_ROWS:
        return None
    bag = _bag(data, seed, goes_on)
    return None if bag is None else bag[fold][index]


def _bag(data: Dataset, seed: int, goes_on: Callable[[], bool]) -> np.ndarray | None:
    """Return the opinions of all folds, and last those for everything; made by one process, read by the others."""
    known = _known.setdefault(data, {})
    if seed not in known:
        made = _made(data, seed, goes_on) if data.folder is None else _shared(data, data.folder, seed, goes_on)
        if made is None:
            return None
        known[seed] = made
    return known[seed]


def _shared(data: Dataset, folder: Path, seed: int, goes_on: Callable[[], bool]) -> np.ndarray | None:
    place = folder / f"teacher_{seed}"
    path = place / "opinions.npy"
    while not path.exists():
        if not goes_on():
            return None
        try:
            with locked(place):
                if path.exists():
                    break
                made = _made(data, seed, goes_on)
                if made is None:
                    return None
                waiting = place / f".{os.getpid()}.npy"
                np.save(waiting, made, allow_pickle=False)
                os.replace(waiting, path)
        except RecordError:  # another process is at it
            time.sleep(PATIENCE_SECONDS)
    return np.asarray(np.load(path, allow_pickle=False))


def _made(data: Dataset, seed: int, goes_on: Callable[[], bool]) -> np.ndarray | None:
    """Return opinions, float32, shape (n_folds + 1, n_rows, n_outputs), NaN where there is none; None without time."""
    table, count = table_of(data), len(data.splits)
    targets = Targets(table.y, table.weight, len(table.signature.classes))
    kinds = tuple(JUDGES)
    total, times = np.zeros(0), np.zeros((count + 1, len(data.rows), 1))
    for number, (inside, outside, heard) in enumerate(_divided(data, targets, seed)):
        if not goes_on():
            return None
        found = judged(kinds, Hearing(table, targets, inside, outside, seed, goes_on))
        if not number:
            kinds, found = _screened(kinds, found, np.searchsorted(outside, heard[0][1]), targets.take(heard[0][1]))
            total = np.zeros((len(kinds), count + 1, len(data.rows), found.shape[-1]))
        for fold, rows in heard:
            total[:, fold, rows] += found[:, np.searchsorted(outside, rows)]
            times[fold, rows] += 1
        total[:, EVERYTHING, outside] += found
        times[EVERYTHING, outside] += 1
    if not goes_on():
        return None
    opinions = total / np.where(times, times, np.nan)
    return np.stack([_mixed(opinions[:, fold], targets) for fold in range(count + 1)]).astype(np.float32)


def _screened(
    kinds: tuple[str, ...], found: np.ndarray, places: np.ndarray, targets: Targets
) -> tuple[tuple[str, ...], np.ndarray]:
    """Leave out kinds of models that the best mixture about many rows has no use for: the others are trained."""
    if len(places) < SCREEN_ROWS:
        return kinds, found
    kept = np.flatnonzero(shares(found[:, places], targets))
    return tuple(kinds[place] for place in kept), found[kept]


def _mixed(opinions: np.ndarray, targets: Targets) -> np.ndarray:
    """Return the mixture of models that errs least where there are opinions, NaN elsewhere."""
    rows = np.flatnonzero(~np.isnan(opinions[0, :, 0]))
    return np.asarray(np.tensordot(shares(opinions[:, rows], targets.take(rows)), opinions, 1))


def _divided(data: Dataset, targets: Targets, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray, Sequence[Heard]]]:
    """Yield the rows that each model is trained on, those that it judges, and whom it tells about which of them."""
    rng = np.random.default_rng([seed, 77])
    sides = [np.asarray(split.valid) for split in data.splits]
    rows = len(data.rows)
    if len(sides) >= LEAST_FOLDS and np.array_equal(np.sort(np.concatenate(sides)), np.arange(rows)):
        for first, one in enumerate(sides):
            for second in range(first + 1, len(sides)):
                outside = np.union1d(one, sides[second])
                inside = np.setdiff1d(np.arange(rows), outside)
                yield _few(inside, rng), outside, ((first, sides[second]), (second, one))
        return
    for fold, split in enumerate(data.splits):
        train = np.asarray(split.train)
        order = train[rng.permutation(len(train))]
        if targets.classes:  # parts in the proportions of the classes
            order = order[np.argsort(targets.y[order], kind="stable")]
        for number in range(PARTS):
            part = np.sort(order[number::PARTS])
            outside = np.union1d(part, sides[0]) if len(sides) == 1 else part
            yield _few(np.setdiff1d(train, part), rng), outside, ((fold, part),)


def _few(inside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return inside if len(inside) <= MOST_ROWS else np.sort(rng.choice(inside, MOST_ROWS, replace=False))
