"""Averages of two or three models of different families, as one file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from automl.fitted import Fitted
from automl.lesson import Genes, Lesson
from automl.recipes import RECIPES
from automl.space import fitting, tabular_space
from automl.table import Columns
from compression.dense import DENSE_CODINGS
from compression.tabular.mixtures import Average, Member
from compression.tabular.preprocessing import Chain
from engine.space import Value

__all__ = ["fit_ensemble"]


def fit_ensemble(lesson: Lesson, genes: Genes) -> Iterator[Fitted]:
    """Yield the weighted mean of what the members answer; each is trained by its recipe."""
    from automl.models.registry import fit

    names = [str(genes["ensemble.first"]), str(genes["ensemble.second"])]
    weights = [float(genes["ensemble.share"]), 1 - float(genes["ensemble.share"])]
    if genes["ensemble.third"] != "none":
        names, weights = [*names, str(genes["ensemble.third"])], [1 / 3] * 3
    shares: dict[str, float] = {}
    for name, weight in zip(names, weights, strict=True):
        shares[name] = shares.get(name, 0.0) + weight
    single = replace(lesson, sizes=(1.0,))
    members = [next(iter(fit(single, _genes(name, lesson)))) for name in shares]
    means = np.array(list(shares.values()))

    def answer(rows: Columns) -> np.ndarray:
        return np.asarray(sum(mean * member.answer(rows) for mean, member in zip(means, members, strict=True)))

    model = Average(tuple(Member(None, member.step, member.model) for member in members), means)
    bits = [DENSE_CODINGS.index(member.coding) for member in members]
    told = {
        "description": "mean of " + " and ".join(shares),
        "parameters": sum(int(member.told.get("parameters", 0)) for member in members),
    }
    yield Fitted(Chain(()), model, answer, DENSE_CODINGS[max(bits)], told)


def _genes(name: str, lesson: Lesson) -> dict[str, Value]:
    """Return the genes of a recipe for these data."""
    found = fitting(tabular_space((str(RECIPES[name]["family"]),), lesson.table.signature), RECIPES[name])
    if found is None:  # a model of classes alone, for values
        found = fitting(tabular_space(("linear",), lesson.table.signature), RECIPES["linear"])
    assert found is not None
    return found.genes
