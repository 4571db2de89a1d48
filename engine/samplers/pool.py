"""Candidates that are compared before one is proposed: spread ones, neighbours of the front, random ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from engine.samplers.history import History, Model, Rows
from engine.space import Candidate

__all__ = ["Draw", "neighbours", "pool", "spread"]

RANDOM_SHARE = 0.15  # of the pool
CROSS_SHARE = 0.15  # of the pool
STEPS = (0.5, 0.3, 0.2)  # chance to change one, two, three genes
Fits = Callable[[Model], bool]  # whether a candidate may be compared

TRIES = 4  # draws for each place in the pool, before a space counts as nearly used up


@final
@dataclass(frozen=True)
class Draw:
    """A new candidate, and what is known of it."""

    candidate: Candidate
    model: Model


def spread(
    history: History, taken: np.ndarray, known: set[Candidate], rng: np.random.Generator, size: int
) -> Candidate | None:
    """Return the new candidate whose log cost lies farthest from all taken, or None if nothing is new.

    As long as the portfolio holds new ones, it is one of them, then one of `size` random ones.
    """
    problem = history.problem
    drawn = _new(history, problem.portfolio, known) or _new(
        history, [problem.space.sample(rng) for _ in range(size)], known
    )
    if not drawn:
        return None
    if np.isnan([draw.model.log_cost for draw in drawn]).any():
        return drawn[0].candidate
    costs = np.array([draw.model.log_cost for draw in drawn])
    taken = taken[~np.isnan(taken)]
    if not len(taken):
        return drawn[int(np.argsort(costs, kind="stable")[len(costs) // 2])].candidate
    return drawn[int(np.abs(costs[:, None] - taken).min(axis=1).argmax())].candidate


def _new(history: History, candidates: Sequence[Candidate], known: set[Candidate]) -> list[Draw]:
    draws = [Draw(candidate, history.examine(candidate)) for candidate in candidates]
    return [draw for draw in draws if draw.model.is_allowed and draw.model.canonical not in known]


def pool(
    history: History, rows: Rows, known: set[Candidate], rng: np.random.Generator, size: int, fits: Fits
) -> list[Draw]:
    """Return distinct new candidates that fit: neighbours of front members, children of two of them, random ones."""
    space = history.problem.space
    front = rows.front
    members = [rows.candidates[place] for place in front.tolist()]
    weights = _attention(rows.costs[front], rows.numbers[front])

    n = TRIES * size  # drawn at once: one call a candidate would take longer than all the rest
    kinds, places = rng.random(n).tolist(), rng.choice(len(members), size=n, p=weights).tolist()
    changes = rng.choice(range(1, len(STEPS) + 1), size=n, p=STEPS).tolist()

    def draw(number: int) -> Candidate:
        kind, place = kinds[number], places[number]
        if kind < RANDOM_SHARE:
            return space.sample(rng)
        parent = members[place]
        if kind < RANDOM_SHARE + CROSS_SHARE and len(members) > 1:
            beside = place + 1 if place + 1 < len(members) else place - 1
            parent = space.cross(parent, members[beside], rng)
        return space.mutate(parent, rng, genes=changes[number])

    return list(_distinct(history, draw, known, size, fits))


def neighbours(
    history: History,
    parents: Sequence[Candidate],
    known: set[Candidate],
    rng: np.random.Generator,
    size: int,
    fits: Fits,
) -> list[Draw]:
    """Return distinct new candidates that fit and differ from one of the parents in one gene."""
    space = history.problem.space

    def draw(number: int) -> Candidate:
        return space.mutate(parents[number % len(parents)], rng, genes=1)

    return list(_distinct(history, draw, known, size, fits))


def _distinct(
    history: History, draw: Callable[[int], Candidate], known: set[Candidate], size: int, fits: Fits
) -> Iterator[Draw]:
    drawn: set[Candidate] = set()
    for number in range(TRIES * size):
        if len(drawn) == size:
            return
        candidate = draw(number)
        model = history.examine(candidate)
        if model.canonical not in known and model.canonical not in drawn and fits(model):
            drawn.add(model.canonical)
            yield Draw(candidate, model)


def _attention(costs: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return the chance of each front member to be a parent: a third each for all, for wide gaps, for recent ones."""
    gaps = np.diff(costs, prepend=costs[0], append=costs[-1])
    width = gaps[:-1] + gaps[1:]
    age = np.argsort(np.argsort(-numbers, kind="stable"), kind="stable")
    recency = 0.5 ** (age / max(1.0, len(costs) / 4))
    parts = [np.ones(len(costs)), width if width.sum() > 0 else np.ones(len(costs)), recency]
    return np.asarray(sum(part / part.sum() for part in parts) / 3)
