"""Tree ensembles as neutral data: what every reader yields and every layout is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from engine.errors import ArtifactError, did_you_mean

__all__ = ["LINKS", "Ensemble", "Tree", "rounded_thresholds"]

LINKS = ("identity", "sigmoid", "softmax", "exp", "mean")
LEAF = -1


@final
@dataclass(frozen=True, eq=False)
class Tree:
    """One binary tree; node 0 is the root. A row goes left where `x[feature] <= threshold`.

    Args:
        feature: Column that a node looks at, int, shape (n_nodes,); of no meaning in leaves.
        threshold: float32, shape (n_nodes,); see `rounded_thresholds`.
        left: Node number of the left child, int, shape (n_nodes,); -1 in leaves.
        right: Likewise.
        missing_left: Whether a missing value (NaN) goes left, bool, shape (n_nodes,).
        value: What a leaf adds, float64, shape (n_nodes, n_values); of no meaning in inner nodes.
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    value: np.ndarray

    @cached_property
    def is_leaf(self) -> np.ndarray:
        """Whether a node is a leaf, bool, shape (n_nodes,)."""
        return np.asarray(self.left == LEAF)

    @cached_property
    def depth(self) -> int:
        """Comparisons on the longest way from the root to a leaf."""
        level, steps = np.array([0]), 0
        while True:
            inner = level[~self.is_leaf[level]]
            if not len(inner):
                return steps
            level, steps = np.concatenate([self.left[inner], self.right[inner]]), steps + 1

    def leaves(self, x: np.ndarray) -> np.ndarray:
        """Return the leaf of each row, int, shape (n_rows,), for `x`, float32, shape (n_rows, n_features)."""
        node = np.zeros(len(x), np.int64)
        for _ in range(self.depth):
            seen = x[np.arange(len(x)), self.feature[node]]
            goes_left = np.where(np.isnan(seen), self.missing_left[node], seen <= self.threshold[node])
            node = np.where(self.is_leaf[node], node, np.where(goes_left, self.left[node], self.right[node]))
        return node


@final
@dataclass(frozen=True, eq=False)
class Ensemble:
    """Trees whose leaf values are added up, or averaged, and then linked to what the model says.

    Leaves hold one value each, then tree t counts for output t mod n_outputs (boosting), or one value for each output
    (forests).

    Args:
        trees: In order.
        n_features: Columns of a row.
        n_outputs: Columns of the raw output.
        base: Added to the raw output, shape (n_outputs,).
        link: From the raw output to the answer: `identity`; `sigmoid` of one output, the probability of the second
            class of two; `softmax`; `exp`; `mean`, the average over the trees instead of the sum.
        takes_missing: Whether missing values occur at all; if not, their direction is free, which saves bytes.

    Raises:
        ArtifactError: If the parts contradict each other; it names all contradictions.
    """

    trees: Sequence[Tree]
    n_features: int
    n_outputs: int
    base: np.ndarray
    link: str
    takes_missing: bool = True

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise ArtifactError("The tree ensemble contradicts itself: " + "; ".join(problems) + ".")

    @property
    def width(self) -> int:
        """How many values a leaf holds."""
        return int(self.trees[0].value.shape[1])

    @property
    def depth(self) -> int:
        """Comparisons on the longest way through any tree."""
        return max(tree.depth for tree in self.trees)

    @property
    def n_splits(self) -> int:
        """Inner nodes of all trees."""
        return int(sum((~tree.is_leaf).sum() for tree in self.trees))

    def raw(self, x: np.ndarray) -> np.ndarray:
        """Return the raw output, float64, shape (n_rows, n_outputs), for `x`, float32, shape (n_rows, n_features)."""
        total = np.zeros((len(x), self.n_outputs))
        for number, tree in enumerate(self.trees):
            values = tree.value[tree.leaves(x)]
            total[:, slice(None) if self.width > 1 else [number % self.n_outputs]] += values
        if self.link == "mean":
            total /= len(self.trees)
        return np.asarray(total + self.base)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return probabilities, shape (n_rows, n_classes), or values, shape (n_rows, n_outputs), float64."""
        raw = self.raw(x)
        if self.link == "sigmoid":
            return np.hstack([_sigmoid(-raw), _sigmoid(raw)])
        if self.link == "softmax":
            powers = np.exp(raw - raw.max(axis=1, keepdims=True))
            return np.asarray(powers / powers.sum(axis=1, keepdims=True))
        return np.exp(raw) if self.link == "exp" else raw

    def _problems(self) -> list[str]:
        if self.link not in LINKS:
            return [f"link must be one of {', '.join(LINKS)}, got {self.link!r}{did_you_mean(self.link, LINKS)}"]
        if not self.trees:
            return ["it has no trees"]
        problems = []
        if np.shape(self.base) != (self.n_outputs,):
            problems.append(f"base must have shape ({self.n_outputs},), got {np.shape(self.base)}")
        if self.link == "sigmoid" and self.n_outputs != 1:
            problems.append(f"the link sigmoid needs one output, got {self.n_outputs}")
        if self.width not in (1, self.n_outputs):
            problems.append(f"leaves must hold 1 or {self.n_outputs} values, got {self.width}")
        if self.width == 1 and len(self.trees) % self.n_outputs:
            problems.append(f"the number of trees, {len(self.trees)}, must be a multiple of {self.n_outputs} outputs")
        for number, tree in enumerate(self.trees):
            problems += [f"tree {number}: {what}" for what in self._tree_problems(tree)]
        return problems

    def _tree_problems(self, tree: Tree) -> list[str]:
        problems, inner = [], ~tree.is_leaf
        if tree.value.ndim != 2 or tree.value.shape[1] != self.width:
            problems.append(f"leaf values must have shape (n_nodes, {self.width}), got {tree.value.shape}")
        elif not np.isfinite(tree.value[tree.is_leaf]).all():
            problems.append("leaf values must be finite")
        if tree.threshold.dtype != np.float32 or np.isnan(tree.threshold[inner]).any():
            problems.append("thresholds must be float32 and not NaN")
        features = tree.feature[inner]
        if len(features) and not (features.min() >= 0 and features.max() < self.n_features):
            problems.append(f"features must lie in [0, {self.n_features - 1}]")
        children = np.sort(np.concatenate([tree.left[inner], tree.right[inner]]))
        if not np.array_equal(children, np.arange(1, len(tree.left))):
            problems.append("every node but the root must be the child of one node")
        return problems


def rounded_thresholds(thresholds: np.ndarray, *, strict: bool = False) -> np.ndarray:
    """Round thresholds so that float32 rows are divided exactly as by the float64 ones.

    Args:
        thresholds: float64, of comparisons `x <= threshold`.
        strict: For comparisons `x < threshold`; the result is for `x <= threshold` all the same.

    Returns:
        The largest float32 that goes left, for each.

    Example:
        >>> float(rounded_thresholds(np.array([0.1]))[0]) < 0.1
        True
        >>> rounded_thresholds(np.array([2.0]), strict=True)[0] < 2
        np.True_
    """
    exact = np.asarray(thresholds, np.float64)
    with np.errstate(over="ignore"):
        near = exact.astype(np.float32)
        below = np.nextafter(near, np.float32(-np.inf))
    too_large = near.astype(np.float64) >= exact if strict else near.astype(np.float64) > exact
    return np.where(too_large, below, near)


def _sigmoid(raw: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(-np.logaddexp(0, -raw)))
