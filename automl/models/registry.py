"""Families of models by name: from genes to fitted models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from automl.fitted import Fitted
from automl.lesson import Genes, Lesson
from compression.tabular.calibration import SMALLEST, Calibrated

__all__ = ["fit"]

SMALLEST_LADDER = 4
PARTS = 3  # of the training rows, for honest probabilities
MOST_ROWS = 20_000  # that probabilities are made honest with
RIDGE = 1.0
LIMITS = {"linear": 100_000, "bayes": 100_000, "discriminant": 100_000, "forest": 100_000, "extra": 100_000} | {
    "additive": 60_000, "perceptron": 200_000, "prototypes": 100_000
}  # fmt: skip
WHOLE = ("constant", "tree", "boosting", "oblivious", "ensemble")  # these hold few numbers a row, or limit themselves
MOST_CELLS, LEAST_ROWS = 10_000_000, 5_000


def fit(lesson: Lesson, genes: Genes) -> Iterator[Fitted]:
    """Train what genes say and yield it, in several sizes where one training gives them.

    Args:
        lesson: What to train on.
        genes: Of a candidate, all of them.
    """
    lesson = _limited(lesson, str(genes["family"]))
    found = FAMILIES[str(genes["family"])](lesson, genes)
    yield from _calibrated(found, lesson, genes) if genes.get("calibrate") else found


def _limited(lesson: Lesson, family: str) -> Lesson:
    """Return a lesson of so many rows, drawn at random, as a family can hold in memory."""
    columns = lesson.rows.x.shape[1] + lesson.rows.codes.shape[1]
    most = min(LIMITS.get(family, len(lesson.rows)), max(LEAST_ROWS, MOST_CELLS // columns))
    if len(lesson.rows) <= most or family in WHOLE:
        return lesson
    index = np.sort(lesson.rng().permutation(len(lesson.rows))[:most])
    return replace(lesson, rows=lesson.rows.take(index), targets=lesson.targets.take(index))


def _calibrated(found: Iterator[Fitted], lesson: Lesson, genes: Genes) -> Iterator[Fitted]:
    """Bend the probabilities so that they fit rows that the model was not trained on."""
    rng = lesson.rng()
    index = rng.permutation(len(lesson.rows))[:MOST_ROWS]
    parts = [index[number::PARTS] for number in range(PARTS)]
    inner = []
    for part in parts:
        if not lesson.goes_on():
            yield from found
            return
        rest = np.sort(np.setdiff1d(index, part))
        known = replace(lesson, rows=lesson.rows.take(rest), targets=lesson.targets.take(rest))
        inner.append(list(FAMILIES[str(genes["family"])](known, genes)))
    goal = lesson.targets.take(np.concatenate(parts))
    for place, fitted in enumerate(found):
        answers = [models[place].answer(lesson.rows.take(p)) for models, p in zip(inner, parts, strict=True)]
        slope, shift = _bending(np.concatenate(answers), goal.goal, goal.weight)
        yield _bent(fitted, Calibrated(fitted.model, slope, shift))


def _bent(fitted: Fitted, model: Calibrated) -> Fitted:
    return replace(fitted, model=model, answer=lambda rows: model.bent(fitted.answer(rows)))


def _bending(probabilities: np.ndarray, goal: np.ndarray, weight: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the slope and the shifts with the smallest log loss, near one and zero."""
    from scipy.optimize import minimize

    logs = np.log(np.maximum(probabilities, SMALLEST))

    def loss(now: np.ndarray) -> tuple[float, np.ndarray]:
        scores = now[0] * logs + now[1:]
        top = scores.max(axis=1, keepdims=True)
        total = np.log(np.exp(scores - top).sum(axis=1, keepdims=True)) + top
        away = weight[:, None] * (np.exp(scores - total) - goal)
        value = float((weight[:, None] * goal * (total - scores)).sum())
        value += 0.5 * RIDGE * (float((now[0] - 1) ** 2) + float((now[1:] ** 2).sum()))
        slope = np.concatenate([[(away * logs).sum()], away.sum(axis=0)])
        return value, slope + RIDGE * np.concatenate([[now[0] - 1], now[1:]])

    start = np.concatenate([[1.0], np.zeros(goal.shape[1])])
    bounds = [(0.05, 20.0)] + [(-10.0, 10.0)] * goal.shape[1]
    now = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return float(now[0]), np.asarray(now[1:])


def _constant(lesson: Lesson, genes: Genes) -> Iterator[Fitted]:
    from automl.models.constant import fit_constant

    return fit_constant(lesson, genes)


def _linear(lesson: Lesson, genes: Genes) -> Iterator[Fitted]:
    from automl.models.linear import fit_linear

    return fit_linear(lesson, genes)


def _tree(lesson: Lesson, genes: Genes) -> Iterator[Fitted]:
    from automl.models.single import fit_tree

    return fit_tree(lesson, genes)


def _forest(lesson: Lesson, genes: Genes) -> Iterator[Fitted]:
    from automl.models.single import fit_forest

    return fit_forest(lesson, genes, str(genes["family"]), SMALLEST_LADDER)


def _boosting(lesson: Lesson, genes: Genes) -> Iterator[Fitted]:
    from automl.models.boosting import fit_boosting

    return fit_boosting(lesson, genes, SMALLEST_LADDER)


def _oblivious(lesson: Lesson, genes: Genes) -> Iterator[Fitted]:
    from automl.models.oblivious import fit_oblivious

    return fit_oblivious(lesson, genes, SMALLEST_LADDER)


def _additive(lesson: Lesson, genes: Genes) -> Iterator[Fitted]:
    from automl.models.additive import fit_additive

    return fit_additive(lesson, genes)


def _bayes(lesson: Lesson, genes: Genes) -> Iterator[Fitted]:
    from automl.models.normal import fit_bayes

    return fit_bayes(lesson, genes)


def _discriminant(lesson: Lesson, genes: Genes) -> Iterator[Fitted]:
    from automl.models.normal import fit_discriminant

    return fit_discriminant(lesson, genes)


def _perceptron(lesson: Lesson, genes: Genes) -> Iterator[Fitted]:
    from automl.models.perceptron import fit_perceptron

    return fit_perceptron(lesson, genes)


def _prototypes(lesson: Lesson, genes: Genes) -> Iterator[Fitted]:
    from automl.models.prototypes import fit_prototypes

    return fit_prototypes(lesson, genes)


def _ensemble(lesson: Lesson, genes: Genes) -> Iterator[Fitted]:
    from automl.models.ensemble import fit_ensemble

    return fit_ensemble(lesson, genes)


FAMILIES: dict[str, Callable[[Lesson, Genes], Iterator[Fitted]]] = {
    "constant": _constant,
    "linear": _linear,
    "bayes": _bayes,
    "discriminant": _discriminant,
    "tree": _tree,
    "forest": _forest,
    "extra": _forest,
    "boosting": _boosting,
    "oblivious": _oblivious,
    "additive": _additive,
    "perceptron": _perceptron,
    "prototypes": _prototypes,
    "ensemble": _ensemble,
}
