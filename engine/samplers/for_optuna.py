"""The Pareto sampler as one of Optuna's: for anybody's study, with or without exact sizes."""

from __future__ import annotations

import functools
import math
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.search_space import intersection_search_space
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from engine.errors import SettingsError, SpaceError
from engine.objective import Objective, Problem
from engine.samplers.optuna import distributions_of
from engine.samplers.pareto import ParetoSampler
from engine.space import Candidate, Choice, Domain, Float, Int, Space, Value
from engine.trial import Point, State, Trial

__all__ = ["OptunaParetoSampler"]

ERROR, COST = "error", "cost"  # names of the two axes inside


@final
class OptunaParetoSampler(BaseSampler):  # type: ignore[misc]  # Optuna brings no types that are read here
    """Proposes what `ParetoSampler` proposes, in any Optuna study with one or two objectives.

    The first objective is an error, the second a cost. Either may be maximised; a trial that fails is learned from, one
    that is running counts as if it had ended as predicted. What a proposal is depends on the seed, the number of the
    trial and the trials before it alone.

    Args:
        space: Names, ranges and conditions of all parameters. Without it they are taken from the trials so far, as
            far as all of those share them, and conditions are not known.
        canonical: Representative of all candidates of `space` that give the same result; no two of them are tried.
        size: Exact cost of a candidate before it is tried, or None where only a trial can tell.
        max_size: Largest cost allowed: never proposed above it where `size` tells, learned from the second objective
            elsewhere.
        seed: Of all randomness; without it every sampler made is another one.

    Raises:
        SettingsError: If `canonical` or `size` are given without `space`; from a study with more than two objectives.

    Example:
        >>> import optuna
        >>> optuna.logging.set_verbosity(optuna.logging.ERROR)
        >>> space = Space({"width": Int(1, 64, log=True), "kind": Choice(("a", "b"))})
        >>> sampler = OptunaParetoSampler(space, size=lambda candidate: float(candidate["width"]), max_size=32, seed=0)
        >>> def objective(trial):
        ...     width, kind = trial.suggest_int("width", 1, 64, log=True), trial.suggest_categorical("kind", ["a", "b"])
        ...     return 1 / width + (kind == "a"), width
        >>> study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
        >>> study.optimize(objective, n_trials=20)
        >>> max(trial.params["width"] for trial in study.trials) <= 32
        True
    """

    def __init__(
        self,
        space: Space | None = None,
        *,
        canonical: Callable[[Candidate], Candidate] | None = None,
        size: Callable[[Candidate], float | None] | None = None,
        max_size: float | None = None,
        seed: int | None = None,
    ) -> None:
        given = [name for name, value in (("canonical", canonical), ("size", size)) if value is not None]
        if space is None and given:
            raise SettingsError(f"{' and '.join(given)} are asked about candidates of a space: give space= too.")
        self._space, self._max_size = space, max_size
        self._canonical, self._size = canonical or _itself, size or _unknown
        self._seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self._pareto = ParetoSampler()
        self._view: _View | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pareto": ParetoSampler(), "_view": None}  # studies are resumed with pickled samplers

    def infer_relative_search_space(
        self,
        study: Study,
        trial: FrozenTrial,  # noqa: ARG002 - Optuna's signature
    ) -> dict[str, BaseDistribution]:
        """Return the distributions of all parameters that are proposed together."""
        if len(study.directions) > 2:
            raise SettingsError(
                f"OptunaParetoSampler searches for one error, or for an error and a cost; the study has "
                f"{len(study.directions)} objectives. Leave one out, or give it as max_size=."
            )
        if self._space is not None:  # of every gene: the value plays no part
            return distributions_of(self._space, Candidate.of(dict.fromkeys(self._space.domains, 0)))
        return intersection_search_space(study.get_trials(deepcopy=False))  # type: ignore[no-any-return]

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return a proposal for these parameters; those whose condition does not hold are left out."""
        if not search_space:
            return {}
        view = self._view
        if view is None or view.distributions != search_space or len(study.directions) != view.n_objectives:
            view = self._view = self._look(search_space, len(study.directions))
        trials, pending = view.read(study.get_trials(deepcopy=False), study.directions, trial.number)
        rng = np.random.default_rng([self._seed, trial.number])
        return view.parameters(self._pareto.propose(view.problem, trials, pending, rng))

    def sample_independent(
        self,
        study: Study,  # noqa: ARG002 - Optuna's signature
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return a random value of a parameter that is not proposed together with others."""
        scale = _Scale.of(param_distribution)
        rng = np.random.default_rng([self._seed, trial.number, zlib.crc32(param_name.encode())])
        return scale.value(scale.domain.sample(rng))

    def _look(self, search_space: Mapping[str, BaseDistribution], n_objectives: int) -> _View:
        scales = {} if self._space is not None else {name: _Scale.of(found) for name, found in search_space.items()}
        space = self._space or Space({name: scale.domain for name, scale in scales.items()})
        error, budget = Objective(ERROR), sys.maxsize
        if n_objectives == 2:
            problem = Problem(space, error, Objective(COST, "", self._max_size), self._canonical, self._size, budget)
        else:
            limits = ((Objective("size", "", self._max_size), self._size),)
            problem = Problem(space, error, Objective(COST), self._canonical, _equal, budget, limits)
        return _View(problem, dict(search_space), scales, n_objectives)


@final
@dataclass(frozen=True)
class _View:
    """An Optuna study as the Pareto sampler sees it.

    Args:
        problem: Made once, so that the sampler keeps what it knows.
        distributions: That it was made for.
        scales: From values to genes where the space was taken from trials.
        n_objectives: Of the study.
        canonical_forms: Of the candidates of its trials, as they become known.
    """

    problem: Problem
    distributions: dict[str, BaseDistribution]
    scales: dict[str, _Scale]
    n_objectives: int
    canonical_forms: dict[Candidate, Candidate] = field(default_factory=dict)

    def parameters(self, candidate: Candidate) -> dict[str, Any]:
        """Return Optuna's parameters of a candidate."""
        return {
            name: self.scales[name].value(gene) if name in self.scales else gene
            for name, gene in candidate.genes.items()
        }

    def read(
        self, found: Sequence[FrozenTrial], directions: Sequence[StudyDirection], number: int
    ) -> tuple[list[Trial], list[Candidate]]:
        """Return the trials that have ended, numbered anew, and the candidates of those that have not.

        Args:
            found: All trials of the study.
            directions: Of its objectives.
            number: Of the trial that is proposed.
        """
        ended: list[tuple[Candidate, Sequence[float] | None]] = []
        pending = []
        for trial in found:
            candidate = self._candidate(trial)
            if candidate is None or trial.number == number:
                continue
            if trial.state is TrialState.RUNNING:
                pending.append(candidate)
            elif trial.state.is_finished():
                ended.append((candidate, _values(trial)))
        signs = [-1.0 if direction is StudyDirection.MAXIMIZE else 1.0 for direction in directions]
        columns = [[sign * values[k] for _, values in ended if values is not None] for k, sign in enumerate(signs)]
        is_signed = [sign < 0 or min(column, default=0.0) < 0 for sign, column in zip(signs, columns, strict=True)]
        trials: list[Trial] = []
        for candidate, values in ended:
            if values is None:
                trials.append(Trial(len(trials), candidate, State.FAILED))
                continue
            told = [
                _positive(sign * value) if signed else value
                for sign, signed, value in zip(signs, is_signed, values, strict=True)
            ]
            point = Point(candidate, {ERROR: told[0], COST: told[1] if len(told) > 1 else 1.0})
            trials.append(Trial(len(trials), candidate, State.COMPLETE, (point,)))
        return trials, pending

    def _candidate(self, trial: FrozenTrial) -> Candidate | None:
        """Return the candidate of a trial, or None if it lies outside the space."""
        given = {name: trial.params[name] for name in self.distributions if name in trial.params}
        try:
            genes = {name: self.scales[name].gene(value) if self.scales else value for name, value in given.items()}
            candidate = Candidate.of(genes)
            self.problem.space.check(candidate)
        except (SpaceError, ValueError):
            return None
        if candidate not in self.canonical_forms:
            self.canonical_forms[candidate] = self.problem.canonical(candidate)
        return self.canonical_forms[candidate]


@final
@dataclass(frozen=True)
class _Scale:
    """A distribution of Optuna's as a domain: steps are counted, options numbered, other ranges taken as they are.

    Args:
        distribution: Of one parameter.
        domain: Of the gene.
    """

    distribution: BaseDistribution
    domain: Domain

    @staticmethod
    def of(distribution: BaseDistribution) -> _Scale:
        """Return the scale of a distribution."""
        if isinstance(distribution, CategoricalDistribution):
            return _Scale(distribution, Choice(tuple(range(len(distribution.choices)))))
        low, high, step = distribution.low, distribution.high, distribution.step
        if distribution.single():
            return _Scale(distribution, Int(0, 0))
        if isinstance(distribution, IntDistribution) and step == 1:
            return _Scale(distribution, Int(low, high, log=distribution.log))
        if step is not None:
            return _Scale(distribution, Int(0, round((high - low) / step)))
        return _Scale(distribution, Float(low, high, log=distribution.log))

    def value(self, gene: Value) -> Any:
        """Return Optuna's value of a gene."""
        if isinstance(self.distribution, CategoricalDistribution):
            return self.distribution.choices[int(gene)]
        if self._is_counted:
            step = self.distribution.step or 0
            return min(self.distribution.high, self.distribution.low + int(gene) * step)
        return gene

    def gene(self, value: Any) -> Value:
        """Return the gene of a value of Optuna's.

        Raises:
            ValueError: If the value is not one of a categorical distribution.
        """
        if isinstance(self.distribution, CategoricalDistribution):
            return int(self.distribution.to_internal_repr(value))
        if self._is_counted:
            return int(round((value - self.distribution.low) / (self.distribution.step or 1)))  # noqa: RUF046 - untyped
        return int(value) if isinstance(self.domain, Int) else float(value)

    @functools.cached_property
    def _is_counted(self) -> bool:
        is_plain = isinstance(self.distribution, IntDistribution) and self.distribution.step == 1
        return self.distribution.single() or (self.distribution.step is not None and not is_plain)


def _values(trial: FrozenTrial) -> Sequence[float] | None:
    """Return what a trial measured, for one stopped early the last value that it reported; None for a failure."""
    if trial.state is TrialState.COMPLETE:
        return trial.values  # type: ignore[no-any-return]
    if trial.state is TrialState.PRUNED and trial.intermediate_values:  # Optuna prunes with one objective only
        last = trial.intermediate_values[max(trial.intermediate_values)]
        return [last] if math.isfinite(last) else None
    return None


def _positive(value: float) -> float:
    """Return a positive number whose logarithm, by which errors and costs are compared, is asinh of the value."""
    bounded = max(-1e150, min(1e150, value))
    return math.exp(math.asinh(bounded))


def _itself(candidate: Candidate) -> Candidate:
    return candidate


def _unknown(_: Candidate) -> float | None:
    return None


def _equal(_: Candidate) -> float | None:
    return 1.0
