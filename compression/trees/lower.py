"""Lowering tree ensembles to plain operators: the shortest of several forms that agrees with the trees."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from compression.graph import Graph
from compression.trees.check import check_trees
from compression.trees.descent import Descent, descend
from compression.trees.ensemble import Ensemble
from compression.trees.layouts import DUMMY, Missing, forest_of, heap, missing_of, pointers
from compression.trees.leaves import leaves_of
from compression.trees.splits import splits_of
from engine.errors import ArtifactError

__all__ = ["lower_ensemble", "lower_link", "pack_ensemble"]

PRICE_OF_SPEED = 1.05  # how much longer the file of a form with fewer operators a step may be


@final
@dataclass(frozen=True, eq=False)
class Form:
    """One way to write an ensemble.

    Args:
        ensemble: With the leaf values that will be written.
        missing: What missing values are taken for.
        descent: The way from rows to leaf values.
    """

    ensemble: Ensemble
    missing: Missing
    descent: Descent

    def write(self, graph: Graph, source: str, output: str | None = None, *, mirrored: bool = False) -> str:
        """Write it and return the name of the raw output, float32, shape (n_rows, n_outputs).

        Args:
            graph: Receives constants and nodes.
            source: Name of the rows.
            output: Name for the raw output.
            mirrored: Whether to put the negative output before the one output there is, for the two of a sigmoid.
        """
        rows = self.missing.write(graph, source, second=not self.descent.makes_all)
        values = descend(graph, rows, self.descent, mirrored=mirrored)
        return _summed(graph, self.ensemble, values, self._base, output, mirrored)

    @property
    def _base(self) -> np.ndarray:
        """What is added at the end: of the ensemble, and of the levels of its leaves."""
        base, low = np.array(self.ensemble.base, np.float64), self.descent.leaves.low
        if low is None:
            return base
        total = low.reshape(-1, self.ensemble.n_outputs).sum(axis=0)
        return np.asarray(base + (total / len(low) if self.ensemble.link == "mean" else total))

    def model(self, metadata: Mapping[str, object]) -> bytes:
        """Return a whole file."""
        graph = Graph()
        if self.ensemble.link in ("identity", "mean"):
            self.write(graph, "x", "y")
        elif self.ensemble.link == "sigmoid":
            graph.node("Sigmoid", self.write(graph, "x", mirrored=True), output="y")
        else:
            lower_link(graph, self.ensemble, self.write(graph, "x"), "y")
        width = 2 if self.ensemble.link == "sigmoid" else self.ensemble.n_outputs
        shapes = {"x": ("float32", (None, self.ensemble.n_features))}, {"y": ("float32", (None, width))}
        return graph.model(*shapes, metadata)


def pack_ensemble(
    ensemble: Ensemble, classes: Sequence[object] | None = None, *, leaves: str = "exact", x: np.ndarray | None = None
) -> bytes:
    """Return a file of an ensemble: the shortest form that agrees with it.

    Args:
        ensemble: The trees.
        classes: Names of the classes, in order of the outputs; None for regression.
        leaves: How to write leaf values, see `compression.trees.leaves.leaves_of`; all but `exact` change answers.
        x: Rows of the data for the parity check, float32, shape (n_rows, n_features).

    Returns:
        An ONNX file: `x`, float32, N x features, NaN for missing; `y`, float32, N x classes probabilities or N x 1
        values.

    Raises:
        ArtifactError: If no form agrees with the trees.
        ValueError: If there is no such way to write leaves.

    Example:
        >>> from sklearn.tree import DecisionTreeClassifier
        >>> from compression.trees.readers import read_ensemble
        >>> x, y = np.arange(8, dtype=np.float32).reshape(8, 1), np.arange(8) > 4
        >>> len(pack_ensemble(read_ensemble(DecisionTreeClassifier().fit(x, y)))) < 600
        True
    """
    metadata: dict[str, object] = {"task": "regression"} if classes is None else {"classes": list(map(str, classes))}
    return _best(ensemble, leaves, x).model(metadata)


def lower_ensemble(
    graph: Graph, ensemble: Ensemble, source: str, *, leaves: str = "exact", x: np.ndarray | None = None
) -> str:
    """Write an ensemble into a graph under construction, in the shortest form that agrees with it.

    Args:
        graph: Receives constants and nodes.
        ensemble: The trees.
        source: Name of the rows, float32, shape (n_rows, n_features); NaN for missing.
        leaves: As in `pack_ensemble`.
        x: As in `pack_ensemble`.

    Returns:
        Name of the raw output, float32, shape (n_rows, n_outputs): shares or values for the link `mean`, else sums for
        `lower_link`.

    Raises:
        ArtifactError: If no form agrees with the trees.
    """
    return _best(ensemble, leaves, x).write(graph, source)


def lower_link(graph: Graph, ensemble: Ensemble, raw: str, output: str | None = None) -> str:
    """Write the way from the raw output to probabilities or values; return its name, `raw` itself if there is none."""
    if ensemble.link == "sigmoid":
        both = graph.node("Mul", raw, graph.weights(np.array([-1, 1], np.float32)))
        return graph.node("Sigmoid", both, output=output)
    operator = {"softmax": "Softmax", "exp": "Exp"}.get(ensemble.link)
    return raw if operator is None else graph.node(operator, raw, output=output)


def _best(ensemble: Ensemble, leaves: str, x: np.ndarray | None) -> Form:
    """Return the form with the shortest file, or a quick one that is hardly longer, that passes the check."""
    problems = []
    forms = [(len(form.model({})) / (PRICE_OF_SPEED if form.descent.is_quick else 1), form)
             for form in _forms(ensemble, leaves)]  # fmt: skip
    for _, form in sorted(forms, key=lambda entry: entry[0]):
        try:
            check_trees(form.model({}), form.ensemble, x=x)
        except ArtifactError as error:
            problems.append(str(error))
        else:
            return form
    raise ArtifactError(problems[0])


def _forms(ensemble: Ensemble, mode: str) -> Iterator[Form]:
    missing = missing_of(ensemble)
    forest = forest_of(ensemble, missing)
    ends = np.flatnonzero(forest.is_leaf)
    leaves = leaves_of(ensemble, forest.value[ends], np.searchsorted(forest.roots, ends, side="right") - 1, mode)
    written = _with_values(ensemble, leaves.values())
    full = heap(forest)
    for layout in [pointers(forest), *([full] if full else [])]:
        order, entries = np.searchsorted(ends, layout.leaves), layout.inner
        if layout.bits is not None:  # number 0 stands for whatever is no leaf, or no comparison
            order, entries = np.concatenate([order[:1], order]), np.concatenate([[DUMMY], entries])
        is_dummy = entries == DUMMY
        feature = np.where(is_dummy, 0, forest.feature[entries])
        threshold = np.where(is_dummy, np.float32(np.nan), forest.threshold[entries])
        ordered = leaves.ordered(order)
        for splits in splits_of(feature, threshold, ensemble.n_features, is_opposite=missing.is_opposite):
            for is_expanded in [False, True] if full and layout.bits is not None else [False]:
                way = Descent(layout, splits, ordered, missing.operator, is_expanded)
                yield Form(written, missing, way)


def _with_values(ensemble: Ensemble, values: np.ndarray) -> Ensemble:
    """Return the ensemble with other leaf values, in order of the trees and their nodes."""
    trees, start = [], 0
    for tree in ensemble.trees:
        value = np.zeros(tree.value.shape)
        value[tree.is_leaf] = values[start : start + int(tree.is_leaf.sum())]
        start += int(tree.is_leaf.sum())
        trees.append(dataclasses.replace(tree, value=value))
    return dataclasses.replace(ensemble, trees=trees)


def _summed(graph: Graph, ensemble: Ensemble, values: str, base: np.ndarray, output: str | None, mirrored: bool) -> str:
    """Add up or average what the leaves say."""
    if ensemble.width < ensemble.n_outputs:
        values = graph.node("Reshape", values, graph.integers([-1, len(ensemble.trees) // ensemble.n_outputs,
                                                               ensemble.n_outputs]))  # fmt: skip
    base = np.concatenate([-base, base]) if mirrored else base
    rest: list[tuple[str, str]] = []
    if ensemble.link == "mean" and len(ensemble.trees) > 1:
        rest.append(("Div", graph.constant(len(ensemble.trees))))
    if base.any():
        rest.append(("Add", graph.weights(base.astype(np.float32))))
    raw = graph.node("ReduceSum", values, graph.integers([1]), output=None if rest else output, keepdims=0)
    for number, (operator, constant) in enumerate(rest, 1):
        raw = graph.node(operator, raw, constant, output=output if number == len(rest) else None)
    return raw
