"""Optuna's samplers as Lilliput's: one ask for each proposal, results told in order of number."""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, final

import numpy as np

from engine.errors import MissingExtraError, SettingsError, SpaceError, did_you_mean
from engine.objective import Problem
from engine.space import Candidate, Choice, Float, Int, Space, Value
from engine.trial import Point, State, Trial

if TYPE_CHECKING:
    import optuna

__all__ = ["OPTUNA_SAMPLERS", "OptunaSampler", "distributions_of", "quiet_optuna"]

# Optuna's class and the packages that it loads when it is first used.
OPTUNA_SAMPLERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "brute_force": ("BruteForceSampler", ()),
    "gp": ("GPSampler", ("torch", "scipy")),
    "nsga2": ("NSGAIISampler", ()),
    "nsga3": ("NSGAIIISampler", ()),
    "qmc": ("QMCSampler", ("scipy",)),
    "random": ("RandomSampler", ()),
    "tpe": ("TPESampler", ()),
}


@final
class OptunaSampler:
    """Any of Optuna's samplers that can search for a front.

    Each proposal is one `ask` of an in-memory study; what is still pending stays running there. The same sequence of
    calls gives the same proposals, so that a resumed search, which replays it, goes on as if it had never stopped.

    Args:
        name: One of OPTUNA_SAMPLERS.
        seed: Of the sampler's own generator; the one that `propose` is given is not used.

    Raises:
        SettingsError: If there is no such sampler.
        MissingExtraError: If it needs a package that is not installed.
    """

    def __init__(self, name: str, seed: int) -> None:
        if name == "cmaes":
            raise SettingsError(
                "Optuna's 'cmaes' minimises one objective, and a front has two. "
                f"Samplers: {', '.join(sorted(OPTUNA_SAMPLERS))}."
            )
        if name not in OPTUNA_SAMPLERS:
            hint = did_you_mean(name, OPTUNA_SAMPLERS)
            raise SettingsError(f"No sampler '{name}' in Optuna{hint} Samplers: {', '.join(sorted(OPTUNA_SAMPLERS))}.")
        missing = [package for package in OPTUNA_SAMPLERS[name][1] if importlib.util.find_spec(package) is None]
        if missing:
            raise MissingExtraError(f"Sampler '{name}' needs {', '.join(missing)}: pip install {' '.join(missing)}.")
        self._name, self._seed = name, seed
        self._problem: Problem | None = None
        self._study: optuna.Study
        self._asked: list[tuple[int, Candidate]] = []  # Optuna's number and the candidate, for each number of ours
        self._told = 0

    def propose(
        self,
        problem: Problem,
        trials: Sequence[Trial],
        pending: Sequence[Candidate],
        rng: np.random.Generator,  # noqa: ARG002 - Optuna's samplers bring their own
    ) -> Candidate:
        """Return what Optuna asks for next; it may repeat a model or break the limit, which costs no budget."""
        with quiet_optuna():
            if problem is not self._problem or len(trials) < self._told:
                self._begin(problem)
            for candidate in [*(trial.candidate for trial in trials), *pending][len(self._asked) :]:
                self._adopt(candidate)
            for trial in trials[self._told :]:
                self._tell(trial, trials)
            self._told = len(trials)
            return self._ask(problem.space)

    def _begin(self, problem: Problem) -> None:
        import optuna

        if self._name == "brute_force" and any(isinstance(domain, Float) for domain in problem.space.domains.values()):
            raise SpaceError("Sampler 'brute_force' needs a space without Float ranges; use Choice or Int there.")
        settings: dict[str, Any] = {"seed": self._seed}
        if self._name in ("nsga2", "nsga3"):  # its own default of 50 leaves two generations of 100 trials; and no
            settings["population_size"] = 20  # share of the budget, which may grow when a run is resumed
        sampler = getattr(optuna.samplers, OPTUNA_SAMPLERS[self._name][0])(**settings)
        self._study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
        self._problem, self._asked, self._told = problem, [], 0

    def _ask(self, space: Space) -> Candidate:
        trial = self._study.ask()
        genes: dict[str, Value] = {}
        for name, domain in space.domains.items():
            if not space.is_active(name, genes):
                continue
            if isinstance(domain, Choice):
                genes[name] = trial.suggest_categorical(name, domain.options)
            elif isinstance(domain, Int):
                genes[name] = int(trial.suggest_int(name, domain.low, domain.high, log=domain.log))
            else:
                genes[name] = float(trial.suggest_float(name, domain.low, domain.high, log=domain.log))
        candidate = Candidate.of(genes)
        self._asked.append((trial.number, candidate))
        return candidate

    def _adopt(self, candidate: Candidate) -> None:
        """Take over a proposal of somebody else, as running."""
        import optuna

        assert self._problem is not None
        adopted = optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING,
            params=candidate.genes,
            distributions=distributions_of(self._problem.space, candidate),
        )
        self._study.add_trial(adopted)
        self._asked.append((len(self._study.get_trials(deepcopy=False)) - 1, candidate))

    def _tell(self, trial: Trial, trials: Sequence[Trial]) -> None:
        number, candidate = self._asked[trial.number]
        values = self._values(trial, trials)
        assert self._problem is not None
        canonical = self._problem.canonical
        if canonical(candidate) != canonical(trial.candidate):  # somebody proposed something else under this number
            self._finish(number, None)
            self._adopt(trial.candidate)
            number = self._asked.pop()[0]
        self._finish(number, values)

    def _finish(self, number: int, values: list[float] | None) -> None:
        import optuna

        try:
            if values is None:
                self._study.tell(number, state=optuna.trial.TrialState.FAIL)
            else:
                self._study.tell(number, values)
        except RuntimeError:  # a used-up brute force asks to stop a loop that is not Optuna's; the result is stored
            if self._name != "brute_force":
                raise

    def _values(self, trial: Trial, trials: Sequence[Trial]) -> list[float] | None:
        """Return error and log cost, or None for a failure; of a raced trial what was expected of it.

        Sizes are compared by ratio, so Optuna gets logarithms.
        """
        assert self._problem is not None
        if trial.state is State.CACHED and not trial.points and trial.twin is not None:
            trial = trials[trial.twin]
        if trial.estimate is not None:
            error, cost = trial.estimate, self._problem.exact_cost(trial.candidate) or math.inf
        elif trial.state not in (State.COMPLETE, State.CACHED) or not trial.points:
            return None
        else:
            point = _own_point(trial, self._problem.canonical(trial.candidate))
            error, cost = point.values[self._problem.error.name], point.values[self._problem.cost.name]
        values = [error, math.log(max(cost, 1e-9))]
        return values if all(math.isfinite(value) for value in values) else None


def distributions_of(space: Space, candidate: Candidate) -> dict[str, Any]:
    """Return Optuna's distribution of each gene that the candidate has."""
    import optuna

    made: dict[str, Any] = {}
    for name in candidate.genes:
        domain = space.domains[name]
        if isinstance(domain, Choice):
            made[name] = optuna.distributions.CategoricalDistribution(domain.options)
        elif isinstance(domain, Int):
            made[name] = optuna.distributions.IntDistribution(domain.low, domain.high, log=domain.log)
        else:
            made[name] = optuna.distributions.FloatDistribution(domain.low, domain.high, log=domain.log)
    return made


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna's log below errors and its experimental warnings to itself, inside the block only."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def _own_point(trial: Trial, canonical: Candidate) -> Point:
    """Return the file that the proposed candidate itself builds, where one training gave several."""
    return next((point for point in trial.points if point.candidate == canonical), trial.points[0])
