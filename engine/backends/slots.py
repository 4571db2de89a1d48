"""Slots of a Ray cluster: long-lived trials of Ray Tune, each with a worker process of its own, replaced when lost."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, final

import ray
from ray import tune

from engine.backends import Outcome
from engine.backends.desk import DESK, Ended, Order
from engine.backends.parcel import unpacked
from engine.backends.processes import Processes
from engine.deadline import Deadline
from engine.errors import BackendError
from engine.work import Build, Work

__all__ = ["keep_slots", "serve"]


@final
@dataclass(frozen=True)
class Prepare:
    """The first task of each worker process: load the work. A slot that cannot do so shall never have a task."""


@final
@dataclass(frozen=True)
class Carried:
    """The work as it is sent to a worker process: unpickled there, at the first task.

    Args:
        work: Pickled.
        folder: That it shall read in place of its own.
    """

    work: bytes
    folder: Path | None = field(default=None)

    @cached_property
    def _loaded(self) -> Callable[[Any], Any]:
        work = ForkingPickler.loads(self.work)
        return replace(work, folder=self.folder) if self.folder is not None and isinstance(work, Work) else work

    def __call__(self, task: Any) -> Any:
        """Run a task."""
        if not isinstance(task, Prepare):
            return self._loaded(task)
        try:
            return "" if callable(self._loaded) else "the work is no function"
        except Exception as error:  # a missing package, another version: the driver shall read it
            return f"{type(error).__name__}: {error}"


@final
class Watch(tune.Callback):  # type: ignore[misc]
    """Hears of every slot that ends.

    Args:
        lose: Told (name of the slot, why).
    """

    def __init__(self, lose: Callable[[str, str], None]) -> None:
        self._lose = lose

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:  # noqa: ARG002
        """Tell of a slot that failed, or was lost."""
        self._lose(trial.trial_id, _reason(Path(trial.error_file)))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:  # noqa: ARG002
        """Tell of a slot that returned."""
        self._lose(trial.trial_id, "its slot ended")

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune saves its callbacks; nobody restores this one


def keep_slots(slots: int, *, cpus: float, gpus: float, place: str, lose: Callable[[str, str], None]) -> None:
    """Keep as many slots up as the cluster has room for, at most `slots`; never returns of itself.

    Slots beyond that wait for nodes that join. Tune starts a new trial for each one that ends, however it ended.

    Args:
        slots: At once.
        cpus: Cores that each reserves.
        gpus: Share of a GPU, or GPUs, that each reserves.
        place: Folder for what Tune writes.
        lose: Told (name of the slot, why) of each that ended.
    """
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(slots)  # so that an autoscaler sees all that is wanted
    tuner = tune.Tuner(
        tune.with_resources(serve, {"cpu": cpus, "gpu": gpus} if gpus else {"cpu": cpus}),
        tune_config=tune.TuneConfig(num_samples=-1, max_concurrent_trials=slots),
        run_config=tune.RunConfig(name="slots", storage_path=place, verbose=0, callbacks=[Watch(lose)]),
    )
    tuner.fit()


def serve(_: Mapping[str, Any]) -> None:
    """What a slot does: pull tasks from the desk, and run them in its worker process, until the desk is gone."""
    name = tune.get_context().get_trial_id()
    desk = ray.get_actor(DESK)
    order: Order = ray.get(desk.order.remote())
    sys.path.extend(path for path in order.paths if path not in sys.path and Path(path).is_dir())
    folder = None if order.parcel is None else unpacked(order.parcel, Path(order.place))
    vars(sys.modules["__main__"]).pop("__file__", None)  # or each worker process would run Ray's own main module first
    seconds: float | None = None
    worker = Processes(1, seconds_of=lambda _task: seconds, memory_bytes=order.memory_bytes)
    worker.start(Carried(order.work, folder))
    try:
        _prepare(worker)
        ended: Ended | None = None
        while True:
            task = ray.get(desk.ask.remote(name, ended))
            seconds = task.seconds
            worker.submit(_on_time(ForkingPickler.loads(task.message), task.waited_seconds))
            ended = _ended(task.number, worker.wait())
    finally:
        worker.close()


def _prepare(worker: Processes) -> None:
    worker.submit(Prepare())
    outcome = worker.wait()
    if outcome.lost or outcome.result:
        raise BackendError(f"A worker cannot load its work: {outcome.lost or outcome.result}.")


def _on_time(task: Any, waited_seconds: float) -> Any:
    """Return a task with its deadline, which travels as the time left, nearer by how long it waited."""
    if not isinstance(task, Build) or task.deadline is None:
        return task
    return replace(task, deadline=Deadline.after(task.deadline.left() - waited_seconds))


def _ended(number: int, outcome: Outcome) -> Ended:
    if outcome.lost:
        return Ended(number, lost=outcome.lost, is_limit=outcome.is_limit)
    return Ended(number, bytes(ForkingPickler.dumps(outcome.result)))


def _reason(error_file: Path) -> str:
    """Return the one line of Ray's report that says why a slot ended."""
    text = error_file.read_text(errors="replace") if error_file.exists() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith("The actor ")]
    return (telling or lines or ["its slot ended"])[-1]
