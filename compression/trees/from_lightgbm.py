"""Reading the trees of LightGBM."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from compression.trees.ensemble import Ensemble, Tree, rounded_thresholds
from engine.errors import ArtifactError

__all__ = ["READERS"]

IDENTITY = ("regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg", "custom")
ZERO = np.float32(1e-35)
EXPONENTIAL = ("poisson", "gamma", "tweedie")


def _read_wrapper(model: Any, takes_missing: bool) -> tuple[Ensemble, Callable[[np.ndarray], np.ndarray]]:
    return _read_booster(model.booster_, takes_missing)


def _read_booster(booster: Any, takes_missing: bool) -> tuple[Ensemble, Callable[[np.ndarray], np.ndarray]]:
    dumped = booster.dump_model()
    outputs = int(dumped["num_tree_per_iteration"])
    roots = [tree["tree_structure"] for tree in dumped["tree_info"]]
    if not roots:
        raise ArtifactError("The LightGBM model has no trees.")
    problems = sorted({problem for root in roots for node in _nodes(root) for problem in _problems(node)})
    if problems:
        raise ArtifactError("The LightGBM model cannot be written: " + "; ".join(problems) + ".")
    link, factor = _link(str(dumped.get("objective", "custom")))
    divisor = len(roots) // outputs if dumped.get("average_output") else 1
    trees = [_tree(list(_nodes(root)), factor / divisor) for root in roots]
    ensemble = Ensemble(trees, dumped["max_feature_idx"] + 1, outputs, np.zeros(outputs), link, takes_missing)
    return ensemble, booster.predict


def _link(objective: str) -> tuple[str, float]:
    name, *options = objective.split()
    if name in IDENTITY and "sqrt" not in options:
        return "identity", 1.0
    if name in EXPONENTIAL:
        return "exp", 1.0
    if name == "binary":
        return "sigmoid", float(dict(option.split(":") for option in options).get("sigmoid", 1))
    if name == "cross_entropy":
        return "sigmoid", 1.0
    if name == "multiclass":
        return "softmax", 1.0
    raise ArtifactError(
        f"The LightGBM objective '{objective}' is not known. Known: {', '.join(IDENTITY + EXPONENTIAL)}, binary, "
        "cross_entropy, multiclass; regression without reg_sqrt."
    )


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield a tree's nodes, parents first."""
    waiting = [node]
    while waiting:
        found = waiting.pop()
        yield found
        if "left_child" in found:
            waiting += [found["right_child"], found["left_child"]]


def _problems(node: Mapping[str, Any]) -> Iterator[str]:
    if "leaf_coeff" in node or "leaf_const" in node:
        yield "its leaves hold linear models (linear_tree); train it without"
    if "left_child" in node:
        if node["decision_type"] != "<=":
            yield f"column {node['split_feature']} is categorical; give its codes as numbers, or as 0 and 1"
        if node["missing_type"] == "Zero":
            yield "zeros are missing values (zero_as_missing); train it without"


def _tree(nodes: list[Mapping[str, Any]], factor: float) -> Tree:
    numbers = {id(node): number for number, node in enumerate(nodes)}
    inner = ["left_child" in node for node in nodes]

    def column(value: Callable[[Mapping[str, Any]], Any], in_leaves: Any) -> np.ndarray:
        return np.array([value(n) if is_inner else in_leaves for n, is_inner in zip(nodes, inner, strict=True)])

    # Infinite thresholds, for all but missing values, come as 1e300. They become the largest float32: a row with an
    # infinite value goes right, as in a model that was saved; LightGBM sends it left until then.
    threshold = column(lambda node: float(node["threshold"]), 0.0)
    # Without missing values in training, NaN is taken for 0.
    missing_left = column(lambda node: node["default_left"] if node["missing_type"] == "NaN"
                          else float(node["threshold"]) >= 0, False)  # fmt: skip
    value = np.array([0.0 if is_inner else node["leaf_value"] for node, is_inner in zip(nodes, inner, strict=True)])
    # LightGBM takes numbers this near to zero for zero, which is not below a negative threshold.
    below_zero = (threshold < 0) & (threshold >= -ZERO)
    return Tree(
        column(lambda node: node["split_feature"], 0).astype(np.int64),
        np.where(below_zero, np.nextafter(-ZERO, np.float32(-np.inf)), rounded_thresholds(threshold)),
        column(lambda node: numbers[id(node["left_child"])], -1).astype(np.int64),
        column(lambda node: numbers[id(node["right_child"])], -1).astype(np.int64),
        missing_left.astype(bool),
        factor * value[:, None],
    )


READERS = {
    **{f"lightgbm.LGBM{kind}": _read_wrapper for kind in ("Classifier", "Regressor", "Ranker")},
    "lightgbm.Booster": _read_booster,
}
