"""Conditions worth choosing from: every path of a small boosted model, and every cut it makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rules.generators.binned import MISSING, Binned, Box

__all__ = ["boosted_pool"]

LEAST_LEAF = 5
LEAF_SHARE = 0.002
MONOTONE_METHOD = "intermediate"


def boosted_pool(
    data: Binned,
    targets: np.ndarray,
    weights: np.ndarray,
    *,
    depth: int,
    most: int,
    monotone: Mapping[str, int],
    seed: int,
    rounds: int = 60,
) -> list[Box]:
    """Return conditions from boosted trees, the most useful first.

    Args:
        data: Rows as codes.
        targets: float64, shape (n_rows, n_outputs): probabilities of the classes, or of the second of two; or values.
        weights: float64, shape (n_rows,).
        depth: Most columns in a condition.
        most: Number of conditions.
        monotone: Direction by column, 1 or -1, in which the model may move.
        seed: Of the boosting.
        rounds: Trees for each output.
    """
    import lightgbm

    if not len(data.columns):
        return []
    frame = data.codes.T.astype(np.float32)
    frame[data.codes.T == MISSING] = np.nan
    settings: dict[str, Any] = {
        "learning_rate": 0.15,
        "num_leaves": max(2, 2**depth),
        "max_depth": depth,
        "min_data_in_leaf": max(LEAST_LEAF, int(LEAF_SHARE * len(frame))),
        "min_data_in_bin": 1,
        "max_bin": 255,
        "cat_smooth": 5.0,
        "max_cat_to_onehot": 8,
        "feature_pre_filter": False,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed,
        "verbosity": -1,
    }
    directions = [monotone.get(column.name, 0) for column in data.columns]
    if any(directions):
        settings |= {"monotone_constraints": directions, "monotone_constraints_method": MONOTONE_METHOD}
    categorical = [place for place, column in enumerate(data.columns) if not column.is_numeric]
    y, settings = _objective(targets, settings)
    held = lightgbm.Dataset(frame, y, weight=weights, categorical_feature=categorical, free_raw_data=True)
    model = lightgbm.train(settings, held, num_boost_round=rounds)
    gains: dict[Box, float] = {}
    for tree in model.dump_model()["tree_info"]:
        for box, gain in _paths(tree["tree_structure"], Box()):
            made = data.simplified(box)
            if made is not None and made.sides:
                gains[made] = gains.get(made, 0.0) + gain
    ranked = sorted(gains, key=lambda box: (-gains[box], box.sides))
    return ranked[:most]


def _objective(targets: np.ndarray, settings: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    if targets.shape[1] > 1:
        count = targets.shape[1]
        return targets.argmax(axis=1), settings | {"objective": "multiclass", "num_class": count}
    y = targets[:, 0]
    is_share = bool(y.min() >= 0 and y.max() <= 1)
    return y, settings | {"objective": "cross_entropy" if is_share else "regression"}


def _paths(node: Mapping[str, Any], above: Box) -> Iterator[tuple[Box, float]]:
    """Yield each node below this one as the box of its rows, its own cut alone too, with the gain of the cut."""
    if "split_feature" not in node:
        return
    column, gain = int(node["split_feature"]), float(node["split_gain"])
    left = _left_codes(node)
    for bits, child in ((left, node["left_child"]), (~left & ((1 << 256) - 1), node["right_child"])):
        cut = Box.of({column: bits})
        yield cut, gain
        if above.sides:
            yield above & cut, gain
        yield from _paths(child, above & cut)


def _left_codes(node: Mapping[str, Any]) -> int:
    if node["decision_type"] == "==":
        codes: Sequence[int] = [int(text) for text in str(node["threshold"]).split("||")]
        return sum(1 << code for code in codes)
    highest = int(np.floor(np.clip(float(node["threshold"]), -1, MISSING - 2)))  # beyond all codes: NaN apart
    below = (1 << (highest + 1)) - 1
    return below | (1 << MISSING if node["default_left"] and node["missing_type"] != "None" else 0)
