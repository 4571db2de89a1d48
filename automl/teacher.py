"""The teacher of a search: opinions about training rows by models that did not see them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from automl.lesson import Lesson
from automl.preparation import for_trees
from automl.table import Table, table_of
from automl.targets import Targets
from engine.data import Dataset
from engine.errors import RecordError
from engine.lock import locked

__all__ = ["EVERYTHING", "opinions"]

PARTS = 4  # of the training rows, where there are no folds to divide them by
TREES, LEAVES, RATE = 150, 24, 0.06
RANDOM_TREES, RANDOM_STEP, RANDOM_ROWS = 100, 20, 20_000
MOST_ROWS = 60_000  # that one of the models is trained on
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the randomised trees, the best of which is taken
TINY = 1e-6
LEAST_ROWS = 200  # below which opinions are worth less than labels
LEAST_FOLDS = 3  # so that a model which saw two of them less has rows left
PATIENCE_SECONDS = 0.1

EVERYTHING = -1  # instead of a fold: all rows are trained on

Heard = tuple[int, np.ndarray]  # a fold, and the rows about which a model tells it

_known: WeakKeyDictionary[Dataset, dict[int, np.ndarray]] = WeakKeyDictionary()


def opinions(data: Dataset, fold: int, seed: int, goes_on: Callable[[], bool] = lambda: True) -> np.ndarray | None:
    """Return out-of-fold opinions about the training rows of a fold.

    One bag of boosted trees and of extremely randomised trees tells all folds: each model is told to one fold about
    rows that it did not see, and saw none of that fold's validation rows. Where rows are validated in folds, a model
    leaves out two of them, and tells each about the other. The first process that needs the bag makes it, others wait
    for it; it is kept beside the data.

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
    shape = (2, count + 1, len(data.rows), max(targets.classes, 1))
    total, times = np.zeros(shape), np.zeros((count + 1, len(data.rows), 1))
    for inside, outside, heard in _divided(data, targets, seed):
        if not goes_on():
            return None
        judged = _judged(table, targets, inside, outside, seed, goes_on)
        for fold, rows in heard:
            total[:, fold, rows] += judged[:, np.searchsorted(outside, rows)]
            times[fold, rows] += 1
        total[:, EVERYTHING, outside] += judged
        times[EVERYTHING, outside] += 1
    if not goes_on():
        return None
    both = total / np.where(times, times, np.nan)
    return np.stack([_mixed(both[:, fold], targets) for fold in range(count + 1)]).astype(np.float32)


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


def _mixed(both: np.ndarray, targets: Targets) -> np.ndarray:
    """Return the mixture of boosted and randomised trees that errs least where there are opinions."""
    rows = np.flatnonzero(~np.isnan(both[0, :, 0]))
    mixtures = [(1 - share) * both[0] + share * both[1] for share in SHARES]
    losses = [_loss(mixture[rows], targets.take(rows)) for mixture in mixtures]
    return np.asarray(mixtures[int(np.argmin(losses))])


def _loss(found: np.ndarray, targets: Targets) -> float:
    """Return the mean log loss, or the mean squared error."""
    if not targets.classes:
        return float(np.average((found[:, 0] - targets.y) ** 2, weights=targets.weight))
    chosen = np.clip(found[np.arange(len(found)), targets.y], TINY, 1.0)
    return float(np.average(-np.log(chosen), weights=targets.weight))


def _judged(
    table: Table,
    targets: Targets,
    inside: np.ndarray,
    outside: np.ndarray,
    seed: int,
    goes_on: Callable[[], bool],
) -> np.ndarray:
    """Return the opinions of boosted and of randomised trees, shape (2, n_outside, n_outputs)."""
    from automl.models.boosting import boosted

    known, rows = targets.take(inside), table.columns.take(inside)
    preparation = for_trees(table, rows, known, rare=1, order="target")
    x, new = (preparation.apply(part).astype(np.float32) for part in (rows, table.columns.take(outside)))
    lesson = Lesson(table, rows, known, np.zeros(1), "", seed, goes_on=goes_on)
    limits = {
        "num_leaves": LEAVES,
        "learning_rate": RATE,
        "max_bin": 255,
        "min_data_in_leaf": max(1, min(20, len(x) // 20)),
        "lambda_l2": 2.0,
        "feature_fraction": 0.7,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
    }
    first = boosted(x, lesson, limits, TREES).predict(new)
    return np.stack([first, _by_random_trees(x, known, new, lesson)])


def _by_random_trees(x: np.ndarray, known: Targets, new: np.ndarray, lesson: Lesson) -> np.ndarray:
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    few = np.linspace(0, len(x) - 1, min(len(x), RANDOM_ROWS)).astype(np.int64)
    kind: Any = ExtraTreesClassifier if known.classes else ExtraTreesRegressor
    model = kind(
        min_samples_leaf=3, max_features=0.6, random_state=lesson.seed % 2**31, n_jobs=1, warm_start=True
    )  # in steps it grows the same trees
    for trees in range(RANDOM_STEP, RANDOM_TREES + 1, RANDOM_STEP):
        model.set_params(n_estimators=trees).fit(x[few], known.y[few], sample_weight=known.weight[few])
        if not lesson.goes_on():
            break
    if not known.classes:
        return np.asarray(model.predict(new))[:, None]
    found = np.zeros((len(new), known.classes))
    found[:, np.asarray(model.classes_, np.int64)] = model.predict_proba(new)
    return found
