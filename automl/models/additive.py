"""Binned additive models: one table a column, the answer is the sum of what the tables say."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from automl.compaction import snapped
from automl.fitted import Fitted
from automl.lesson import Genes, Lesson
from automl.models.boosting import boosted
from automl.models.linear import dense_fitted, signs_of
from automl.parts import Flags, Gaps, Part
from automl.preparation import Preparation, edges_of, for_trees, frequent
from automl.solver import fit_weights
from compression.trees.ensemble import Ensemble

__all__ = ["fit_additive"]

LEAVES = 4  # of a tree, which looks at one column
FIRST_ROWS = 8000  # that tell which edges are needed
MOST_EDGES = 1500  # of all columns


def fit_additive(lesson: Lesson, genes: Genes) -> Iterator[Fitted]:
    """Yield a table a column: edges from boosted trees of one column each, all steps then fitted together.

    Source: after Lou et al., Intelligible models for classification and regression, 2012 (boosted trees of one feature
    as shape functions); here trees only choose the edges, and the steps at them are the weights of one logistic
    regression with a ridge, of which the smallest are removed.
    """
    plain = for_trees(lesson.table, lesson.rows, lesson.targets, rare=int(genes.get("rare", 1)), order="target")
    x = plain.apply(lesson.rows).astype(np.float32)
    limits = {
        "num_leaves": LEAVES,
        "learning_rate": 0.2,
        "max_bin": int(genes["additive.bins"]),
        "min_data_in_leaf": max(1, min(20, len(x) // 20)),
        "interaction_constraints": [[column] for column in range(x.shape[1])],
        "lambda_l2": 1.0,
    }
    ensemble = boosted(x, lesson, limits, lesson.effort(int(genes["additive.rounds"])))
    ensemble = snapped(ensemble, x, half=True)
    preparation = _tables(lesson, ensemble, rare=int(genes.get("rare", 1)))
    ridge, keep = float(genes["additive.ridge"]), float(genes["additive.keep"])
    features, targets, link = preparation.apply(lesson.rows), lesson.targets, lesson.targets.link
    few = np.linspace(0, len(features) - 1, min(len(features), FIRST_ROWS)).astype(np.int64)
    part = targets.take(few)
    signs, goes_on = signs_of(lesson, preparation), lesson.goes_on
    weight, bias = fit_weights(features[few], part.scores, part.weight, link, ridge=ridge, signs=signs, goes_on=goes_on)
    worth = np.abs(weight).sum(axis=1) * features[few].std(axis=0)
    kept = np.argsort(-worth, kind="stable")[: max(1, min(round(keep * len(worth)), MOST_EDGES))]
    kept = np.sort(kept[worth[kept] > 0]) if (worth > 0).any() else kept[:1]
    preparation = preparation.take(kept)
    signs = signs_of(lesson, preparation)
    weight, bias = fit_weights(
        features[:, kept], targets.scores, targets.weight, link, ridge=ridge, signs=signs, goes_on=goes_on
    )
    described = f"additive, {len(set(preparation.owners.tolist()))} columns, {len(kept)} steps"
    layer = [(weight, bias, "identity")]
    yield dense_fitted(preparation, layer, lesson, coding=str(genes["coding"]), described=described)


def _tables(lesson: Lesson, ensemble: Ensemble, *, rare: int) -> Preparation:
    """Return flags for every edge that a tree chose, every gap and every category."""
    n_numeric, n_text = lesson.rows.x.shape[1], lesson.rows.codes.shape[1]
    edges = []
    for column in range(n_numeric):
        found = [tree.threshold[~tree.is_leaf & (tree.feature == column)] for tree in ensemble.trees]
        edges.append(np.unique(np.concatenate(found)))
    parts: list[Part] = []
    if any(len(known) for known in edges):
        parts.append(edges_of(range(n_numeric), edges))
    gaps = np.flatnonzero(np.isnan(lesson.rows.x).any(axis=0))
    parts += [Gaps(tuple(gaps.tolist()))] if len(gaps) else []
    named = [
        frequent(lesson.rows.codes[:, place], lesson.table.vocabularies[place], rare=rare) for place in range(n_text)
    ]
    kept = [place for place in range(n_text) if len(named[place])]
    if kept:
        vocabularies = tuple(lesson.table.vocabularies[place] for place in kept)
        parts.append(Flags(tuple(kept), vocabularies, tuple(named[place] for place in kept)))
    if not parts:
        parts.append(edges_of([0], [np.zeros(1, np.float32)]))
    return Preparation(tuple(parts), n_numeric)
