"""The teacher of a search: opinions about training rows by models that did not see them."""

from __future__ import annotations

import os
from functools import lru_cache

import numpy as np

from automl.lesson import Lesson
from automl.preparation import for_trees
from automl.table import Columns, Table, table_of
from automl.targets import Targets
from engine.data import Dataset

__all__ = ["EVERYTHING", "opinions"]

FOLDS = 4
TREES, LEAVES, RATE = 150, 24, 0.06
RANDOM_TREES, RANDOM_ROWS = 100, 20_000
MOST_ROWS = 60_000  # that one of the models is trained on
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the randomised trees, the best of which is taken
TINY = 1e-6
LEAST_ROWS = 200  # below which opinions are worth less than labels

EVERYTHING = -1  # instead of a fold: all rows are trained on


@lru_cache(maxsize=16)
def opinions(data: Dataset, fold: int, seed: int) -> np.ndarray | None:
    """Return out-of-fold opinions about the training rows of a fold.

    Rows are divided anew; each part is judged by boosted trees and extremely randomised trees that were trained on the
    other parts, and never by validation rows. The first process that needs them keeps them beside the data.

    Args:
        data: Rows and splits.
        fold: Which pair of `data.splits`, or `EVERYTHING`.
        seed: Of the division and the training.

    Returns:
        Probabilities, float32, shape (n_train, n_classes), or values, shape (n_train, 1); None where there are too few
        rows.
    """
    table = table_of(data)
    index = np.arange(len(data.rows)) if fold == EVERYTHING else np.asarray(data.splits[fold].train)
    if len(index) < LEAST_ROWS:
        return None
    path = None if data.folder is None else data.folder / f"opinions_{fold}_{seed}.npy"
    if path is not None and path.exists():
        return np.asarray(np.load(path, allow_pickle=False))
    found = _opinions(table, index, seed)
    if path is not None:
        waiting = path.with_name(f".{os.getpid()}-{path.name}")
        np.save(waiting, found, allow_pickle=False)
        os.replace(waiting, path)
    return found


def _opinions(table: Table, index: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, 77])
    rows, classes = table.columns.take(index), len(table.signature.classes)
    targets = Targets(table.y[index], table.weight[index], classes)
    part = np.arange(len(index)) % FOLDS
    order = rng.permutation(len(index))
    if classes:  # parts in the proportions of the classes
        order = order[np.argsort(targets.y[order], kind="stable")]
    place = np.empty(len(index), np.int64)
    place[order] = part
    both = np.empty((2, len(index), max(classes, 1)))
    for number in range(FOLDS):
        inside, outside = np.flatnonzero(place != number), np.flatnonzero(place == number)
        if len(inside) > MOST_ROWS:
            inside = np.sort(rng.choice(inside, MOST_ROWS, replace=False))
        both[:, outside] = _judged(table, rows, targets, inside, outside, seed)
    mixtures = [(1 - share) * both[0] + share * both[1] for share in SHARES]
    losses = [_loss(mixture, targets) for mixture in mixtures]
    return np.asarray(mixtures[int(np.argmin(losses))], np.float32)


def _loss(found: np.ndarray, targets: Targets) -> float:
    """Return the mean log loss, or the mean squared error."""
    if not targets.classes:
        return float(np.average((found[:, 0] - targets.y) ** 2, weights=targets.weight))
    chosen = np.clip(found[np.arange(len(found)), targets.y], TINY, 1.0)
    return float(np.average(-np.log(chosen), weights=targets.weight))


def _judged(
    table: Table, rows: Columns, targets: Targets, inside: np.ndarray, outside: np.ndarray, seed: int
) -> np.ndarray:
    """Return the opinions of boosted and of randomised trees, shape (2, n_outside, n_outputs)."""
    from automl.models.boosting import boosted

    known = targets.take(inside)
    preparation = for_trees(table, rows.take(inside), known, rare=1, order="target")
    x, new = (preparation.apply(rows.take(part)).astype(np.float32) for part in (inside, outside))
    lesson = Lesson(table, rows.take(inside), known, np.zeros(1), "", seed)
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
    return np.stack([first, _by_random_trees(x, known, new, seed)])


def _by_random_trees(x: np.ndarray, known: Targets, new: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    few = np.linspace(0, len(x) - 1, min(len(x), RANDOM_ROWS)).astype(np.int64)
    kind = ExtraTreesClassifier if known.classes else ExtraTreesRegressor
    model = kind(RANDOM_TREES, min_samples_leaf=3, max_features=0.6, random_state=seed % 2**31, n_jobs=1)
    model.fit(x[few], known.y[few], sample_weight=known.weight[few])
    if not known.classes:
        return np.asarray(model.predict(new))[:, None]
    found = np.zeros((len(new), known.classes))
    found[:, np.asarray(model.classes_, np.int64)] = model.predict_proba(new)
    return found
