"""What the driver does for one trial, in seconds of one core: propose, send, take in, record, keep the front, show.

    python -m experiments.driver_costs spaces=[cells,mobile,tabular] trials=[100,1000,10000] proposals=16

prints what a proposal takes, the results of earlier proposals told in between, on each space after so many trials.
"""

from __future__ import annotations

import io
import math
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import final

import numpy as np
from rich.console import Console
from rich.table import Table

from automl.family import Tables
from automl.space import TabularSettings
from compression.nets.train import Recipe
from engine.artifact import Artifact
from engine.data import Signature
from engine.errors import SettingsError
from engine.family import Family
from engine.front import Front
from engine.garbage import few_full_collections
from engine.load import DataSettings, load
from engine.objective import Objective, Problem
from engine.progress import Progress, Status
from engine.record import RunFolder
from engine.samplers.registry import SAMPLERS, sampler_named
from engine.space import Candidate
from engine.trial import Point, State, Trial
from engine.work import Build, Done
from experiments.launch import launch
from nas.family import Networks, macs_for
from nas.settings import Settings
from nas.space import space_named
from rules.family import RuleModels
from rules.generators.space import RulesSettings

__all__ = [
    "Costs",
    "Past",
    "ProposalSettings",
    "front_of",
    "made_up_error",
    "main",
    "past_of",
    "problem_of",
    "proposal_seconds",
    "sequence_seconds",
    "trial_seconds",
]

NUMBERS, NAMES = tuple(f"x{n}" for n in range(20)), ("kind", "place")
TABLE = Signature("table", "classification", (20,), "float32", ("no", "yes"), 0.0, 1.0, NUMBERS, NAMES)
SIGNATURES = {  # data as large as those that such networks are for
    "cells": Signature("images", "classification", (1, 28, 28), "uint8", tuple("0123456789")),
    "cells1d": Signature("signals", "classification", (9, 128), "float32", tuple("abcdef"), 0.1, 0.5),
    "mobile": Signature("images", "classification", (3, 32, 32), "uint8", tuple("0123456789")),
    "mlp": Signature("table", "classification", (20,), "float32", ("no", "yes"), 0.0, 1.0, NUMBERS),
    "tabular": TABLE,
    "rules": TABLE,
}
SHARES = (1.0, 0.5, 0.25)  # sizes of the files of one trial, where one training gives several
FILE_BYTES = 20_000
REPEATS = 7  # of which the quickest counts


@final
@dataclass(frozen=True)
class Past:
    """A search that has run for a while: its problem, and trials with made-up errors."""

    problem: Problem
    trials: tuple[Trial, ...]


@final
@dataclass(frozen=True)
class Costs:
    """Seconds of the driver for one trial, beside the proposal."""

    send: float
    receive: float
    record: float
    front: float
    show: float

    @property
    def all(self) -> float:
        """All of them: the driver does one thing after the other."""
        return self.send + self.receive + self.record + self.front + self.show


@final
@dataclass(frozen=True)
class ProposalSettings:
    """What the command understands.

    Args:
        spaces: To propose in.
        trials: Known before the first proposal that is measured.
        proposals: Measured each time.
        sampler: By name.
    """

    spaces: list[str] = field(default_factory=lambda: list(SIGNATURES))
    trials: list[int] = field(default_factory=lambda: [100, 1000, 10_000])
    proposals: int = 16
    sampler: str = "pareto"

    def __post_init__(self) -> None:
        lost = [name for name in self.spaces if name not in SIGNATURES]
        if lost or self.sampler not in SAMPLERS or self.proposals < 1 or min(self.trials, default=0) < 1:
            raise SettingsError(
                f"spaces must be of {', '.join(SIGNATURES)}, sampler of {', '.join(SAMPLERS)}, trials and proposals at "
                f"least 1; got {', '.join(self.spaces)}, {self.sampler}, {self.trials} and {self.proposals}."
            )


def problem_of(space: str) -> Problem:
    """Return the problem of a search in a space, with the limits that its driver sets."""
    signature = SIGNATURES[space]
    limits: tuple[tuple[Objective, Callable[[Candidate], float | None]], ...] = ()
    family: Family
    if space == "tabular":
        family = Tables(TabularSettings(), signature, "accuracy")
    elif space == "rules":
        family = RuleModels(RulesSettings(), signature)
    else:
        family = Networks(space_named(space).settings(), signature, Recipe())
        limits = ((Objective("macs", "", macs_for(signature)), family.macs),)
    size = Objective("bytes", "bytes", Settings().max_bytes)
    return Problem(
        family.space, Objective("error"), size, family.canonical, family.bytes, 10**6, limits, family.features,
        tuple(family.portfolio),
    )  # fmt: skip


def sequence_seconds(problem: Problem, name: str, n_trials: int, n_proposals: int) -> list[float]:
    """Return the time of each of several proposals, one told the result of the other, after so many random trials."""
    rng, trials = np.random.default_rng(0), list[Trial]()
    keys = set[str]()
    while len(trials) < n_trials:
        candidate = problem.canonical(problem.space.sample(rng))
        if candidate.key not in keys and problem.allows(candidate):
            keys.add(candidate.key)
            trials.append(_made_up(problem, len(trials), candidate))
    sampler, found = sampler_named(name, seed=0), []
    with few_full_collections():  # as in a study
        for number in range(n_proposals + 1):  # the first one learns the past
            start = time.process_time()
            proposal = sampler.propose(problem, trials, (), np.random.default_rng([1, number]))
            found.append(time.process_time() - start)
            trials.append(_made_up(problem, len(trials), problem.canonical(proposal)))
    return found[1:]


def _made_up(problem: Problem, number: int, candidate: Candidate) -> Trial:
    """Return a trial whose results follow from its genes, with several files where one training gives them."""
    worth = sum(_chance(f"{name}={value}") for name, value in candidate.values)
    size = problem.exact_cost(candidate)
    shares = (1.0,) if size is not None else SHARES
    if size is None:
        size = 2000 * math.exp(sum(_chance(f"{name} {value}") for name, value in candidate.values))
    points = []
    for share in shares:
        error = 0.02 + 0.6 * math.exp(-size * share / 3000) + 0.03 * math.exp(worth)
        part = _shrunk(problem, candidate, share)
        if part is not None:
            points.append(Point(part, {"error": round(error, 4), "bytes": size * share}, f"{number:064x}"))
    return Trial(number, candidate, State.COMPLETE, tuple(points), 60.0, number)


def _shrunk(problem: Problem, candidate: Candidate, share: float) -> Candidate | None:
    """Return the candidate with fewer trees, or rules; None where it has none or so few are not in the space."""
    counts = {n: max(1, round(int(v) * share)) for n, v in candidate.values if n.endswith(".trees") or n == "rules"}
    if share == 1:
        return candidate
    is_inside = counts and all(problem.space.domains[name].contains(count) for name, count in counts.items())
    return candidate.replace(**counts) if is_inside else None


def _chance(text: str) -> float:
    return zlib.crc32(text.encode()) / 2**32 - 0.5


def past_of(n_trials: int, *, seed: int = 0) -> Past:
    """Return the default search of networks on digits after so many trials."""
    settings, dataset = Settings(), load(DataSettings(), seed=0).dataset
    signature = dataset.signature
    recipe = Recipe(**vars(settings.train))
    family = Networks(settings.space, signature, recipe, settings.metric)
    problem = Problem(
        family.space,
        Objective("error"),
        Objective("bytes", "bytes", settings.max_bytes),
        family.canonical,
        family.bytes,
        10**6,
        ((Objective("macs", "", macs_for(signature)), family.macs),),
        family.features,
        tuple(family.portfolio),
    )
    rng = np.random.default_rng(seed)
    trials: dict[str, Trial] = {}
    while len(trials) < n_trials:
        candidate = family.canonical(problem.space.sample(rng))
        if problem.allows(candidate):
            trials[candidate.key] = _trial(len(trials), candidate, float(family.bytes(candidate) or 0))
    return Past(problem, tuple(trials.values()))


def made_up_error(size: float, seed: int) -> float:
    """Return an error as a trial might have: lower for larger files, and different for every seed."""
    return round(0.02 + 0.6 * math.exp(-size / 3000) + 0.05 * float(np.random.default_rng(seed).random()), 4)


def _trial(number: int, candidate: Candidate, size: float) -> Trial:
    error = made_up_error(size, number)
    point = Point(candidate, {"error": error, "bytes": size}, f"{number:064x}")
    return Trial(number, candidate, State.COMPLETE, (point,), 60.0, number, curve=((0.5, error), (1.0, error)))


def proposal_seconds(past: Past, name: str, n_pending: int) -> float:
    """Return the time of one proposal of a sampler, with so many candidates pending."""
    rng = np.random.default_rng(1)
    canonical, space = past.problem.canonical, past.problem.space
    pending = [canonical(space.sample(rng)) for _ in range(n_pending)]
    sampler, found = sampler_named(name, seed=0), []
    for number in range(REPEATS + 1):  # the first one learns the past, which later ones only add to
        start = time.process_time()
        sampler.propose(past.problem, past.trials, pending, np.random.default_rng(number))
        found.append(time.process_time() - start)
    return min(found[1:])


def front_of(n_members: int) -> Front:
    """Return a front of so many points."""
    points = (
        Point(Candidate.of({"n": n}), {"error": 0.5 * 0.995**n, "bytes": 500.0 + 10 * n}, f"{n:064x}")
        for n in range(n_members)
    )
    return Front.of(points)


def trial_seconds(past: Past, front: Front, place: Path) -> Costs:
    """Return what one trial costs the driver, with a front of many members."""
    candidate = past.trials[0].candidate
    point = Point(candidate, {"error": 0.1, "bytes": 2000.0}, "0" * 64)
    done = Done((point,), (Artifact(b"x" * FILE_BYTES, {"parity": 0.0}),), 60.0)
    message = bytes(ForkingPickler.dumps(done))
    folder = RunFolder(place)
    trial = past.trials[-1]
    joining = Point(Candidate.of({"n": -1}), {"error": front.points[10].values["error"] - 1e-6, "bytes": 1e4}, "1" * 64)
    status = Status("search", 10**6, 0, 0, 0, 0, 0, 0, front, 1.0, 1.0)
    with Progress(io.StringIO()) as progress:
        return Costs(
            send=_quickest(lambda: ForkingPickler.dumps(Build(0, candidate, 1))),
            receive=_quickest(lambda: ForkingPickler.loads(message)),
            record=_quickest(lambda: folder.append(trial)),
            front=_quickest(lambda: front.joined_by([joining]).hypervolume(cost=1e6)),
            show=_quickest(lambda: progress.update(status)),
        )


def _quickest(work: Callable[[], object], batch: int = 20) -> float:
    def once() -> float:
        start = time.process_time()
        for _ in range(batch):
            work()
        return (time.process_time() - start) / batch

    return min(once() for _ in range(REPEATS))


def run(settings: ProposalSettings) -> int:
    """Print the table."""
    table = Table("space", *(f"{count:,} trials" for count in settings.trials))
    for space in settings.spaces:
        cells = []
        for count in settings.trials:
            seconds = sequence_seconds(problem_of(space), settings.sampler, count, settings.proposals)
            cells.append(f"{1000 * float(np.mean(seconds)):.0f} ({1000 * max(seconds):.0f})")
        table.add_row(space, *cells)
    console = Console()
    console.print(
        f"Milliseconds of processor time a proposal, sampler={settings.sampler}: mean of {settings.proposals} in a row "
        "(longest), fits included."
    )
    console.print(table)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return launch(ProposalSettings, run, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
