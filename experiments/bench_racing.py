"""Racing: what it saves of the training time, and what it costs of the front.

    python -m experiments.bench_racing data.name=npz data.path=fashion_mnist.npz budget=100 seeds=0,1,2,3,4
    python -m experiments.bench_racing replay=runs/a,runs/b orders=20

The first form searches twice a seed, without racing and with it; every key but `seeds` and `out` is one of
`nas.search`. The second trains nothing: it decides anew over the learning curves of recorded searches without racing,
in their own order of proposals and in random ones; over the first fold where rows were validated in folds, `folds` of
them. There a stopped trial costs its share of the time that it took.

Hypervolumes are of trials' own files on validation rows, below an error of 1 and `max_bytes`: over (error, log bytes),
as everywhere here, and over (log error, log bytes), where halving a small error counts as much as halving a large one.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any, final

import numpy as np
from rich.table import Table

from engine.errors import SettingsError
from engine.fold_race import fold_race_for
from engine.front import Front, hypervolume
from engine.launch import Run
from engine.objective import Objective, Problem
from engine.racing import race_for
from engine.settings import build
from engine.space import Candidate
from engine.tables import print_table, read_settings, read_trials
from engine.trial import State, Trial
from experiments.launch import launch_around_search
from nas.search import run as search
from nas.settings import settings_for

REFERENCE_BYTES = 65_536.0
REFERENCE_ERROR = 1.0
SMALLEST_ERROR = 1e-3  # in logarithms


@final
@dataclass(frozen=True)
class Settings:
    """What this benchmark understands, beside the settings of the search."""

    seeds: str = "0,1,2,3,4"
    out: str = "runs/bench_racing"
    replay: str = ""
    orders: int = 20
    folds: int = 5


@final
@dataclass(frozen=True)
class Outcome:
    """What a search with racing kept and spent, as shares of the search without.

    Args:
        area: Hypervolume over (error, log bytes).
        log_area: Hypervolume over (log error, log bytes).
        seconds: Time inside trials.
        work: Multiply-accumulates of the training; NaN where they are not known.
        raced: Trials stopped, and paid for.
    """

    area: float
    log_area: float
    seconds: float
    work: float
    raced: tuple[int, int]


def areas(trials: Sequence[Trial]) -> tuple[float, float]:
    """Return both hypervolumes of the files of some trials."""
    front = Front.of([point for trial in trials for point in trial.points])
    logs = [(math.log10(max(error, SMALLEST_ERROR)), math.log10(size)) for error, size in front.pairs()]
    reference = math.log10(REFERENCE_ERROR), math.log10(REFERENCE_BYTES)
    return front.hypervolume(error=REFERENCE_ERROR, cost=REFERENCE_BYTES), hypervolume(logs, reference)


def trained_share(trial: Trial) -> float:
    """Return how much of its training a trial went through."""
    return trial.curve[-1][0] if trial.state is State.RACED else 1.0


def compared(plain: Sequence[Trial], raced: Sequence[Trial], macs: Callable[[Candidate], float]) -> Outcome:
    """Compare the paid trials of a search with racing to those of the same search without."""
    (area, log_area), (kept, log_kept) = areas(plain), areas(raced)
    work = [sum(macs(trial.candidate) * trained_share(trial) for trial in trials) for trials in (raced, plain)]
    seconds = [sum(trial.seconds for trial in trials) for trials in (raced, plain)]
    stopped = sum(trial.state is State.RACED for trial in raced)
    return Outcome(kept / area, log_kept / log_area, seconds[0] / seconds[1], work[0] / work[1], (stopped, len(raced)))


def replayed(trials: Sequence[Trial], lag: int) -> Outcome:
    """Race recorded whole trials in the order given: trial n knows the trials 0 .. n - lag, as in a search."""
    sizes = {trial.candidate: trial.points[0].values["bytes"] for trial in trials}
    names = {trial.candidate.key: sizes[trial.candidate] for trial in trials}
    problem = Problem(
        space=None,  # type: ignore[arg-type]  # nobody proposes
        error=Objective("error"),
        cost=Objective("bytes"),
        canonical=lambda candidate: candidate,
        exact_cost=lambda candidate: names[candidate.key],
        budget=len(trials),
    )
    ended: list[Trial] = []
    for number, trial in enumerate(trials):
        race = race_for(problem, trial.candidate, ended[: max(0, number - lag + 1)])
        ended.append(trial)
        for length in range(1, len(trial.curve) + 1) if race is not None else ():
            estimate = race.estimate(trial.curve[:length]) if race is not None else None
            if estimate is not None:
                curve = trial.curve[:length]
                seconds = trial.seconds * curve[-1][0]
                ended[-1] = replace(
                    trial, state=State.RACED, points=(), seconds=seconds, curve=curve, estimate=estimate
                )
                break
    return compared(trials, ended, lambda _candidate: math.nan)


def replayed_in_folds(trials: Sequence[Trial], lag: int, folds: int) -> Outcome:
    """Race recorded whole trials over their first fold, likewise; such a trial may have several files."""
    ended: list[Trial] = []
    for number, trial in enumerate(trials):
        known = [point for one in ended[: max(0, number - lag + 1)] for point in one.points]
        race = fold_race_for(Front.of(known))
        files = [(point.values["bytes"], point.values["last_fold_error"]) for point in trial.points]
        estimate = race.estimate(files) if race is not None else None
        ended.append(trial)
        if estimate is not None:
            seconds, curve = trial.seconds / folds, ((1 / folds, estimate),)
            ended[-1] = replace(trial, state=State.RACED, points=(), seconds=seconds, curve=curve, estimate=estimate)
    return compared(trials, ended, lambda _candidate: math.nan)


def replay(settings: Settings) -> int:
    """Print a line for the own order and one for the random orders of each recorded search."""
    table = Table("recorded search", "trials", "order", "stopped", "training time %", "hypervolume %", "worst", "log %")
    for name in settings.replay.split(","):
        recorded = [trial for trial in read_trials(Path(name)) if trial.is_paid]
        if any(trial.state is State.RACED for trial in recorded):
            raise SettingsError(f"replay={name} must be a search without racing: only whole curves tell what was lost.")
        in_folds = any("last_fold_error" in point.values for trial in recorded for point in trial.points)
        whole = [trial for trial in recorded if (trial.points if in_folds else len(trial.points) == 1 and trial.curve)]
        trials = sorted(whole, key=lambda trial: trial.number)
        lag = int(read_settings(Path(name))["lag"])
        race = partial(replayed_in_folds, folds=settings.folds) if in_folds else replayed
        draws = np.random.default_rng(0)
        orders = [draws.permutation(len(trials)) for _ in range(settings.orders)]
        for order, found in (
            ("own", [race(trials, lag)]),
            (f"{len(orders)} random", [race([trials[place] for place in order], lag) for order in orders]),
        ):
            table.add_row(name, str(len(trials)), order, *_texts(found))
    print_table(table)
    return 0


def _texts(found: Sequence[Outcome]) -> list[str]:
    stopped = f"{mean(one.raced[0] for one in found):.0f}"
    shares = (mean(one.seconds for one in found), mean(one.area for one in found), min(one.area for one in found))
    return [stopped, *(f"{100 * share:.2f}" for share in (*shares, mean(one.log_area for one in found)))]


def measured(given: Mapping[str, Any], settings: Settings, seed: int) -> Outcome:
    """Search without racing and with it."""
    runs: list[Run] = []
    for is_racing in (False, True):
        folder = Path(settings.out) / f"seed-{seed}-{'raced' if is_racing else 'whole'}"
        plain = {"max_bytes": int(REFERENCE_BYTES), **given, "seed": seed, "race": is_racing, "run": str(folder)}
        plain["finish"] = {"members": 0}
        runs.append(search(build(settings_for(plain), plain)))
    macs = next(exact for objective, exact in runs[0].study.problem.limits if objective.name == "macs")
    trials = [[trial for trial in run.study.ended() if trial.is_paid] for run in runs]
    return compared(trials[0], trials[1], lambda candidate: macs(candidate) or math.nan)


def run(settings: Settings, given: Mapping[str, Any]) -> int:
    """Print the table, a seed a line."""
    if settings.replay:
        return replay(settings)
    table = Table("seed", "stopped", "of", "hypervolume %", "log %", "training time %", "training work %")
    found = [(seed, measured(given, settings, int(seed))) for seed in settings.seeds.split(",")]
    for seed, one in found:
        shares = [f"{100 * share:.2f}" for share in (one.area, one.log_area, one.seconds, one.work)]
        table.add_row(seed, *map(str, one.raced), *shares)
    columns = [[getattr(one, name) for _, one in found] for name in ("area", "log_area", "seconds", "work")]
    table.add_row("mean", "", "", *(f"{100 * mean(column):.2f}" for column in columns))
    print_table(table)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return launch_around_search(Settings, run, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
