"""One whole search, from settings to a run folder: what every driver calls."""

from __future__ import annotations

import dataclasses
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, final

from engine.artifact import Artifact
from engine.backends.registry import backend_named
from engine.errors import SettingsError
from engine.family import Family
from engine.finisher import Finisher, FinishSettings, Member
from engine.front import Front
from engine.limits import check_limits
from engine.load import DataSettings, Loaded, load
from engine.objective import Objective, Problem
from engine.progress import Progress, Status
from engine.record import RunFolder
from engine.report import write_report
from engine.samplers.registry import sampler_named
from engine.score import metric_named
from engine.storage import Mirror
from engine.study import Study
from engine.teacher import checked_teacher
from engine.trial import Trial
from engine.work import Work

__all__ = ["Named", "Run", "SearchSettings", "search"]

FINISH_SHARE = 0.3  # of `seconds`, kept back for the finisher
REFIT_BELOW_ROWS = 10_000
REFERENCE_BYTES = 1_000_000  # of the hypervolume that is shown: a file of 1 MB that is always wrong


@final
@dataclass(frozen=True)
class Named:
    """A choice by name."""

    name: str


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """What every driver understands.

    Args:
        data: Where rows come from and how they are split.
        backend: `processes` or `serial`.
        sampler: `pareto`, `random`, or one of Optuna's.
        budget: Trials to train; cached and oversized ones are free.
        seconds: For everything from loading to the written files, instead of a budget alone.
        seed: Of the split, the search and the training.
        workers: Trials at once.
        run: Folder of the run; an existing one is resumed.
        metric: Error that is minimised.
        cost: The second axis.
        max_bytes: No file of the front is longer.
        max_macs: No network needs more multiply-accumulates a row.
        race: Stop trials that can no longer reach the front at their size. Off until a benchmark shows what it costs.
        lag: How far knowledge lags behind proposals; by default twice the workers.
        storage: Database that mirrors the study for optuna-dashboard.
        teacher: A model file whose outputs the winners learn from; by default the best member of the front.
        finish: How the front is finished.
        quiet: No progress display.
    """

    data: DataSettings = field(default_factory=DataSettings)
    backend: Named = Named("processes")
    sampler: Named = Named("pareto")
    budget: int = 100
    seconds: float | None = None
    seed: int = 0
    workers: int = 2
    run: str | None = None
    metric: str = "accuracy"
    cost: Literal["bytes", "latency_us", "macs"] = "bytes"
    max_bytes: int | None = None
    max_macs: int | None = None
    race: bool = False
    lag: int | None = None
    storage: str | None = None
    teacher: str | None = None
    finish: FinishSettings = field(default_factory=FinishSettings)
    quiet: bool = False

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be at least 1, got {value}."
            for name in ("budget", "workers", "max_bytes", "max_macs", "lag", "seconds")
            if (value := getattr(self, name)) is not None and value < 1
        ]
        if self.seed < 0:
            problems.append(f"seed must be at least 0, got {self.seed}.")
        if problems:
            raise SettingsError("\n".join(problems))


@final
@dataclass(frozen=True)
class Run:
    """A finished search.

    Args:
        folder: Of the run.
        members: Of the finished front, most accurate first.
        study: With all trials.
        is_interrupted: Whether Ctrl-C ended it.
        notes: What the user should know about data and ending.
    """

    folder: Path
    members: tuple[Member, ...]
    study: Study
    is_interrupted: bool
    notes: tuple[str, ...]

    @property
    def front(self) -> Front:
        """The finished front: `best_under(bytes=...)`, `smallest_within(error=...)`, `knee()`."""
        return Front.of([member.point for member in self.members], cost=self.study.front.cost)


def search(settings: SearchSettings, complete: Callable[[Loaded], tuple[SearchSettings, Family]], *, name: str) -> Run:
    """Search, finish, and write the run folder.

    Args:
        settings: Checked by `engine.settings.build`.
        complete: Makes the family for the data, and fills in settings that depend on them.
        name: Of the space, for the name of the run.

    Raises:
        EngineError: For settings, data or a run folder that cannot be used; nothing recorded is lost.
    """
    start = time.time()
    loaded = load(settings.data, seed=settings.seed)
    settings, family = complete(loaded)
    metric_named(settings.metric, loaded.dataset.signature.task)
    teacher = checked_teacher(settings.teacher, loaded.dataset) if settings.teacher else None
    problem = _problem(settings, family)
    check_limits(problem, seed=settings.seed)
    folder = RunFolder(Path(settings.run or _fresh_name(name)))
    sampler = sampler_named(settings.sampler.name, seed=settings.seed)
    backend = backend_named(settings.backend.name, workers=settings.workers)
    lag = settings.lag or 2 * settings.workers
    plain = {**dataclasses.asdict(settings), "run": str(folder.path), "lag": lag, "digest": loaded.dataset.digest}
    plain["id"] = (folder.verify(_plain(plain)) or {}).get("id") or secrets.token_hex(3)
    study_name = f"{folder.path.name}-{plain['id']}"  # another run in a folder of this name is another study
    mirror = Mirror(settings.storage, study_name, problem) if settings.storage else None
    merged, recorded = folder.open(_plain(plain))
    with Progress(quiet=settings.quiet) as progress:
        for note in (f"Data: {loaded.source}. " + _shape_text(loaded), *loaded.notes, f"Run: {folder.path}"):
            progress.note(note)
        try:
            data = family.prepare(loaded.dataset, seed=settings.seed).save(folder.path / "data")
            backend.start(Work(family, data.folder or folder.path, settings.metric, settings.cost))
            watch = _Watch(progress, settings, start, mirror)
            study = Study(
                problem,
                sampler,
                backend,
                folder,
                settings.seed,
                merged["lag"],
                recorded,
                start + settings.seconds * (1 - FINISH_SHARE) if settings.seconds else None,
                settings.race,
                watch.study,
            )
            finisher = _finisher(settings, loaded, family, backend, folder, teacher, watch, start)
            members, interrupted = _guarded_run(study, finisher, backend, watch)
            if members:
                write_report(folder.path)
        except OSError as error:
            raise folder.write_error(error) from error
        finally:
            backend.close()
            if mirror is not None:
                mirror.close()
            shutil.rmtree(folder.path / "data", ignore_errors=True)
    notes = (*loaded.notes, *((f"The search ended: {study.stopped}.",) if study.stopped else ()))
    return Run(folder.path, tuple(members), study, interrupted, notes)


def _guarded_run(study: Study, finisher: Finisher, backend: Any, watch: _Watch) -> tuple[list[Member], bool]:
    """Search and finish; Ctrl-C at any time ends with the best files there are."""
    try:
        study.run()
        watch.phase = "finish"
        return finisher.run(study.recorded_front(), study.known()), False
    except KeyboardInterrupt:
        backend.close()
        watch.progress.note("Interrupted: writing the front so far.")
        return finisher.run(study.recorded_front(), study.known(), is_training=False), True


@dataclass
class _Watch:
    """Turns changes of the study into lines of progress and rows of the mirror."""

    progress: Progress
    settings: SearchSettings
    start: float
    mirror: Mirror | None
    phase: str = "search"
    _last: Study | None = None
    _finish_start: float = 0.0

    def study(self, study: Study, trial: Trial) -> None:
        """Show where the search stands."""
        self._last = study
        if self.mirror is not None:
            self.mirror.record(trial)
        self._show(0, 0)

    def finish(self, finished: int, total: int) -> None:
        """Show where the finisher stands."""
        self._finish_start = self._finish_start or time.time()
        self._show(finished, total)

    def _show(self, finished: int, total: int) -> None:
        study = self._last
        if study is None:
            return
        counts = {str(state.value): count for state, count in study.counts.items()}
        paid = sum(count for state, count in study.counts.items() if state.is_paid)
        elapsed = time.time() - self.start
        left = elapsed / paid * (self.settings.budget - paid) if paid else None
        if self.phase == "finish":
            left = (time.time() - self._finish_start) / finished * (total - finished) if finished else None
        if left is not None and self.settings.seconds is not None:
            left = min(left, self.settings.seconds - elapsed)
        self.progress.update(
            Status(
                phase=self.phase,
                budget=self.settings.budget,
                paid=paid,
                complete=counts.get("complete", 0),
                raced=counts.get("raced", 0),
                failed=counts.get("failed", 0),
                cached=counts.get("cached", 0),
                oversized=counts.get("oversized", 0),
                front=study.front,
                hypervolume=study.front.hypervolume(cost=REFERENCE_BYTES),
                seconds=elapsed,
                seconds_left=left,
                finished=finished,
                to_finish=total,
                last_error=study.last_error,
                metric=self.settings.metric,
            )
        )


def _finisher(
    settings: SearchSettings,
    loaded: Loaded,
    family: Family,
    backend: Any,
    folder: RunFolder,
    teacher: Artifact | None,
    watch: _Watch,
    start: float,
) -> Finisher:
    rows = len(loaded.dataset.rows)
    refit = settings.finish.refit if settings.finish.refit is not None else rows < REFIT_BELOW_ROWS
    split = loaded.dataset.splits[0]
    told = {
        "split": {
            "train_rows": len(split.train),
            "validation_rows": len(split.valid) if len(loaded.dataset.splits) == 1 else rows,
            "test_rows": len(loaded.test) if loaded.test is not None else 0,
            "folds": len(loaded.dataset.splits),
            "seed": settings.seed,
            "source": loaded.source,
        },
    }
    return Finisher(
        family,
        backend,
        folder,
        loaded.dataset.signature,
        loaded.test,
        settings.metric,
        settings.seed,
        settings.finish,
        refit,
        teacher,
        told,
        start + settings.seconds if settings.seconds else None,
        watch.finish,
    )


def _problem(settings: SearchSettings, family: Family) -> Problem:
    exact: dict[str, Callable[[Any], float | None]] = {
        "bytes": family.bytes,
        "macs": family.macs,
        "latency_us": lambda _candidate: None,
    }
    limits = {"bytes": settings.max_bytes, "macs": settings.max_macs}
    units = {"bytes": "bytes", "macs": "multiply-accumulates", "latency_us": "microseconds"}
    others = tuple(
        (Objective(name, units[name], limit), exact[name])
        for name, limit in limits.items()
        if name != settings.cost and limit is not None
    )
    cost = Objective(settings.cost, units[settings.cost], limits.get(settings.cost))
    return Problem(
        family.space,
        Objective("error"),
        cost,
        family.canonical,
        exact[settings.cost],
        settings.budget,
        others,
        family.features,
        tuple(family.portfolio),
    )


def _fresh_name(name: str) -> str:
    """Name a run by the second; a suffix keeps two runs of one second apart."""
    stem = f"runs/{name}-{datetime.now():%Y%m%d-%H%M%S}"
    taken = (stem, *(f"{stem}-{number}" for number in range(1, 1000)))
    return next(path for path in taken if not Path(path).exists())


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _shape_text(loaded: Loaded) -> str:
    signature, split = loaded.dataset.signature, loaded.dataset.splits[0]
    shape = " x ".join(map(str, signature.shape))
    test = len(loaded.test) if loaded.test is not None else 0
    classes = f", {len(signature.classes)} classes" if signature.classes else ""
    return (
        f"{signature.kind} {shape} {signature.dtype}{classes}: {len(split.train)} training, {len(split.valid)} "
        f"validation, {test} test rows."
    )
