"""Decision trees and forests of them, by scikit-learn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from automl.compaction import snapped
from automl.fitted import Fitted
from automl.lesson import Genes, Lesson
from automl.models.trees import finished
from automl.preparation import for_trees
from compression.trees.ensemble import Ensemble
from compression.trees.readers import read_ensemble

__all__ = ["fit_forest", "fit_tree"]

STEP = 8  # trees after which a training asks whether it may go on
SMOOTHING = 2.0  # rows of the overall shares that are added to each leaf


def fit_tree(lesson: Lesson, genes: Genes) -> Iterator[Fitted]:
    """Yield one decision tree."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    kind = DecisionTreeClassifier if lesson.targets.classes else DecisionTreeRegressor
    preparation, x, model = _trained(kind, lesson, genes, "tree", {})
    ensemble = _smoothed(read_ensemble(model, takes_missing=bool(lesson.table.has_missing.any())), [model], lesson)
    ensemble = snapped(ensemble, x, half=not lesson.is_monotone)
    told = {"description": f"a tree of {ensemble.n_splits} splits", "coding": f"leaves {genes['leaves']}"}
    yield finished(ensemble, preparation, n_classes=lesson.targets.classes, leaves=str(genes["leaves"]), told=told)


def fit_forest(lesson: Lesson, genes: Genes, family: str, smallest: int) -> Iterator[Fitted]:
    """Train a random forest (`forest`) or extremely randomised trees (`extra`) once and yield it in several sizes."""
    from sklearn.ensemble import (
        ExtraTreesClassifier,
        ExtraTreesRegressor,
        RandomForestClassifier,
        RandomForestRegressor,
    )

    kinds = {
        "forest": (RandomForestRegressor, RandomForestClassifier),
        "extra": (ExtraTreesRegressor, ExtraTreesClassifier),
    }
    trees = int(genes[f"{family}.trees"])
    kind = kinds[family][bool(lesson.targets.classes)]
    given = {"max_features": float(genes[f"{family}.columns"]), "n_jobs": 1}
    preparation, x, model = _trained(kind, lesson, genes, family, given, count=lesson.effort(trees))
    ensemble = read_ensemble(model, takes_missing=bool(lesson.table.has_missing.any()))
    ensemble = snapped(_smoothed(ensemble, model.estimators_, lesson), x, half=not lesson.is_monotone)
    for number, rung in enumerate(lesson.rungs(trees, len(ensemble.trees), smallest)):
        if number and not lesson.goes_on():
            return
        part = replace(ensemble, trees=ensemble.trees[:rung])
        told = {
            "description": f"{len(part.trees)} {'randomised' if family == 'extra' else 'bagged'} trees, "
            f"{part.n_splits} splits",
            "coding": f"leaves {genes['leaves']}",
        }
        yield finished(
            part,
            preparation,
            n_classes=lesson.targets.classes,
            leaves=str(genes["leaves"]),
            told=told,
            genes={f"{family}.trees": rung},
        )


def _trained(
    kind: Any, lesson: Lesson, genes: Genes, family: str, given: dict[str, Any], *, count: int = 0
) -> tuple[Any, np.ndarray, Any]:
    """Return preparation, features and the trained model: of `count` trees, where it is a forest."""
    preparation = for_trees(
        lesson.table,
        lesson.rows,
        lesson.targets,
        rare=int(genes.get("rare", 1)),
        order=str(genes.get("order", "target")),
    )
    x = preparation.apply(lesson.rows).astype(np.float32)
    y, weight, row = lesson.targets.repeated()
    limits = {
        "max_leaf_nodes": int(genes[f"{family}.leaves"]),
        "min_samples_leaf": max(1, min(int(genes[f"{family}.rows"]), len(x) // 4)),
        "random_state": lesson.seed % 2**31,
        **given,
    }
    signs = lesson.signs[preparation.owners]
    if signs.any():
        limits["monotonic_cst"] = signs.astype(np.int64)
    if not count:
        return preparation, x, kind(**limits).fit(x[row], y, sample_weight=weight)
    model = kind(n_estimators=0, warm_start=True, **limits)  # in steps it grows the same trees
    rows = x[row]
    for trees in (*range(STEP, count, STEP), count):
        model.set_params(n_estimators=trees).fit(rows, y, sample_weight=weight)
        if not lesson.goes_on():
            break
    return preparation, x, model


def _smoothed(ensemble: Ensemble, members: Any, lesson: Lesson) -> Ensemble:
    """Let no leaf be certain: the shares of a leaf and of all rows together, by how many rows the leaf has.

    Of two classes a leaf keeps the share of the second. Constrained trees stay as they are.
    """
    classes = lesson.targets.classes
    if not classes:
        return ensemble
    prior = np.average(lesson.targets.goal, axis=0, weights=lesson.targets.weight)
    trees = []
    for tree, member in zip(ensemble.trees, members, strict=True):
        mass = np.asarray(member.tree_.weighted_n_node_samples)[:, None]
        value = tree.value if lesson.is_monotone else (mass * tree.value + SMOOTHING * prior) / (mass + SMOOTHING)
        trees.append(replace(tree, value=value[:, 1:] if classes == 2 else value))
    if classes == 2:
        return replace(ensemble, trees=trees, n_outputs=1, base=np.zeros(1))
    return replace(ensemble, trees=trees)
