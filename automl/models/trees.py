"""What all families of trees share: categories regrouped, columns left out, leaves on levels, the finished model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from automl.compaction import on_levels, used_columns, with_columns
from automl.fitted import Fitted, of_features
from automl.parts import Codes, Part
from automl.preparation import Preparation
from compression.tabular.calibration import TwoShares
from compression.tabular.estimators import TreeModel
from compression.trees.ensemble import Ensemble

__all__ = ["finished", "regrouped"]

KEPT_WHOLE = 64  # numeric columns up to which all of them are compared
TEXT_COST = 4  # bytes of a text in a file beyond its letters


def finished(
    ensemble: Ensemble,
    preparation: Preparation,
    *,
    n_classes: int,
    leaves: str,
    told: Mapping[str, Any],
    genes: Mapping[str, Any] | None = None,
) -> Fitted:
    """Return the model of an ensemble as it will be written.

    Args:
        ensemble: Compacted.
        preparation: What it was trained on.
        n_classes: Of the target; 0 for values.
        leaves: How leaf values are written, see `compression.trees.leaves.leaves_of`.
        told: For the card.
        genes: See `Fitted`.
    """
    preparation, ensemble = regrouped(preparation, ensemble)
    used = used_columns(ensemble)
    n_flat = sum(len(part.owners) for part in preparation.parts if not part.is_text)
    if any(part.is_text for part in preparation.parts) and len(used):
        if (used >= n_flat).any():  # all numbers stay: to choose some of them costs more than it saves
            used = np.union1d(used, np.arange(n_flat)) if n_flat <= KEPT_WHOLE else used
        else:
            used = np.arange(n_flat)
        preparation, ensemble = preparation.take(used), with_columns(ensemble, used)
    written = on_levels(ensemble, leaves)
    is_share = ensemble.link == "mean" and ensemble.n_outputs == 1 and n_classes == 2

    def answer(features: np.ndarray) -> np.ndarray:
        found = written.predict(features.astype(np.float32))
        return np.concatenate([1 - found, found], axis=1) if is_share else found

    model = TreeModel(ensemble, leaves)
    told = {"parameters": ensemble.n_splits + sum(int(tree.is_leaf.sum()) for tree in ensemble.trees), **told}
    return of_features(preparation, TwoShares(model) if is_share else model, answer, told=told, genes=genes)


def regrouped(preparation: Preparation, ensemble: Ensemble) -> tuple[Preparation, Ensemble]:
    """Give categories that no split tells apart one number, and the group with the longest texts that of unknown ones.

    Texts of that group need not be in the file. It changes answers for categories that training rows did not have, and
    for no others: where rare ones were trained on, unknown ones stay with them.
    """
    parts: list[Part] = []
    begin = 0
    trees = list(ensemble.trees)
    for part in preparation.parts:
        if isinstance(part, Codes):
            values = []
            for place in range(len(part.columns)):
                feature = begin + place
                limits = _limits(trees, feature)
                groups = np.searchsorted(limits, part.values[place], side="left").astype(np.float64)
                if not part.has_rest[place]:
                    groups = _with_cheap_rest(groups, part.vocabularies[place], part.values[place])
                values.append(groups)
                trees = [_renumbered(tree, feature, limits) for tree in trees]
            part = replace(part, values=tuple(values))
        parts.append(part)
        begin += len(part.owners)
    return Preparation(tuple(parts), preparation.n_numeric), replace(ensemble, trees=trees)


def _limits(trees: list[Any], feature: int) -> np.ndarray:
    found = [tree.threshold[~tree.is_leaf & (tree.feature == feature)] for tree in trees]
    return np.unique(np.concatenate(found)).astype(np.float64)


def _with_cheap_rest(groups: np.ndarray, vocabulary: tuple[str, ...], values: np.ndarray) -> np.ndarray:
    """Move the number of unknown texts to the group whose texts take the most room."""
    known = values[:-1] != values[-1]
    cost = np.zeros(int(groups.max()) + 1)
    for place in np.flatnonzero(known).tolist():
        cost[int(groups[place])] += len(vocabulary[place].encode()) + TEXT_COST
    if not cost.any():
        return groups
    return np.where(np.append(known, False), groups, float(cost.argmax()))


def _renumbered(tree: Any, feature: int, limits: np.ndarray) -> Any:
    """Compare with the numbers of groups: value <= limit k exactly where its group is at most k."""
    own = ~tree.is_leaf & (tree.feature == feature)
    if not own.any():
        return tree
    threshold = tree.threshold.copy()
    threshold[own] = np.searchsorted(limits, tree.threshold[own].astype(np.float64)).astype(np.float32)
    return replace(tree, threshold=threshold)
