"""A boosted model whose answers rules may learn from: for each row, those of models that did not see it."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np

from engine.data import Rows, Signature
from rules.generators.binned import MISSING, binned

__all__ = ["taught"]

FOLDS = 3
ROUNDS = 120
MOST_ROWS = 60_000
KEPT = 4  # teachers of the folds at hand, in this process

_CACHE: OrderedDict[tuple[str, int], np.ndarray] = OrderedDict()


def taught(rows: Rows, signature: Signature, *, seed: int) -> np.ndarray:
    """Return a teacher's probabilities or values for its training rows: float64, shape (n_rows, n_classes or 1).

    Args:
        rows: Training rows.
        signature: Of the data.
        seed: Of the folds.
    """
    total = hashlib.sha256(np.ascontiguousarray(rows.y).tobytes())
    for column in rows.inputs().values():
        total.update(np.ascontiguousarray(column[:1000]).tobytes())
        total.update(str(column.shape).encode())
    key = (total.hexdigest(), seed)
    if key not in _CACHE:
        _CACHE[key] = _out_of_fold(rows, signature, seed)
        while len(_CACHE) > KEPT:
            _CACHE.popitem(last=False)
    return _CACHE[key]


def _out_of_fold(rows: Rows, signature: Signature, seed: int) -> np.ndarray:
    import lightgbm

    data = binned(rows.inputs(), signature)
    frame = data.codes.T.astype(np.float32)
    frame[data.codes.T == MISSING] = np.nan
    categorical = [place for place, column in enumerate(data.columns) if not column.is_numeric]
    n_classes = len(signature.classes)
    settings = {
        "objective": "regression" if not n_classes else "binary" if n_classes == 2 else "multiclass",
        "learning_rate": 0.08,
        "num_leaves": 15,
        "min_data_in_leaf": max(5, len(rows) // 1000),
        "min_data_in_bin": 1,
        "cat_smooth": 5.0,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed,
        "verbosity": -1,
    }
    if n_classes > 2:
        settings["num_class"] = n_classes
    rng = np.random.default_rng(seed)
    fold = rng.permutation(len(rows)) % FOLDS
    y = np.asarray(rows.y)
    weight = None if rows.weight is None else np.asarray(rows.weight)
    made = np.empty((len(rows), max(n_classes, 1)))
    for number in range(FOLDS):
        train = np.flatnonzero(fold != number)
        if len(train) > MOST_ROWS:
            train = np.sort(rng.choice(train, MOST_ROWS, replace=False))
        held = lightgbm.Dataset(
            frame[train], y[train], weight=None if weight is None else weight[train], categorical_feature=categorical
        )
        answers = np.asarray(lightgbm.train(settings, held, ROUNDS).predict(frame[fold == number], num_threads=1))
        if n_classes == 2:
            answers = np.stack([1 - answers, answers], axis=1)
        made[fold == number] = answers.reshape(int((fold == number).sum()), -1)
    return made
