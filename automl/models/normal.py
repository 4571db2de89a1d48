"""Classes as normal distributions: naive Bayes, and linear and quadratic discriminant analysis."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from automl.fitted import Fitted, of_features
from automl.lesson import Genes, Lesson
from automl.models.linear import dense_fitted
from automl.preparation import dense
from automl.solver import answers
from compression.tabular.linear import GaussianClasses, QuadraticClasses

__all__ = ["fit_bayes", "fit_discriminant"]

LEAST_VARIANCE = 1e-9
TINY = 1e-3  # of the mean variance, added to every direction


def fit_bayes(lesson: Lesson, genes: Genes) -> Iterator[Fitted]:
    """Yield Gaussian naive Bayes."""
    preparation = dense(lesson.table, lesson.rows, lesson.targets, genes)
    features = preparation.apply(lesson.rows)
    mass, mean, prior = _moments(lesson, features)
    square = mass.T @ features**2 / mass.sum(axis=0)[:, None]
    variance = np.maximum(square - mean**2, 0) + float(genes["bayes.smoothing"]) * features.var(axis=0).max()
    variance = np.maximum(variance, LEAST_VARIANCE)

    def answer(values: np.ndarray) -> np.ndarray:
        away = ((values[:, None, :] - mean) ** 2 / (2 * variance)).sum(axis=2)
        return answers(np.log(prior) - 0.5 * np.log(variance).sum(axis=1) - away, "softmax")

    coding = "float16" if genes["coding"] != "float32" else "float32"
    told = {"description": f"naive Bayes, {mean.shape[1]} features", "parameters": mean.size * 2 + len(prior)}
    yield of_features(preparation, GaussianClasses(mean, variance, prior), answer, coding=coding, told=told)


def fit_discriminant(lesson: Lesson, genes: Genes) -> Iterator[Fitted]:
    """Yield linear or quadratic discriminant analysis, covariances shrunk.

    Source: Friedman, Regularized discriminant analysis, 1989: the shrinkage is towards the pooled covariance for
    quadratic analysis, and towards its diagonal for linear analysis.
    """
    preparation = dense(lesson.table, lesson.rows, lesson.targets, genes)
    features, shrinkage = preparation.apply(lesson.rows), float(genes["discriminant.shrinkage"])
    mass, mean, prior = _moments(lesson, features)
    own = [_covariance(features - centre, weight) for centre, weight in zip(mean, mass.T, strict=True)]
    pooled = np.einsum("k,kij->ij", prior, np.stack(own))
    diagonal = np.diag(np.diag(pooled))
    floor = TINY * max(float(np.trace(pooled)) / len(pooled), LEAST_VARIANCE) * np.eye(len(pooled))
    if genes["discriminant.kind"] == "linear":
        inverse = np.linalg.pinv((1 - shrinkage) * pooled + shrinkage * diagonal + floor, hermitian=True)
        weight = inverse @ mean.T
        bias = np.log(prior) - 0.5 * np.einsum("kd,dk->k", mean, weight)
        if len(prior) == 2:
            weight, bias = weight[:, 1:] - weight[:, :1], bias[1:] - bias[:1]
        described = f"linear discriminant analysis, {len(weight)} features"
        layer = [(weight, bias, "identity")]
        yield dense_fitted(preparation, layer, lesson, coding=str(genes["coding"]), described=described)
        return
    projections, biases, constants = [], [], []
    for centre, covariance, share in zip(mean, own, prior, strict=True):
        values, directions = np.linalg.eigh((1 - shrinkage) * covariance + shrinkage * pooled + floor)
        values = np.maximum(values, float(floor[0, 0]))
        projection = directions / np.sqrt(2 * values)
        projections.append(projection)
        biases.append(-centre @ projection)
        constants.append(np.log(share) - 0.5 * np.log(values).sum())
    model = QuadraticClasses(np.concatenate(projections, axis=1), np.concatenate(biases), np.array(constants))

    def answer(values: np.ndarray) -> np.ndarray:
        squares = (values @ model.projection + model.bias) ** 2
        return answers(model.constant - squares.reshape(len(values), len(prior), -1).sum(axis=2), "softmax")

    told = {
        "description": f"quadratic discriminant analysis, {mean.shape[1]} features",
        "parameters": model.projection.size + model.bias.size + len(prior),
    }
    yield of_features(preparation, model, answer, coding=str(genes["coding"]), told=told)


def _moments(lesson: Lesson, features: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows of each class, shape (n_rows, n_classes), means and shares; no class is quite without rows."""
    mass = lesson.targets.weight[:, None] * lesson.targets.goal
    overall = features.mean(axis=0)
    total = mass.sum(axis=0)
    mean = np.where(total[:, None] > 0, mass.T @ features / np.maximum(total, LEAST_VARIANCE)[:, None], overall)
    prior = (total + 0.5) / (total + 0.5).sum()
    return np.where(total > 0, mass, LEAST_VARIANCE), mean, prior


def _covariance(away: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return np.asarray((away * weight[:, None]).T @ away / weight.sum())
