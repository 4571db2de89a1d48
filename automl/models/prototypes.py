"""Prototypes: a row is judged by how near it is to a few stored ones."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np

from automl.fitted import Fitted, of_features
from automl.lesson import Genes, Lesson
from automl.preparation import dense
from automl.solver import answers, fit_weights
from compression.dense import Dense
from compression.tabular.kernels import KernelModel

__all__ = ["fit_prototypes"]

CLUSTERED_ROWS = 10_000
MOST_ROWS = 30_000  # that the weights are fitted on


def fit_prototypes(lesson: Lesson, genes: Genes) -> Iterator[Fitted]:
    """Yield condensed neighbours: the centres of clusters, and a weighted sum of Gaussian bells around them.

    Source: Broomhead and Lowe, Multivariable functional interpolation and adaptive networks, 1988; centres by k-means.
    """
    from sklearn.cluster import KMeans

    preparation = dense(lesson.table, lesson.rows, lesson.targets, genes)
    rng = lesson.rng()
    index = np.sort(rng.permutation(len(lesson.rows))[:MOST_ROWS])
    features, targets = preparation.apply(lesson.rows.take(index)), lesson.targets.take(index)
    few = (
        features[:CLUSTERED_ROWS]
        if len(features) <= CLUSTERED_ROWS
        else features[rng.permutation(len(features))[:CLUSTERED_ROWS]]
    )
    count = max(1, min(lesson.effort(int(genes["prototypes.count"])), len(np.unique(few, axis=0)), len(few) // 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer clusters than asked for are fine
        clusters = KMeans(count, n_init=1, max_iter=50, random_state=lesson.seed % 2**31).fit(few)
    centres = np.asarray(clusters.cluster_centers_, np.float64)
    gamma = 1.0 / (float(genes["prototypes.reach"]) ** 2 * max(float(features.var(axis=0).sum()), 1e-9))

    def bells(values: np.ndarray) -> np.ndarray:
        lengths = (values**2).sum(axis=1)[:, None] - 2 * values @ centres.T + (centres**2).sum(axis=1)
        return np.asarray(np.exp(-gamma * np.maximum(lengths, 0)))

    weight, bias = fit_weights(
        bells(features),
        targets.scores,
        targets.weight,
        targets.link,
        ridge=float(genes["prototypes.ridge"]),
        goes_on=lesson.goes_on,
    )
    model = KernelModel(centres, Dense(weight, bias), "rbf", gamma, 0.0, 0.0, targets.link)
    told = {
        "description": f"{len(centres)} prototypes, {centres.shape[1]} features",
        "parameters": centres.size + weight.size + bias.size,
    }
    yield of_features(
        preparation,
        model,
        lambda values: answers(bells(values) @ weight + bias, targets.link),
        coding=str(genes["coding"]),
        told=told,
    )
