"""The models of which a teacher is made: what each says of rows that it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, final

import numpy as np

from automl.lesson import Lesson
from automl.preparation import dense, for_trees
from automl.solver import answers, fit_weights
from automl.table import Columns, Table
from automl.targets import Targets
from engine.space import Value

__all__ = ["JUDGES", "Hearing", "judged", "shares"]

TREES, LEAVES, RATE = 150, 24, 0.06
RANDOM_TREES, RANDOM_STEP, RANDOM_ROWS = 100, 20, 20_000
SUM_GENES: Mapping[str, Value] = {"fill": "median", "scale": "spread", "categories": "flags", "select": 1.0}
SUM_ROWS, SUM_STEPS, SUM_RIDGE = 20_000, 60, 10.0
RAREST = 500  # a category has at least one row in so many to get a flag
AT_ONCE = 20_000  # rows that a sum judges
PARTS = 4  # of a mixture: shares are quarters
TINY = 1e-6


@final
@dataclass(frozen=True, eq=False)
class Hearing:
    """Rows that models are trained on, and rows that they judge.

    Args:
        table: Rows, and vocabularies.
        targets: Of all rows.
        inside: Numbers of the rows that models are trained on.
        outside: Of those that they judge.
        seed: Of the training.
        goes_on: Asked from time to time; False ends a training with what there is.
    """

    table: Table
    targets: Targets
    inside: np.ndarray
    outside: np.ndarray
    seed: int
    goes_on: Callable[[], bool]

    @property
    def known(self) -> Targets:
        """Targets of the rows inside."""
        return self.targets.take(self.inside)

    @property
    def columns(self) -> tuple[Columns, Columns]:
        """Rows inside, and outside."""
        return self.table.columns.take(self.inside), self.table.columns.take(self.outside)

    @cached_property
    def for_trees(self) -> tuple[np.ndarray, np.ndarray]:
        """Features of the rows inside, and outside, float32, as trees take them."""
        inside, outside = self.columns
        preparation = for_trees(self.table, inside, self.known, rare=1, order="target")
        return preparation.apply(inside).astype(np.float32), preparation.apply(outside).astype(np.float32)

    @property
    def lesson(self) -> Lesson:
        """What trees are trained on."""
        inside, _ = self.columns
        return Lesson(self.table, inside, self.known, np.zeros(1), "", self.seed, goes_on=self.goes_on)


def judged(kinds: Sequence[str], hearing: Hearing) -> np.ndarray:
    """Return what models of some kinds say.

    Args:
        kinds: Keys of `JUDGES`.
        hearing: Rows to learn from and to judge.

    Returns:
        Probabilities, or values, float64, shape (n_kinds, n_outside, n_outputs).
    """
    return np.stack([np.asarray(JUDGES[kind](hearing), np.float64) for kind in kinds])


def shares(opinions: np.ndarray, targets: Targets) -> np.ndarray:
    """Return the shares, in quarters, of the mixture that errs least: by log loss, or by squared errors.

    Args:
        opinions: Of each model, shape (n_models, n_rows, n_outputs).
        targets: Of the rows.
    """
    every = [np.array(parts) for parts in product(range(PARTS + 1), repeat=len(opinions)) if sum(parts) == PARTS]
    return np.asarray(min(every, key=lambda parts: _loss(np.tensordot(parts / PARTS, opinions, 1), targets)) / PARTS)


def _loss(found: np.ndarray, targets: Targets) -> float:
    if not targets.classes:
        return float(np.average((found[:, 0] - targets.y) ** 2, weights=targets.weight))
    chosen = np.clip(found[np.arange(len(found)), targets.y], TINY, 1.0)
    return float(np.average(-np.log(chosen), weights=targets.weight))


def _by_boosting(hearing: Hearing) -> np.ndarray:
    from automl.models.boosting import boosted

    x, new = hearing.for_trees
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
    return boosted(x, hearing.lesson, limits, TREES).predict(new)


def _by_extra_trees(hearing: Hearing) -> np.ndarray:
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    return _by_random_trees(hearing, ExtraTreesClassifier if hearing.targets.classes else ExtraTreesRegressor, 0.6)


def _by_forest(hearing: Hearing) -> np.ndarray:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    return _by_random_trees(hearing, RandomForestClassifier if hearing.targets.classes else RandomForestRegressor, 0.3)


def _by_random_trees(hearing: Hearing, kind: Any, features: float) -> np.ndarray:
    (x, new), known, seed = hearing.for_trees, hearing.known, hearing.seed % 2**31
    few = np.linspace(0, len(x) - 1, min(len(x), RANDOM_ROWS)).astype(np.int64)
    model = kind(min_samples_leaf=3, max_features=features, random_state=seed, n_jobs=1, warm_start=True)
    for trees in range(RANDOM_STEP, RANDOM_TREES + 1, RANDOM_STEP):  # in steps it grows the same trees
        model.set_params(n_estimators=trees).fit(x[few], known.y[few], sample_weight=known.weight[few])
        if not hearing.goes_on():
            break
    if not known.classes:
        return np.asarray(model.predict(new))[:, None]
    found = np.zeros((len(new), known.classes))
    found[:, np.asarray(model.classes_, np.int64)] = model.predict_proba(new)
    return found


def _by_sum(hearing: Hearing) -> np.ndarray:
    inside, outside = hearing.columns
    few = np.linspace(0, len(inside) - 1, min(len(inside), SUM_ROWS)).astype(np.int64)
    rows, known = inside.take(few), hearing.known.take(few)
    preparation = dense(hearing.table, rows, known, {**SUM_GENES, "rare": max(3, len(few) // RAREST)})
    weight, bias = fit_weights(
        preparation.apply(rows),
        known.scores,
        known.weight,
        known.link,
        ridge=SUM_RIDGE,
        steps=SUM_STEPS,
        goes_on=hearing.goes_on,
    )
    parts = np.split(np.arange(len(outside)), range(AT_ONCE, len(outside), AT_ONCE))
    return np.concatenate([answers(preparation.apply(outside.take(p)) @ weight + bias, known.link) for p in parts])


JUDGES: Mapping[str, Callable[[Hearing], np.ndarray]] = {
    "boosting": _by_boosting,
    "extra": _by_extra_trees,
    "forest": _by_forest,
    "linear": _by_sum,
}
