"""What the driver does for one trial, in seconds of one core: propose, send, take in, record, keep the front, show."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import final

import numpy as np

from engine.artifact import Artifact
from engine.front import Front
from engine.load import DataSettings, load
from engine.objective import Objective, Problem
from engine.progress import Progress, Status
from engine.record import RunFolder
from engine.samplers.registry import sampler_named
from engine.space import Candidate
from engine.trial import Point, State, Trial
from engine.work import Build, Done
from nas.family import Networks, macs_for, recipe_for
from nas.settings import Settings

__all__ = ["Costs", "Past", "front_of", "made_up_error", "past_of", "proposal_seconds", "trial_seconds"]

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


def past_of(n_trials: int, *, seed: int = 0) -> Past:
    """Return the default search of networks on digits after so many trials."""
    settings, dataset = Settings(), load(DataSettings(), seed=0).dataset
    signature = dataset.signature
    recipe = recipe_for(signature, len(dataset.splits[0].train), vars(settings.train))
    family = Networks(settings.space, signature, recipe, settings.finish.effort, settings.metric)
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
