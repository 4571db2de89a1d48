"""Boosted oblivious trees: one training, a ladder of files."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.sparse import csr_matrix

from automl.fitted import Fitted, of_features
from automl.lesson import Genes, Lesson
from automl.oblivious import Grown, grow
from automl.preparation import Preparation, for_trees
from automl.solver import answers, fit_weights
from compression.trees.leaves import LEAVES
from compression.trees.oblivious import ObliviousModel

__all__ = ["fit_oblivious"]

MOST_ROWS = 30_000
MOST_ENDS = 8_000_000  # rows x trees that leaves are fitted anew on
COLUMNS = 0.8  # of the features that each tree may ask
REFIT_STEPS = 40
REFIT_RIDGE = 0.1  # rows for each leaf
LEAST_STEP = 1e-12


def fit_oblivious(lesson: Lesson, genes: Genes, smallest: int) -> Iterator[Fitted]:
    """Train once; for each size fit all leaves anew, together, and put them on levels."""
    preparation = for_trees(
        lesson.table,
        lesson.rows,
        lesson.targets,
        rare=int(genes.get("rare", 1)),
        order=str(genes.get("order", "target")),
    )
    x = preparation.apply(lesson.rows).astype(np.float32)
    rng = lesson.rng()
    index = np.sort(rng.permutation(len(x))[:MOST_ROWS])
    targets = lesson.targets.take(index)
    trees = int(genes["oblivious.trees"])
    ridge = float(genes["oblivious.ridge"])
    grown = grow(
        x[index],
        targets.scores,
        targets.weight,
        targets.link,
        [_edges(column, int(genes["oblivious.bins"])) for column in x.T],
        trees=lesson.effort(trees),
        depth=int(genes["oblivious.depth"]),
        rate=float(genes["oblivious.rate"]),
        ridge=ridge,
        columns=COLUMNS,
        rng=rng,
        goes_on=lesson.goes_on,
    )
    for number, rung in enumerate(lesson.rungs(trees, len(grown.values), smallest)):
        if number and not lesson.goes_on():
            return
        first = _first(grown, rung)
        refit = _refitted(first, x, lesson, REFIT_RIDGE * first.values[..., 0].size)
        model = _on_levels(refit, str(genes["leaves"]), lesson.targets.link)
        yield _finished(preparation, model, rung, str(genes["leaves"]))


def _finished(preparation: Preparation, model: ObliviousModel, rung: int, leaves: str) -> Fitted:
    told = {
        "description": f"{len(model.levels)} oblivious trees of depth {model.features.shape[1]}",
        "parameters": model.features.size + model.levels.size,
        "coding": f"leaves {leaves}",
    }
    return of_features(
        preparation,
        model,
        lambda features: answers(model.scores(features.astype(np.float32)), model.link),
        told=told,
        genes={"oblivious.trees": rung},
    )


def _edges(values: np.ndarray, bins: int) -> np.ndarray:
    """Return edges between quantiles, in float16 where that lies between the same two values."""
    known = values[np.isfinite(values)]
    distinct = np.unique(known)
    if len(distinct) < 2:
        return np.zeros(0, np.float32)
    if len(distinct) <= bins:
        low, high = distinct[:-1], distinct[1:]
    else:
        cuts = np.unique(np.quantile(known, np.arange(1, bins) / bins, method="lower"))
        cuts = cuts[cuts < distinct[-1]]
        low, high = cuts, distinct[np.searchsorted(distinct, cuts, side="right")]
    middle = ((low.astype(np.float64) + high) / 2).astype(np.float32)
    with np.errstate(over="ignore"):
        half = middle.astype(np.float16).astype(np.float32)
    fits = np.isfinite(half) & (half >= low) & (half < high)
    return np.unique(np.where(fits, half, np.minimum(np.maximum(middle, low), np.nextafter(high, low))))


def _first(grown: Grown, count: int) -> Grown:
    return Grown(grown.features[:count], grown.edges[:count], grown.values[:count], grown.base)


def _refitted(grown: Grown, x: np.ndarray, lesson: Lesson, ridge: float) -> Grown:
    """Fit the values of all leaves anew, together, near those they have."""
    n_trees, n_leaves, n_scores = grown.values.shape
    few = np.linspace(0, len(x) - 1, min(len(x), MOST_ENDS // n_trees)).astype(np.int64)
    x, targets = x[few], lesson.targets.take(few)
    shape = ObliviousModel(grown.features, grown.edges, np.zeros(grown.values.shape), np.ones(n_scores), grown.base, "")
    numbers = shape.leaf_numbers(x) + np.arange(n_trees) * n_leaves
    made = csr_matrix(
        (np.ones(numbers.size), numbers.ravel(), np.arange(0, numbers.size + 1, n_trees)),
        shape=(len(x), n_trees * n_leaves),
    )
    start = (grown.values.reshape(-1, n_scores), grown.base)
    weight, base = fit_weights(
        made,
        targets.scores,
        targets.weight,
        targets.link,
        ridge=ridge,
        start=start,
        steps=REFIT_STEPS,
        goes_on=lesson.goes_on,
    )
    return Grown(grown.features, grown.edges, weight.reshape(grown.values.shape), base)


def _on_levels(grown: Grown, leaves: str, link: str) -> ObliviousModel:
    """Put leaves on equally spaced levels, the same for all trees; what level 0 stands for goes to the base."""
    top = 2 ** min(LEAVES[leaves], 12) - 1
    low, high = grown.values.min(axis=(0, 1)), grown.values.max(axis=(0, 1))
    step = np.maximum((high - low) / top, LEAST_STEP).astype(np.float32)
    levels = np.clip(np.rint((grown.values - low) / step), 0, top).astype(np.int64)
    base = (grown.base + low * len(levels)).astype(np.float32)
    return ObliviousModel(grown.features, grown.edges, levels, step, base, link)
