"""Reading the trees of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compression.trees.ensemble import Ensemble, Tree, rounded_thresholds
from engine.errors import ArtifactError

__all__ = ["READERS"]

Reading = tuple[Ensemble, Callable[[np.ndarray], np.ndarray]]


def _read_tree(model: Any, takes_missing: bool) -> Reading:
    return _averaged(model, [model], takes_missing)


def _read_forest(model: Any, takes_missing: bool) -> Reading:
    return _averaged(model, model.estimators_, takes_missing)


def _averaged(model: Any, members: Any, takes_missing: bool) -> Reading:
    if model.n_outputs_ > 1:
        raise ArtifactError(f"{type(model).__name__} was trained on {model.n_outputs_} targets; one can be written.")
    is_classifier = hasattr(model, "classes_")
    trees = [_tree(member.tree_, is_classifier) for member in members]
    if np.asarray(members[0].tree_.threshold).dtype != np.float64:
        raise ArtifactError("The thresholds of scikit-learn's trees are expected to be float64.")
    width = len(model.classes_) if is_classifier else 1
    ensemble = Ensemble(trees, model.n_features_in_, width, np.zeros(width), "mean", takes_missing)
    return ensemble, _says(model)


def _read_boosting(model: Any, takes_missing: bool) -> Reading:
    """Gradient boosting: rows must not have missing values, so their direction is free."""
    del takes_missing
    n_features = model.n_features_in_
    if not (isinstance(model.init_, str) or type(model.init_).__name__.startswith("Dummy")):
        raise ArtifactError(
            f"{type(model).__name__} starts from {type(model.init_).__name__}, which is not a constant. Train it with "
            "init=None or init='zero'."
        )
    base = np.asarray(model._raw_predict_init(np.zeros((1, n_features), np.float32)), np.float64).reshape(-1)
    loss = type(model._loss).__name__
    factor = 2.0 if loss == "ExponentialLoss" else 1.0  # its probabilities are those of twice the raw output
    trees = [_tree(member.tree_, False, factor * model.learning_rate) for member in model.estimators_.ravel()]
    link = "identity"
    if hasattr(model, "classes_"):
        link = "softmax" if len(base) > 1 else "sigmoid"
    return Ensemble(trees, n_features, len(base), base * factor, link, False), _says(model)


def _read_histograms(model: Any, takes_missing: bool) -> Reading:
    if getattr(model, "_preprocessor", None) is not None:
        raise ArtifactError(
            f"{type(model).__name__} was trained with categorical columns, which cannot be written; give their "
            "codes as numbers (categorical_features=None)."
        )
    base = np.asarray(model._baseline_prediction, np.float64).reshape(-1)
    link_name = type(model._loss.link).__name__
    links = {"IdentityLink": "identity", "LogLink": "exp", "LogitLink": "sigmoid", "MultinomialLogit": "softmax"}
    if link_name not in links:
        raise ArtifactError(f"{type(model).__name__} has a loss with the link {link_name}, which is not known.")
    trees = [_histogram_tree(predictor.nodes) for row in model._predictors for predictor in row]
    return Ensemble(trees, model.n_features_in_, len(base), base, links[link_name], takes_missing), _says(model)


def _tree(tree: Any, is_classifier: bool, factor: float = 1.0) -> Tree:
    value = np.asarray(tree.value[:, 0, :], np.float64)
    value = value / value.sum(axis=1, keepdims=True) if is_classifier else factor * value
    left, right = np.asarray(tree.children_left, np.int64), np.asarray(tree.children_right, np.int64)
    threshold = np.where(left < 0, 0.0, tree.threshold)
    missing_left = np.asarray(tree.missing_go_to_left).astype(bool)
    return Tree(np.maximum(tree.feature, 0), rounded_thresholds(threshold), left, right, missing_left, value)


def _histogram_tree(nodes: np.ndarray) -> Tree:
    is_leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        nodes["feature_idx"],
        rounded_thresholds(np.where(is_leaf, 0.0, nodes["num_threshold"])),
        np.where(is_leaf, -1, nodes["left"].astype(np.int64)),
        np.where(is_leaf, -1, nodes["right"].astype(np.int64)),
        nodes["missing_go_to_left"].astype(bool),
        nodes["value"][:, None].astype(np.float64),
    )


def _says(model: Any) -> Callable[[np.ndarray], np.ndarray]:
    says: Callable[[np.ndarray], np.ndarray] = model.predict_proba if hasattr(model, "classes_") else model.predict
    return says


READERS: dict[str, Callable[[Any, bool], Reading]] = {
    **{
        f"sklearn.{name}{kind}": _read_tree
        for name in ("DecisionTree", "ExtraTree")
        for kind in ("Classifier", "Regressor")
    },
    **{
        f"sklearn.{name}{kind}": _read_forest
        for name in ("RandomForest", "ExtraTrees")
        for kind in ("Classifier", "Regressor")
    },
    **{f"sklearn.GradientBoosting{kind}": _read_boosting for kind in ("Classifier", "Regressor")},
    **{f"sklearn.HistGradientBoosting{kind}": _read_histograms for kind in ("Classifier", "Regressor")},
}
