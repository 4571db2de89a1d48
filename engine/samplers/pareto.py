"""The default: neighbours of the front, chosen by the hypervolume that they are expected to add."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from engine.objective import Problem
from engine.samplers.random import RandomSampler
from engine.space import Candidate, Choice, Space, Value
from engine.trial import State, Trial

__all__ = ["ParetoSampler"]

# Trials spread over cost before the search begins to learn. No share of the budget: a larger budget must resume a run.
FIRST_DESIGN = 10
SPREAD_POOL = 256  # draws of which the first design takes the one with the loneliest cost
POOL = 64  # candidates that are compared before one is proposed
RANDOM_SHARE = 0.15  # of the pool
CROSS_SHARE = 0.15  # of the pool
MAX_ROWS = 200  # trials that the surrogate is conditioned on
MAX_FIT_ROWS = 80  # trials that its scales are chosen on


@final
class ParetoSampler:
    """Spreads a first design over cost, then proposes the neighbour of the front with the largest expected gain.

    The gain is the closed-form expected hypervolume improvement over the staircase of the front in (log error, log
    cost), with the exact cost where the problem knows it and a predicted one elsewhere. A proposal is a pure function
    of the arguments; what the sampler keeps are memos of pure functions.

    Source: Emmerich et al. (2011), Hypervolume-based expected improvement; differs in that the cost is known, which
    leaves one sum over the steps of the front.
    """

    def __init__(self) -> None:
        self._history: _History | None = None
        self._random = RandomSampler()

    def propose(
        self, problem: Problem, trials: Sequence[Trial], pending: Sequence[Candidate], rng: np.random.Generator
    ) -> Candidate:
        """Return a candidate that builds a new model within the limit, as long as one can be found."""
        if self._history is None or self._history.problem is not problem:
            self._history = _History(problem)
        history = self._history
        past = [*(trial.candidate for trial in trials), *pending]
        known = {history.model(candidate).key for candidate in past}
        rows = history.rows(trials)
        n_started = sum(trial.is_paid for trial in trials) + len(pending)
        if n_started < FIRST_DESIGN or sum(row.is_point for row in rows) < 4:
            return _spread(history, past, known, rng) or self._random.propose(problem, trials, pending, rng)
        pool = _pool(history, rows, known, rng)
        if not pool:
            return self._random.propose(problem, trials, pending, rng)
        with _blas().limit(limits=1, user_api="blas"):
            return pool[_best(history, rows, pending, [model for _, model in pool])][0]


@dataclass(frozen=True)
class _Model:
    """What is known of a candidate without training."""

    key: str
    features: np.ndarray
    log_cost: float | None
    is_allowed: bool


@dataclass(frozen=True)
class _Row:
    """What a trial taught: of a file, or that there is none."""

    number: int
    candidate: Candidate
    error: float
    cost: float
    is_point: bool


@final
class _History:
    """Memos over the candidates of the past, and the encoding of a space."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.encode = _Encoding(problem.space)
        self._models: dict[str, _Model] = {}
        self._rows: dict[int, tuple[Trial, list[_Row]]] = {}

    def model(self, candidate: Candidate) -> _Model:
        """Return what is known of a candidate of the past."""
        if candidate.key not in self._models:
            self._models[candidate.key] = self.examine(candidate)
        return self._models[candidate.key]

    def examine(self, candidate: Candidate) -> _Model:
        """Return what is known of any candidate, without remembering it."""
        canonical = self.problem.canonical(candidate)
        cost = self.problem.exact_cost(canonical)
        log_cost = None if cost is None else _log(cost)
        return _Model(canonical.key, self.encode(canonical), log_cost, self.problem.allows(canonical))

    def rows(self, trials: Sequence[Trial]) -> list[_Row]:
        """Return every file within the limits and every failure, in order of number."""
        rows: list[_Row] = []
        for trial in trials:
            if trial.number not in self._rows or self._rows[trial.number][0] is not trial:
                self._rows[trial.number] = (trial, self._rows_of(trial))
            rows += self._rows[trial.number][1]
        return rows

    def _rows_of(self, trial: Trial) -> list[_Row]:
        rows = []
        if trial.state is State.COMPLETE:
            for point in trial.points:
                error, cost = point.values[self.problem.error.name], point.values[self.problem.cost.name]
                allowed = self.problem.error.allows(error) and self.problem.cost.allows(cost)
                if math.isfinite(error) and math.isfinite(cost):
                    rows.append(_Row(trial.number, point.candidate, error, _log(cost), allowed))
        if not rows and trial.state in (State.COMPLETE, State.FAILED):
            rows.append(_Row(trial.number, trial.candidate, math.inf, math.nan, False))
        return rows


@final
class _Encoding:
    """Candidates as vectors in which two options differ by 1, and a range spans 1."""

    def __init__(self, space: Space) -> None:
        self._slots: list[tuple[str, int, dict[str, int] | None]] = []
        self._space = space
        self.width = 0
        for name, domain in space.domains.items():
            places: dict[str, int] | None = None
            if isinstance(domain, Choice) and not domain.ordered:
                places = {repr(option): place for place, option in enumerate(domain.options)}
            self._slots.append((name, self.width, places))
            self.width += 1 if places is None else len(places)

    def __call__(self, candidate: Candidate) -> np.ndarray:
        vector = np.zeros(self.width)
        genes = candidate.genes
        for name, start, places in self._slots:
            if places is None:
                vector[start] = self._share(name, genes[name]) if name in genes else 0.5
            elif name in genes:
                vector[start + places[repr(genes[name])]] = math.sqrt(0.5)
        return vector

    def _share(self, name: str, value: Value) -> float:
        domain = self._space.domains[name]
        if isinstance(domain, Choice):
            return [repr(option) for option in domain.options].index(repr(value)) / max(1, len(domain.options) - 1)
        low, high, here = float(domain.low), float(domain.high), float(value)
        if domain.log:
            low, high, here = math.log(low), math.log(high), math.log(here)
        return (here - low) / (high - low) if high > low else 0.5


def _spread(
    history: _History, past: Sequence[Candidate], known: set[str], rng: np.random.Generator
) -> Candidate | None:
    """Return the random candidate whose cost lies farthest from every past one, or None if nothing is new."""
    drawn = []
    for _ in range(SPREAD_POOL):
        candidate = history.problem.space.sample(rng)
        model = history.examine(candidate)
        if model.is_allowed and model.key not in known:
            drawn.append((candidate, model.log_cost))
            if model.log_cost is None:
                return candidate
    if not drawn:
        return None
    exact = [history.model(candidate).log_cost for candidate in past]
    taken = np.array([cost for cost in exact if cost is not None])
    costs = np.array([cost for _, cost in drawn], float)
    if not len(taken):
        return drawn[int(np.argsort(costs, kind="stable")[len(costs) // 2])][0]
    return drawn[int(np.abs(costs[:, None] - taken).min(axis=1).argmax())][0]


def _pool(
    history: _History, rows: Sequence[_Row], known: set[str], rng: np.random.Generator
) -> list[tuple[Candidate, _Model]]:
    """Return distinct new candidates: neighbours of front members, children of two of them, random ones."""
    space, members = history.problem.space, _front(rows)
    weights = _attention(members)
    drawn: dict[str, tuple[Candidate, _Model]] = {}
    for _ in range(4 * POOL):
        kind, place = rng.random(), int(rng.choice(len(members), p=weights))
        parent = members[place].candidate
        if kind < RANDOM_SHARE:
            candidate = space.sample(rng)
        else:
            if kind < RANDOM_SHARE + CROSS_SHARE and len(members) > 1:
                beside = place + 1 if place + 1 < len(members) else place - 1
                parent = space.cross(parent, members[beside].candidate, rng)
            candidate = space.mutate(parent, rng, genes=1 + int(rng.choice(3, p=(0.5, 0.3, 0.2))))
        model = history.examine(candidate)
        if model.key not in known and model.key not in drawn and model.is_allowed:
            drawn[model.key] = (candidate, model)
            if len(drawn) == POOL:
                break
    return list(drawn.values())


def _front(rows: Sequence[_Row]) -> list[_Row]:
    """Return the non-dominated files in order of rising cost; of equal ones the oldest."""
    members: list[_Row] = []
    for row in sorted((row for row in rows if row.is_point), key=lambda row: (row.cost, row.error, row.number)):
        if not members or row.error < members[-1].error:
            members.append(row)
    return members


def _attention(members: Sequence[_Row]) -> np.ndarray:
    """Return the chance of each member to be a parent: a third each for all, for wide gaps, for recent ones."""
    costs = np.array([row.cost for row in members])
    gaps = np.diff(costs, prepend=costs[0], append=costs[-1])
    width = gaps[:-1] + gaps[1:]
    age = np.argsort(np.argsort([-row.number for row in members], kind="stable"), kind="stable")
    recency = 0.5 ** (age / max(1.0, len(members) / 4))
    parts = [np.ones(len(members)), width if width.sum() > 0 else np.ones(len(members)), recency]
    return np.asarray(sum(part / part.sum() for part in parts) / 3)


def _best(history: _History, rows: Sequence[_Row], pending: Sequence[Candidate], pool: Sequence[_Model]) -> int:
    """Return the place of the candidate with the largest expected gain in hypervolume."""
    points = [row for row in rows if row.is_point]
    floor = min([row.error for row in points if row.error > 0], default=1e-6) / 2
    worst = max(row.error for row in rows if math.isfinite(row.error))
    rows = _informative(rows)
    errors = np.log([min(worst, max(floor, row.error)) for row in rows])
    past = [history.model(row.candidate) for row in rows]
    waiting = [history.model(candidate) for candidate in pending]
    models = [*past, *waiting, *pool]
    features = np.stack([model.features for model in models])
    known = np.array([math.nan if model.log_cost is None else model.log_cost for model in models])
    n, m = len(past), len(past) + len(waiting)
    costs = _predicted_costs(rows, features, known) if np.isnan(known).any() else known
    scaled = (costs - costs.min()) / max(1e-9, float(np.ptp(costs)))
    surrogate = _Surrogate.fit(features[:n], scaled[:n], errors)
    if waiting:  # as if they had ended as predicted: the same region is not asked for twice
        believed, _ = surrogate.predict(features[n:m], scaled[n:m])
        surrogate = _conditioned(features[:m], scaled[:m], np.concatenate([errors, believed]), surrogate.scales)
    mean, spread = surrogate.predict(features[m:], scaled[m:])
    end = float(costs.max()) + 0.05 * max(0.1, float(np.ptp(costs)))
    gain = _expected_gain(_front(points), floor, end, costs[m:], mean, spread)
    failed = np.array([float(math.isinf(row.error)) for row in rows])
    if failed.any():  # what fails is bad and also likely to fail again, however little is known beside it
        chance, _ = _Surrogate.fit(features[:n], scaled[:n], failed).predict(features[m:], scaled[m:])
        gain = gain * np.clip(1.0 - chance, 0.001, 1.0)
    limit = history.problem.cost.limit
    gain = gain if limit is None else np.where(costs[m:] <= _log(limit), gain, 0.0)
    # Rounded, so that the last bits of a matrix product never decide between equals.
    return int(np.argmax(np.round(np.log(np.maximum(gain, 1e-300)), 6)))


def _log(cost: float) -> float:
    return math.log(max(cost, 1e-9))


def _informative(rows: Sequence[_Row]) -> list[_Row]:
    """Return at most MAX_ROWS: two thirds nearest to the front, the others evenly from the rest."""
    if len(rows) <= MAX_ROWS:
        return list(rows)
    front = _front(rows)
    costs, errors = [row.cost for row in front], [row.error for row in front]
    steps = np.searchsorted(costs, [row.cost for row in rows], side="right") - 1
    gaps = [row.error / max(1e-12, errors[max(0, step)]) for row, step in zip(rows, steps, strict=True)]
    order = np.argsort(gaps, kind="stable")
    near, far = order[: 2 * MAX_ROWS // 3], order[2 * MAX_ROWS // 3 :]
    chosen = [*near, *far[np.linspace(0, len(far) - 1, MAX_ROWS - len(near)).astype(int)]]
    return [rows[place] for place in sorted(chosen)]


def _predicted_costs(rows: Sequence[_Row], features: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return log costs: measured or exact ones where there are any, predicted ones elsewhere."""
    costs = known.copy()
    measured = np.array([row.cost for row in rows])
    costs[: len(rows)] = np.where(np.isnan(measured), costs[: len(rows)], measured)
    seen = ~np.isnan(costs)
    nothing = np.zeros(len(costs))
    surrogate = _Surrogate.fit(features[seen], nothing[seen], costs[seen])
    predicted, _ = surrogate.predict(features, nothing)
    return np.where(seen, costs, predicted)


def _expected_gain(
    front: Sequence[_Row], floor: float, end: float, costs: np.ndarray, mean: np.ndarray, spread: np.ndarray
) -> np.ndarray:
    """Return the expected growth of the area above the staircase, in (log error, log cost), of each candidate.

    A step of the front is an interval of cost with the least error that is known there; a candidate gains on the part
    of each step that lies right of its own cost, as much as its error is expected to lie below.
    """
    errors = np.log([max(floor, row.error) for row in front])
    reference = float(errors.max()) + 0.1 * max(0.1, float(np.ptp(errors)))
    best = np.concatenate([[reference], errors])
    starts = np.array([-math.inf] + [row.cost for row in front])
    ends = np.append(starts[1:], end)
    widths = np.maximum(0.0, ends - np.maximum(starts, costs[:, None]))
    z = (best - mean[:, None]) / spread[:, None]
    below = np.reshape([0.5 * math.erfc(-value / math.sqrt(2)) for value in z.ravel().tolist()], z.shape)
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    improvement = np.maximum(0.0, spread[:, None] * (z * below + density))
    return np.asarray((widths * improvement).sum(axis=1))


@functools.cache
def _blas() -> ThreadpoolController:
    # Beside busy workers, threads that wait for each other make a small product a hundred times slower; and with one
    # thread a proposal is the same whatever the number of cores.
    return ThreadpoolController()


@dataclass(frozen=True)
class _Surrogate:
    """A Gaussian process with a Matérn kernel over genes and cost; scales by likelihood from a small grid."""

    features: np.ndarray
    costs: np.ndarray
    scales: tuple[float, float, float]  # squared length, weight of cost, share of noise
    center: float
    scale: float
    factor: np.ndarray
    targets: np.ndarray

    @staticmethod
    def fit(features: np.ndarray, costs: np.ndarray, values: np.ndarray) -> _Surrogate:
        """Choose the scales on at most MAX_FIT_ROWS rows, then condition on all."""
        rows = np.linspace(0, len(values) - 1, min(len(values), MAX_FIT_ROWS)).astype(int)
        apart, along = _distances(features[rows], features[rows]), _distances(costs[rows, None], costs[rows, None])
        targets = (values[rows] - values[rows].mean()) / max(1e-9, float(values[rows].std()))
        typical = max(1e-9, float(np.mean(apart)))
        best, chosen = -math.inf, (typical, 0.0, 0.1)
        for length in (0.3 * typical, typical, 3 * typical, 10 * typical):
            for weight in (0.0, 2.0, 10.0) if along.any() else (0.0,):
                kernel = _matern(apart / length + weight * along)
                for noise in (0.003, 0.03, 0.2):
                    likelihood = _likelihood(kernel, noise, targets)
                    if likelihood > best + 1e-6:
                        best, chosen = likelihood, (length, weight, noise)
        return _conditioned(features, costs, values, chosen)

    def predict(self, features: np.ndarray, costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of the value of each row, without noise."""
        length, weight, _ = self.scales
        apart, along = _distances(features, self.features), _distances(costs[:, None], self.costs[:, None])
        kernel = _matern(apart / length + weight * along)
        solved = np.linalg.solve(self.factor, kernel.T)
        mean = solved.T @ self.targets
        variance = np.maximum(1e-6, 1.0 - (solved**2).sum(axis=0))
        signal = max(1e-3, float(np.sqrt((self.targets**2).mean())))
        return self.center + self.scale * mean, self.scale * signal * np.sqrt(variance)


def _conditioned(
    features: np.ndarray, costs: np.ndarray, values: np.ndarray, scales: tuple[float, float, float]
) -> _Surrogate:
    length, weight, noise = scales
    center, scale = float(values.mean()), max(1e-9, float(values.std()))
    apart, along = _distances(features, features), _distances(costs[:, None], costs[:, None])
    factor = np.linalg.cholesky(_matern(apart / length + weight * along) + noise * np.eye(len(values)))
    targets = np.linalg.solve(factor, (values - center) / scale)
    return _Surrogate(features, costs, scales, center, scale, factor, targets)


def _likelihood(kernel: np.ndarray, noise: float, targets: np.ndarray) -> float:
    """Return the log marginal likelihood, up to a constant, with the signal's variance at its best."""
    factor = np.linalg.cholesky(kernel + noise * np.eye(len(targets)))
    solved = np.linalg.solve(factor, targets)
    return float(-0.5 * len(targets) * np.log((solved**2).mean() + 1e-12) - np.log(np.diag(factor)).sum())


def _distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the squared distance of each pair of rows."""
    squared = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1) - 2 * first @ second.T
    return np.asarray(np.maximum(0.0, squared))


def _matern(squared: np.ndarray) -> np.ndarray:
    """Return the Matérn 5/2 kernel of squared scaled distances."""
    root = np.sqrt(5.0 * squared)
    return np.asarray((1.0 + root + root**2 / 3.0) * np.exp(-root))
