"""A teacher whose answers rules may learn from: for each row, what models say that did not see it, blended by merit."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from engine.data import Rows, Signature
from engine.samplers.surrogate import one_thread
from rules.generators.additive import additive_answers, design
from rules.generators.binned import MISSING, binned
from rules.generators.refit import Kind

__all__ = ["taught"]

FOLDS, MANY_ROWS = 5, 5_000  # beyond so many rows three folds do
ADDITIVE_ROWS = 20_000
MOST_ROWS = 60_000
KEPT = 4  # teachers of the folds at hand, in this process
ROUNDS = 120

# a model that finds exact combinations, and one that is careful with few rows
BOOSTED: tuple[Mapping[str, Any], ...] = (
    {"learning_rate": 0.08, "num_leaves": 15},
    {
        "learning_rate": 0.05,
        "num_leaves": 6,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "lambda_l2": 5.0,
    },
)

_CACHE: OrderedDict[tuple[str, int], np.ndarray] = OrderedDict()


def taught(rows: Rows, signature: Signature, *, seed: int) -> np.ndarray:
    """Return a teacher's probabilities or values for its training rows: float64, shape (n_rows, n_classes or 1).

    Two boosted models and a sum over single columns answer for rows that they did not see; their mean has the weights
    that fit those rows best.

    Args:
        rows: Training rows.
        signature: Of the data.
        seed: Of the folds.
    """
    total = hashlib.sha256(np.ascontiguousarray(rows.y).tobytes())
    for column in (*rows.inputs().values(), *(() if rows.weight is None else (np.asarray(rows.weight),))):
        total.update(np.ascontiguousarray(column).tobytes())
        total.update(f"{column.shape} {column.dtype}".encode())
    key = (total.hexdigest(), seed)
    if key not in _CACHE:
        with one_thread():
            _CACHE[key] = _blended(rows, signature, seed)
        while len(_CACHE) > KEPT:
            _CACHE.popitem(last=False)
    return _CACHE[key]


def _blended(rows: Rows, signature: Signature, seed: int) -> np.ndarray:
    data = binned(rows.inputs(), signature)
    frame = data.codes.T.astype(np.float32)
    frame[data.codes.T == MISSING] = np.nan
    terms = design(data)
    n_classes = len(signature.classes)
    kind: Kind = "squares" if not n_classes else "logistic" if n_classes == 2 else "multinomial"
    y = np.asarray(rows.y)
    weights = np.ones(len(y)) if rows.weight is None else np.asarray(rows.weight, np.float64)
    targets = y.astype(np.float64)[:, None] if not n_classes else np.asarray(y[:, None] == np.arange(n_classes), float)
    categorical = [place for place, column in enumerate(data.columns) if not column.is_numeric]
    rng = np.random.default_rng(seed)
    count = FOLDS if len(y) <= MANY_ROWS else 3
    fold = rng.permutation(len(y)) % count
    made = np.empty((len(BOOSTED) + 1, *targets.shape))
    for number in range(count):
        unseen, train = fold == number, np.flatnonzero(fold != number)
        few = train if len(train) <= ADDITIVE_ROWS else np.sort(rng.choice(train, ADDITIVE_ROWS, replace=False))
        train = train if len(train) <= MOST_ROWS else np.sort(rng.choice(train, MOST_ROWS, replace=False))
        shown = targets[few, 1:] if kind == "logistic" else targets[few]
        said = additive_answers(terms[few], shown, weights[few], terms[unseen], kind=kind)
        made[0, unseen] = _whole(said, kind)
        for place, settings in enumerate(BOOSTED, 1):
            told = {**settings, "min_data_in_leaf": max(5, len(y) // 1000), "seed": seed}
            said = _boosted(frame[train], y[train], weights[train], frame[unseen], categorical, n_classes, told)
            made[place, unseen] = _whole(said.reshape(int(unseen.sum()), -1), kind)
    shares = _weighed(made, targets, weights)
    blended: np.ndarray = np.tensordot(shares, made, axes=1)
    return blended


def _whole(said: np.ndarray, kind: Kind) -> np.ndarray:
    return np.hstack([1 - said, said]) if kind == "logistic" else said


def _boosted(
    frame: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray,
    asked: np.ndarray,
    categorical: list[int],
    n_classes: int,
    settings: Mapping[str, Any],
) -> np.ndarray:
    import lightgbm

    told: dict[str, Any] = {
        "objective": "regression" if not n_classes else "binary" if n_classes == 2 else "multiclass",
        "min_data_in_bin": 1,
        "cat_smooth": 5.0,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
        **({"num_class": n_classes} if n_classes > 2 else {}),
        **settings,
    }
    held = lightgbm.Dataset(frame, y, weight=weights, categorical_feature=categorical)
    return np.asarray(lightgbm.train(told, held, ROUNDS).predict(asked, num_threads=1))


def _weighed(made: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return shares of the models, float64, shape (n_models,), whose mean is nearest to the targets in squares."""
    from scipy.optimize import nnls

    root = np.sqrt(weights)[:, None]
    center = np.average(targets, axis=0, weights=weights)
    found, _ = nnls(((made - center) * root).reshape(len(made), -1).T, ((targets - center) * root).reshape(-1))
    shares: np.ndarray = found / found.sum() if found.sum() > 0 else np.full(len(made), 1 / len(made))
    return shares
