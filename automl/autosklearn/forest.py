"""Reading the trees in an ONNX file of skl2onnx as a neutral ensemble, to be written in a tenth of the bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from compression.trees.ensemble import LEAF, Ensemble, Tree, rounded_thresholds
from engine.errors import ArtifactError

__all__ = ["KINDS", "ensemble_of"]

KINDS = ("TreeEnsembleClassifier", "TreeEnsembleRegressor")
LINKS = {"NONE": "identity", "LOGISTIC": "sigmoid", "SOFTMAX": "softmax"}


def ensemble_of(node: onnx.NodeProto, n_features: int, n_outputs: int) -> Ensemble:
    """Return the trees of a node of `KINDS`.

    Args:
        node: With `BRANCH_LEQ` splits only.
        n_features: Columns of its input.
        n_outputs: Of its answer: probabilities or values.

    Raises:
        ArtifactError: If it has something that trees here have not; it says what.
    """
    given = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    modes = {mode.decode() for mode in given["nodes_modes"]} - {"BRANCH_LEQ", "LEAF"}
    link = LINKS.get(given.get("post_transform", b"NONE").decode())
    if modes or link is None or given.get("aggregate_function", b"SUM") != b"SUM":
        raise ArtifactError(f"The trees of a file have {', '.join(sorted(modes)) or 'a link'} that is not known.")
    target = "class" if node.op_type == KINDS[0] else "target"
    outputs = 1 if link == "sigmoid" else n_outputs
    ids = np.asarray(given[f"{target}_ids"])
    is_second_alone = target == "class" and n_outputs == 2 and len(np.unique(ids)) == 1
    if is_second_alone:
        ids = np.full(len(ids), outputs - 1)
    leaves: dict[tuple[int, int], np.ndarray] = {}
    places = zip(given[f"{target}_treeids"], given[f"{target}_nodeids"], ids, given[f"{target}_weights"], strict=True)
    for tree, leaf, output, weight in places:
        leaves.setdefault((tree, leaf), np.zeros(outputs))[output] += weight
    base = np.zeros(outputs)
    base[:] = given.get("base_values", 0.0) or 0.0
    rows = np.asarray(given["nodes_treeids"])
    numbers = np.unique(rows)
    if is_second_alone and outputs == 2:  # the first has the rest
        for shares in leaves.values():
            shares[0] = 1 / len(numbers) - shares[1]
    trees = [_tree(given, np.flatnonzero(rows == number), number, leaves, outputs) for number in numbers]
    return Ensemble(trees, n_features, outputs, base, link)


def _tree(
    given: dict[str, Any], index: np.ndarray, number: int, leaves: dict[tuple[int, int], np.ndarray], width: int
) -> Tree:
    def column(name: str) -> np.ndarray:
        return np.asarray(np.asarray(given[name])[index])

    names = column("nodes_nodeids")
    place = {int(name): row for row, name in enumerate(names)}
    is_leaf = np.asarray([given["nodes_modes"][row] == b"LEAF" for row in index])
    left, right = (
        [LEAF if end else place[int(child)] for end, child in zip(is_leaf, column(f"nodes_{side}nodeids"), strict=True)]
        for side in ("true", "false")
    )
    tracks = given.get("nodes_missing_value_tracks_true") or np.zeros(len(given["nodes_modes"]), np.int64)
    value = np.stack([leaves.get((number, int(name)), np.zeros(width)) for name in names])
    return Tree(
        np.where(is_leaf, 0, column("nodes_featureids")).astype(np.int64),
        rounded_thresholds(np.where(is_leaf, 0.0, column("nodes_values")).astype(np.float64)),
        np.asarray(left, np.int64),
        np.asarray(right, np.int64),
        np.asarray(tracks)[index].astype(bool) & ~is_leaf,
        value,
    )
