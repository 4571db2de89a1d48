"""One whole search, from settings to a run folder: what every driver calls."""

from __future__ import annotations

import dataclasses
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, final

from engine.allowance import seconds_of
from engine.answers import Answers
from engine.artifact import Artifact
from engine.backends.registry import backend_for
from engine.blends import Blends, Told
from engine.data import Dataset
from engine.deadline import Deadline
from engine.family import Blending, Family, Means
from engine.finisher import Finisher
from engine.front import Front
from engine.limits import check_limits
from engine.load import Loaded, load
from engine.member import Member, Members
from engine.metrics import check_metric
from engine.objective import Objective, Problem
from engine.progress import Progress
from engine.record import RunFolder
from engine.report import write_report
from engine.reserve import FINISH_SHARE, Reserve
from engine.samplers.registry import is_pure, sampler_named
from engine.search_settings import SearchSettings
from engine.stopping import Terminated, stoppable
from engine.storage import Mirror, without_password
from engine.study import Study
from engine.teacher import checked_teacher
from engine.threshold import check_threshold
from engine.watch import Watch
from engine.work import Work

__all__ = ["Run", "search"]

GRACE_SHARE = 0.3  # of the finisher's time, after which a trial that does not stop is ended from outside
WRITING_SECONDS = 1.0  # of one core, for the report
LEAST_MEASURED = 0.05  # seconds of one core that tell how busy the machine is
REFIT_BELOW_ROWS = 10_000


@final
@dataclass(frozen=True)
class Run:
    """A finished search.

    Args:
        folder: Of the run.
        members: Of the finished front, most accurate first.
        study: With all trials.
        stop: What interrupted it, if anything did: Ctrl-C, or a scheduler.
        notes: What the user should know about data and ending.
    """

    folder: Path
    members: tuple[Member, ...]
    study: Study
    stop: KeyboardInterrupt | None
    notes: tuple[str, ...]

    @property
    def is_interrupted(self) -> bool:
        """Whether it was ended before its time."""
        return self.stop is not None

    @property
    def front(self) -> Front:
        """The finished front: `best_under(bytes=...)`, `smallest_within(error=...)`, `knee()`."""
        searched = self.study.front
        return Front.of([member.point for member in self.members], cost=searched.cost, floor=searched.floor)


def search(
    settings: SearchSettings,
    complete: Callable[[Loaded], tuple[SearchSettings, Family]],
    *,
    name: str,
    loaded: Loaded | None = None,
    start: float | None = None,
) -> Run:
    """Search, finish, and write the run folder.

    Args:
        settings: Checked by `engine.settings.build`.
        complete: Makes the family for the data, and fills in settings that depend on them.
        name: Of the space, for the name of the run.
        loaded: Data that are in memory already (`load_frame`), in place of what `settings.data` names.
        start: When the time began to count, by `time.monotonic()`; by default now.

    Raises:
        EngineError: For settings, data or a run folder that cannot be used; nothing recorded is lost.
    """
    begun, worked = time.monotonic(), time.process_time()
    start = begun if start is None else start
    loaded = load(settings.data, seed=settings.seed) if loaded is None else loaded
    settings, family = complete(loaded)
    check_metric(settings.metric, loaded.dataset)
    check_threshold(settings.threshold, loaded.dataset.signature)
    teacher = checked_teacher(settings.teacher, loaded.dataset) if settings.teacher else None
    problem = _problem(settings, family)
    check_limits(problem, seed=settings.seed)
    folder = RunFolder(Path(settings.run or _fresh_name(name)))
    sampler = sampler_named(settings.sampler.name, seed=settings.seed)
    backend = backend_for(
        settings.backend,
        workers=settings.workers,
        seconds_of=seconds_of(settings.trial.seconds, _grace(settings)),
        memory_bytes=settings.trial.memory_bytes,
    )
    closer = threading.Thread(target=backend.close)
    lag = settings.lag or 2 * settings.workers
    plain = {**dataclasses.asdict(settings), "run": str(folder.path), "lag": lag, "digest": loaded.dataset.digest}
    plain["storage"] = without_password(settings.storage) if settings.storage else None
    plain["id"] = (folder.verify(_plain(plain)) or {}).get("id") or secrets.token_hex(3)
    study_name = f"{folder.path.name}-{plain['id']}"  # another run in a folder of this name is another study
    mirror = Mirror(settings.storage, study_name, problem) if settings.storage else None
    shown = closing(mirror) if mirror is not None else nullcontext()
    with shown, folder.held(), stoppable(), Progress(quiet=settings.quiet) as progress:
        for note in (f"Data: {loaded.source}. " + _shape_text(loaded), *loaded.notes, f"Run: {folder.path}"):
            progress.note(note)
        try:
            merged, recorded = folder.open(_plain(plain))
            data = family.prepare(loaded.dataset, seed=settings.seed).save(folder.path / "data")
            answers = Answers(folder.path / "answers")
            blends = _blends(family, settings, data, answers) if _means_of(family, settings) == "tried" else None
            keeps = blends is not None
            backend.start(Work(family, data.folder or folder.path, settings.metric, settings.cost, keeps))
            watch = Watch(progress, settings, start, mirror)
            study = Study(
                problem,
                sampler,
                backend,
                folder,
                settings.seed,
                merged["lag"],
                recorded,
                _deadline(start, settings.seconds, 1 - FINISH_SHARE),
                settings.race,
                watch.study,
                is_pure(settings.sampler.name),
                answers if keeps else None,
            )
            finisher = _finisher(settings, loaded, family, backend, folder, teacher, watch)
            finisher.blends = blends
            if _means_of(family, settings) == "finished" and len(data.splits) == 1 and not finisher.refit:
                finisher.blend_finished = _blends(family, settings, data, Members((), {}))
            watch.reserve = _reserve(
                settings, loaded, family, start, backend.slots, refit=finisher.refit, makes_means=keeps
            )
            finisher.deadline = _deadline(start, settings.seconds)
            finisher.writing_seconds = WRITING_SECONDS * _slowness(begun, worked)
            members, stop = _guarded_run(study, finisher, watch, closer)
        except OSError as error:
            raise folder.write_error(error) from error
        finally:
            if closer.ident is not None:
                closer.join()
            backend.close()
            shutil.rmtree(folder.path / "data", ignore_errors=True)
    return Run(folder.path, tuple(members), study, stop, (*loaded.notes, *_ending(study, stop)))


def _means_of(family: Family, settings: SearchSettings) -> Means:
    """Return of what means are made in this search."""
    is_wanted = settings.finish.means and settings.finish.members and settings.cost == "bytes"
    return family.means_of if is_wanted and isinstance(family, Blending) else "nothing"


def _blends(family: Any, settings: SearchSettings, data: Dataset, answers: Told) -> Blends:
    is_timed = settings.seconds is not None
    return Blends(family, answers, data, settings.metric, settings.max_bytes, settings.max_macs, is_timed)


def _ending(study: Study, stop: KeyboardInterrupt | None) -> tuple[str, ...]:
    if not study.stopped:
        return ()
    rest = "; its winners were interrupted in their long training" if stop is not None else ""
    return (f"The search ended: {study.stopped}{rest}.",)


def _deadline(start: float, seconds: float | None, share: float = 1.0) -> Deadline | None:
    return Deadline(start + share * seconds) if seconds else None


def _reserve(
    settings: SearchSettings,
    loaded: Loaded,
    family: Family,
    start: float,
    slots: int,
    *,
    refit: bool,
    makes_means: bool,
) -> Reserve:
    finish, folds = settings.finish, len(loaded.dataset.splits)
    # Where winners train as long as their trials did, and nobody teaches them, the trial's file is the one that did not
    # learn from validation rows.
    trainings = finish.effort * (2 if refit and (finish.effort != 1 or finish.teachers) else 1)
    return Reserve(
        start,
        settings.seconds,
        slots,
        folds,
        trainings,
        finish.members,
        finish.teachers,
        family.macs,
        makes_means,
    )


def _grace(settings: SearchSettings) -> float | None:
    """Return how long a trial may go on when the time is up; None where nothing can end it from outside."""
    if settings.seconds is None or settings.backend.name == "serial":
        return None
    return GRACE_SHARE * FINISH_SHARE * settings.seconds


def _slowness(begun: float, worked: float) -> float:
    """Return how many times longer work takes than it would on a core of its own.

    Args:
        begun: Reading of `time.monotonic()` before some work.
        worked: Reading of `time.process_time()` at the same moment.
    """
    own = time.process_time() - worked
    return max(1.0, (time.monotonic() - begun) / own) if own > LEAST_MEASURED else 1.0


def _guarded_run(
    study: Study, finisher: Finisher, watch: Watch, closer: threading.Thread
) -> tuple[list[Member], KeyboardInterrupt | None]:
    """Search, finish, report; Ctrl-C or SIGTERM at any time ends with the best files there are."""
    stop: KeyboardInterrupt | None = None
    try:
        study.run()
        watch.phase = "finish"
        members = finisher.run(study.recorded_front(), study.known())
    except KeyboardInterrupt as interrupt:
        stop = interrupt
        closer.start()  # a cluster lets go in seconds, of the ten that a scheduler grants: files are written meanwhile
        watch.progress.note(f"Interrupted: writing the front so far. run={study.folder.path} goes on later.")
        if isinstance(stop, Terminated):  # seconds are left: test rows and latency are measured when the run goes on
            finisher = dataclasses.replace(finisher, test=None, blends=None, blend_finished=None)
        members = finisher.run(study.recorded_front(), study.known(), is_training=False)
    if members:
        write_report(study.folder.path)
    return members, stop


def _finisher(
    settings: SearchSettings,
    loaded: Loaded,
    family: Family,
    backend: Any,
    folder: RunFolder,
    teacher: Artifact | None,
    watch: Watch,
) -> Finisher:
    rows = len(loaded.dataset.rows)
    refit = settings.finish.refit if settings.finish.refit is not None else rows < REFIT_BELOW_ROWS
    split = loaded.dataset.splits[0]
    told: dict[str, Any] = {
        "split": {
            "train_rows": len(split.train),
            "validation_rows": len(split.valid) if len(loaded.dataset.splits) == 1 else rows,
            "test_rows": len(loaded.test) if loaded.test is not None else 0,
            "folds": len(loaded.dataset.splits),
            "seed": settings.seed,
            "source": loaded.source,
        },
    }
    if loaded.columns:
        told["columns"] = [column.to_json() for column in loaded.columns]
    for key, names in (("forbidden_columns", settings.data.forbid), ("protected_columns", settings.data.protect)):
        told |= {key: list(names)} if names else {}
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
        watch=watch.finish,
        threshold=settings.threshold,
        valid=loaded.dataset.valid(len(loaded.dataset.splits) - 1) if settings.threshold.is_given else None,
        protected=loaded.protected,
    )


def _problem(settings: SearchSettings, family: Family) -> Problem:
    exact: dict[str, Callable[[Any], float | None]] = {
        "bytes": family.bytes,
        "macs": family.macs,
        "latency_us": lambda _candidate: None,
    }
    limits = {"bytes": settings.max_bytes, "macs": settings.max_macs}
    units = {"bytes": "bytes", "macs": "multiply-accumulates", "latency_us": "microseconds"}
    if settings.cost not in units:  # then the family tells it in the card of each file: bytes of another form
        units[settings.cost], exact[settings.cost] = "bytes", lambda _candidate: None
        limits[settings.cost] = limits.pop("bytes")
    others = tuple(
        (Objective(name, units[name], limit), exact[name])
        for name, limit in limits.items()
        if name != settings.cost and limit is not None
    )
    cost = Objective(
        settings.cost, units[settings.cost], limits.get(settings.cost), floor=float(settings.min_bytes or 0)
    )
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
    folds = len(loaded.dataset.splits)
    rows = f"{len(split.train)} training, {len(split.valid)} validation"
    if folds > 1:
        rows = f"{len(split.train) + len(split.valid)} training and validation rows in {folds} folds"
    return f"{signature.kind} {shape} {signature.dtype}{classes}: {rows}, {test} test rows."
