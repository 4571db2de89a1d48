"""Gradient boosting by LightGBM: one training, a ladder of files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from automl.compaction import leaf_numbers, pruned, refitted, snapped
from automl.fitted import Fitted
from automl.lesson import Genes, Lesson
from automl.models.trees import finished
from automl.preparation import Preparation, for_trees
from automl.targets import Targets
from compression.trees.ensemble import Ensemble
from compression.trees.readers import read_ensemble

__all__ = ["boosted", "compacted", "fit_boosting"]

ASKED_EVERY = 8  # trees after which a training asks whether it may go on
MOST_ENDS = 8_000_000  # rows x trees that leaves are fitted anew on
MOST_TREES = 1536  # of all classes together
DEPTH_SLACK = 2  # levels beyond those of a full tree of so many leaves
TINY = 1e-6


def fit_boosting(lesson: Lesson, genes: Genes, smallest: int) -> Iterator[Fitted]:
    """Train once and yield each size with the gene that would train it alone."""
    preparation = for_trees(
        lesson.table,
        lesson.rows,
        lesson.targets,
        rare=int(genes.get("rare", 1)),
        order=str(genes.get("order", "target")),
    )
    x = preparation.apply(lesson.rows).astype(np.float32)
    trees = int(genes["boosting.trees"])
    limits: dict[str, Any] = {
        "num_leaves": int(genes["boosting.leaves"]),
        "learning_rate": float(genes["boosting.rate"]),
        "max_bin": int(genes["boosting.bins"]),
        "min_data_in_leaf": max(1, min(int(genes["boosting.rows"]), len(x) // 4)),
        "lambda_l2": float(genes["boosting.ridge"]),
        "feature_fraction": float(genes["boosting.columns"]),
        "max_depth": math.ceil(math.log2(int(genes["boosting.leaves"]))) + DEPTH_SLACK,
    }
    if float(genes["boosting.sample"]) < 1:
        limits |= {"bagging_fraction": float(genes["boosting.sample"]), "bagging_freq": 1}
    if genes["boosting.thrift"]:
        limits["cegb_penalty_feature_coupled"] = [float(genes["boosting.thrift"])] * x.shape[1]
    count = lesson.effort(min(trees, MOST_TREES // lesson.n_outputs))
    ensemble = boosted(x, lesson, limits, count, signs=lesson.signs[preparation.owners])
    ensemble = snapped(ensemble, x, half=not lesson.is_monotone)
    rungs = lesson.rungs(trees, len(ensemble.trees) // ensemble.n_outputs, smallest)
    yield from compacted(ensemble, x, lesson, genes, preparation, rungs)


def compacted(
    ensemble: Ensemble, x: np.ndarray, lesson: Lesson, genes: Genes, preparation: Preparation, rungs: Sequence[int]
) -> Iterator[Fitted]:
    """Yield a finished model for each number of trees: split by split pruned, leaves fitted anew, on levels."""
    share, ridge = float(genes["boosting.prune"]), float(genes["boosting.refit"])
    count = min(len(x), MOST_ENDS // len(ensemble.trees))
    rows = np.linspace(0, len(x) - 1, count).astype(np.int64)
    targets = lesson.targets.take(rows)
    outputs = ensemble.n_outputs
    ends = leaf_numbers(ensemble, x[rows]) if share or (ridge and not lesson.is_monotone) else []
    for number, rung in enumerate(rungs):
        if number and not lesson.goes_on():
            return
        part = replace(ensemble, trees=ensemble.trees[: rung * outputs])
        own = ends[: rung * outputs]
        if share:
            part = pruned(part, own, targets.weight, share)
            own = leaf_numbers(part, x[rows]) if ridge else own
        if ridge and not lesson.is_monotone:  # leaves fitted together keep no direction
            leaves = sum(int(tree.is_leaf.sum()) for tree in part.trees)
            # Many leaves soon know the rows by heart.
            part = refitted(part, own, targets, ridge=ridge * leaves, goes_on=lesson.goes_on)
        yield finished(
            part,
            preparation,
            n_classes=targets.classes,
            leaves=str(genes["leaves"]),
            told={
                "description": f"{len(part.trees)} boosted trees, {part.n_splits} splits",
                "coding": f"leaves {genes['leaves']}",
            },
            genes={"boosting.trees": rung},
        )


def boosted(
    x: np.ndarray,
    lesson: Lesson,
    limits: dict[str, Any],
    trees: int,
    *,
    signs: np.ndarray | None = None,
    targets: Targets | None = None,
) -> Ensemble:
    """Train with LightGBM, the same trees on every run, and return them as neutral data.

    Args:
        x: float32, shape (n_rows, n_features).
        lesson: For targets, seed and whether to go on.
        limits: Further parameters of LightGBM.
        trees: Of each output.
        signs: 1 or -1 where the answer must not fall or rise with a feature, shape (n_features,).
        targets: Instead of the lesson's.
    """
    import lightgbm

    goal = lesson.targets if targets is None else targets
    parameters: dict[str, Any] = {
        "verbosity": -1,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "seed": lesson.seed % 2**31,
        **limits,
    }
    if signs is not None and signs.any():
        parameters |= {"monotone_constraints": signs.tolist(), "monotone_constraints_method": "advanced"}
    label, objective, extra = _objective(goal, lesson.metric)
    parameters |= objective
    data = lightgbm.Dataset(
        x,
        label,
        weight=None if (goal.weight == 1).all() else goal.weight,
        params={"max_bin": parameters.get("max_bin", 255), "verbosity": -1, "num_threads": 1},
        init_score=extra,
        free_raw_data=True,
    )

    def ask(env: Any) -> None:
        if env.iteration % ASKED_EVERY == ASKED_EVERY - 1 and not lesson.goes_on():
            raise lightgbm.callback.EarlyStopException(env.iteration, [])

    booster = lightgbm.train(parameters, data, trees, callbacks=[ask])
    ensemble = read_ensemble(booster, takes_missing=bool(lesson.table.has_missing.any()))
    if "num_class" in objective and callable(objective["objective"]):
        base = np.log(np.average(goal.goal, axis=0, weights=goal.weight) + TINY)
        ensemble = replace(ensemble, link="softmax", base=base)
    return ensemble


def _objective(goal: Targets, metric: str) -> tuple[np.ndarray, dict[str, Any], np.ndarray | None]:
    """Return labels, the parameters of the objective, and scores to begin with."""
    if not goal.classes:
        name = "regression_l1" if metric == "mae" and not goal.is_soft else "regression"
        return goal.goal[:, 0], {"objective": name}, None
    if goal.classes == 2:
        if goal.is_soft:
            return goal.goal[:, 1], {"objective": "cross_entropy"}, None
        return goal.y, {"objective": "binary"}, None
    if not goal.is_soft:
        return goal.y, {"objective": "multiclass", "num_class": goal.classes}, None
    shares, weight, factor = goal.goal, goal.weight[:, None], goal.classes / (goal.classes - 1)
    base = np.log(np.average(shares, axis=0, weights=goal.weight) + TINY)

    def softmax(scores: np.ndarray, _: Any) -> tuple[np.ndarray, np.ndarray]:
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        found = powers / powers.sum(axis=1, keepdims=True)
        return weight * (found - shares), weight * factor * found * (1 - found)

    start = np.tile(base, (len(shares), 1)).ravel(order="F")
    return goal.y, {"objective": softmax, "num_class": goal.classes}, start
