"""Limits of one trial: seconds and memory. Beyond them it fails, and the search goes on."""

import multiprocessing
import sys
from dataclasses import replace

import pytest
from limited_tasks import HANG, Greedy, hangs_if_told, takes
from toy import Toy, candidate, toy_data

from engine.allowance import TrialSettings, seconds_of
from engine.backends import Outcome
from engine.backends.processes import Processes
from engine.backends.registry import backend_for
from engine.backends.serial import Serial
from engine.backends.settings import BackendSettings
from engine.errors import SettingsError
from engine.objective import Objective, Problem
from engine.record import RunFolder
from engine.samplers.random import RandomSampler
from engine.study import Study
from engine.trial import State
from engine.work import Build, Finish, Work


def outcomes_of(tasks, backend, work):
    try:
        backend.start(work)
        for task in tasks:
            backend.submit(task)
        return [backend.wait() for _ in tasks]
    finally:
        backend.close()
        assert multiprocessing.active_children() == []


def test_a_task_that_hangs_is_ended_and_its_worker_replaced():
    backend = Processes(1, seconds_of=lambda task: 0.05 if task == HANG else None)
    first, hung, last = outcomes_of([1, HANG, 2], backend, hangs_if_told)
    assert (first.result, last.result) == (1, 2)
    assert (hung.task, hung.is_limit, hung.lost) == (HANG, True, "it ran for longer than 0.05 seconds")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems do not limit the memory of a process")
def test_a_task_that_wants_too_much_memory_gets_none_and_the_worker_goes_on():
    backend = Processes(1, memory_bytes=2**30)
    outcomes = outcomes_of([0.01, 2.0, 0.02], backend, takes)
    assert [outcome.result for outcome in outcomes] == [int(0.01 * 2**27), "MemoryError", int(0.02 * 2**27)]
    assert not any(outcome.lost for outcome in outcomes)


def study_on(backend, tmp_path, family):
    folder, data = RunFolder(tmp_path / "run"), toy_data().save(tmp_path / "data")
    folder.open({"lag": 2})
    backend.start(Work(family, data.folder, "accuracy"))
    axes = (Objective("error"), Objective("bytes"))
    study = Study(
        Problem(family.space, *axes, family.canonical, family.bytes, 8), RandomSampler(), backend, folder, 1, 2
    )
    study.run()
    return study


class Limited:
    """Ends one trial by a limit."""

    def __init__(self, number):
        self.inner, self.number, self.submitted = Serial(), number, []
        self.slots, self.start, self.close = 1, self.inner.start, self.inner.close

    def submit(self, task):
        self.submitted.append(task.number)
        self.inner.submit(task)

    def wait(self):
        outcome = self.inner.wait()
        is_over = outcome.task.number == self.number
        return Outcome(outcome.task, lost="it ran for longer than 9 seconds", is_limit=True) if is_over else outcome


def test_a_trial_that_a_limit_ends_has_failed_and_is_not_run_again(tmp_path):
    backend = Limited(3)
    study = study_on(backend, tmp_path, Toy())
    assert study.trials[3].state is State.FAILED
    assert study.trials[3].error == "A limit ended the trial: it ran for longer than 9 seconds."
    assert study.counts == {State.FAILED: 1, State.COMPLETE: 7}
    assert backend.submitted.count(3) == 1


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems do not limit the memory of a process")
def test_a_trial_without_memory_has_failed_and_the_others_go_on(tmp_path):
    backend = Processes(2, memory_bytes=2**30)
    try:
        study = study_on(backend, tmp_path, Greedy())
    finally:
        backend.close()
    greedy = [trial for trial in study.ended() if trial.candidate["size"] % 2]
    assert greedy
    assert {trial.error for trial in greedy} == {"The trial ran out of memory."}
    assert all(trial.state is State.COMPLETE for trial in study.ended() if trial not in greedy)


def test_a_winner_may_train_as_much_longer_as_it_is_told_to():
    limit = seconds_of(60.0)
    finish = Finish(0, candidate(1), 0, 1000, refit=False, effort=3.0)
    assert limit(Build(0, candidate(1), 0)) == 60
    assert limit(finish) == 180
    assert limit(replace(finish, refit=True)) == 360
    assert limit(replace(finish, max_bytes=None)) == 360, "it teaches"
    assert limit(replace(finish, effort=0.5)) == 60
    assert seconds_of(None) is None


def test_limits_that_make_no_sense_are_told_at_once():
    with pytest.raises(SettingsError, match=r"trial\.seconds must be above 0, got 0\.0\.\ntrial\.memory_bytes must be"):
        TrialSettings(seconds=0.0, memory_bytes=1000)


def test_limits_need_worker_processes():
    with pytest.raises(
        SettingsError, match=r"trial\.seconds and trial\.memory_bytes need worker processes, got backend=serial"
    ):
        backend_for(BackendSettings(name="serial"), workers=1, memory_bytes=2**30)
    backend = backend_for(BackendSettings(name="processes"), workers=3, seconds_of=lambda task: 1.0)
    assert backend.slots == 3
