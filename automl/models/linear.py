"""Linear and logistic regression with ridge, lasso or both."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from automl.fitted import Fitted, of_features
from automl.lesson import Genes, Lesson
from automl.preparation import Preparation, dense
from automl.solver import answers, fit_weights
from compression.dense import Dense, DenseModel

__all__ = ["dense_fitted", "fit_linear", "signs_of"]


def fit_linear(lesson: Lesson, genes: Genes) -> Iterator[Fitted]:
    """Yield the one model of these genes."""
    preparation = dense(lesson.table, lesson.rows, lesson.targets, genes)
    features = preparation.apply(lesson.rows)
    strength, mix = float(genes["linear.strength"]), str(genes["linear.norm"])
    share = {"ridge": 0.0, "elastic": 0.5, "lasso": 1.0}[mix]
    targets, unit = lesson.targets, 1.0 if lesson.targets.classes else float(lesson.targets.goal.std()) or 1.0
    weight, bias = fit_weights(
        features,
        targets.scores,
        targets.weight,
        targets.link,
        ridge=strength * (1 - share),
        lasso=strength * share * unit,
        signs=signs_of(lesson, preparation),
        goes_on=lesson.goes_on,
    )
    kept = np.flatnonzero(np.abs(weight).max(axis=1) > 0)
    if len(kept) and len(kept) < len(weight):
        preparation, weight = preparation.take(kept), weight[kept]
    yield dense_fitted(
        preparation,
        [(weight, bias, "identity")],
        lesson,
        coding=str(genes["coding"]),
        described=f"linear, {mix}, {len(weight)} features",
    )


def dense_fitted(
    preparation: Preparation,
    layers: list[tuple[np.ndarray, np.ndarray, str]],
    lesson: Lesson,
    *,
    coding: str,
    described: str,
) -> Fitted:
    """Return dense layers as a model: weight, bias and activation of each."""
    link = lesson.targets.link

    def answer(features: np.ndarray) -> np.ndarray:
        for weight, bias, activation in layers:
            features = ACTIVATIONS[activation](features @ weight + bias)
        return answers(features, link)

    model = DenseModel(tuple(Dense(*layer) for layer in layers), link)
    told = {"description": described, "parameters": sum(w.size + b.size for w, b, _ in layers)}
    return of_features(preparation, model, answer, coding=coding, told=told)


def signs_of(lesson: Lesson, preparation: Preparation) -> np.ndarray | None:
    """Return the sign that the weight of each feature must have; None where none must."""
    return lesson.signs[preparation.owners] if lesson.is_monotone else None


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda values: values,
    "relu": lambda values: np.maximum(values, 0),
    "tanh": np.tanh,
}
