import functools
import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

from engine.backends.processes import Processes
from engine.backends.registry import BACKENDS, backend_for
from engine.backends.serial import Serial
from engine.backends.settings import BackendSettings
from engine.checks import backend_checks
from engine.errors import BackendError, SettingsError

LAWS = [  # those of ray: test_ray_cluster.py
    pytest.param(name, check, id=f"{name}-{law}")
    for name in BACKENDS
    if name != "ray"
    for law, check in backend_checks(is_process=name != "serial")
]


@pytest.mark.parametrize(("name", "check"), LAWS)
def test_keeps_the_laws(name, check):
    check(functools.partial(backend_for, BackendSettings(name), workers=2))
    assert multiprocessing.active_children() == []


def outcomes_of(tasks, work, *, workers=1):
    backend = Processes(workers)
    try:
        backend.start(work)
        for task in tasks:
            backend.submit(task)
        return [backend.wait() for _ in tasks]
    finally:
        backend.close()


def test_one_worker_takes_the_oldest_task_first():
    assert [outcome.result for outcome in outcomes_of([-3, 1, -2], abs)] == [3, 1, 2]


def test_a_worker_that_exits_is_reported_with_its_code_and_replaced(capfd):
    first, second = outcomes_of([3, "x"], os._exit)  # os._exit("x") raises, which ends the worker too
    assert (first.task, first.result, first.lost) == (3, None, "exit code 3")
    assert second.lost == "exit code 1"
    assert "TypeError" in capfd.readouterr().err


def test_a_task_without_time_ends_without_a_worker():
    backend = Processes(1, seconds_of=lambda task: 0.0 if task < 0 else None)
    try:
        backend.start(abs)
        for task in (4, -1, -2):
            backend.submit(task)
        ended = {outcome.task: outcome for outcome in (backend.wait() for _ in range(3))}
    finally:
        backend.close()
    assert ended[4].result == 4
    assert all(ended[task].is_limit and "while it waited" in ended[task].lost for task in (-1, -2))


def test_a_worker_is_replaced_only_for_a_task_that_waits():
    backend = Processes(1)
    try:
        backend.start(os._exit)
        backend.submit(3)
        assert backend.wait().lost == "exit code 3"
        assert multiprocessing.active_children() == []
        backend.submit(4)
        assert backend.wait().lost == "exit code 4"
    finally:
        backend.close()


def test_workers_compute_on_one_thread_and_the_driver_keeps_its_environment(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"]
    assert [outcome.result for outcome in outcomes_of(names, os.getenv)] == ["1", "1", "1"]
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_workers_leave_interrupts_to_the_driver():
    (outcome,) = outcomes_of([signal.SIGINT], signal.getsignal)
    assert outcome.result is signal.SIG_IGN
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert signal.SIGINT not in before


def test_an_interrupted_worker_goes_on():
    (outcome,) = outcomes_of([signal.SIGINT], signal.raise_signal)
    assert not outcome.lost


class Unstartable:
    """Dies in the worker, before the worker is up."""

    def __reduce__(self):
        return sys.exit, (4,)

    def __call__(self, task):
        return task


def test_workers_that_never_come_up_end_in_an_error_that_says_why():
    backend = Processes(2)
    backend.start(Unstartable())
    backend.submit(1)
    with pytest.raises(BackendError, match="3 workers in a row died while starting, the last one: exit code 4"):
        backend.wait()
    assert multiprocessing.active_children() == []
    backend.close()


def test_what_cannot_be_sent_is_refused_at_once():
    backend = Processes(1)
    with pytest.raises(BackendError, match="cannot be sent to a worker process"):
        backend.start(lambda task: task)
    backend.start(abs)
    with pytest.raises(BackendError, match="cannot be sent to a worker process"):
        backend.submit(lambda: 1)
    backend.close()


DRIVER = """
import os, signal, time
from engine.backends.processes import Processes
if __name__ == "__main__":
    backend = Processes(2)
    backend.start(time.sleep)
    backend.submit(600)
    backend.submit(0)
    backend.wait()
    print(*[slot.process.pid for slot in backend._slots], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_with_a_driver_that_is_killed(tmp_path):
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    # Workers inherit the pipe of standard output: reading it to its end waits for the last of them.
    done = subprocess.run([sys.executable, str(script)], stdout=subprocess.PIPE, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert len(done.stdout.split()) == 2


@pytest.mark.parametrize("make", [Serial, functools.partial(Processes, 1)], ids=["serial", "processes"])
def test_misuse_is_an_error(make):
    backend = make()
    with pytest.raises(BackendError, match=r"call start\(work\) before submit"):
        backend.submit(1)
    backend.start(abs)
    with pytest.raises(BackendError, match="start was called twice"):
        backend.start(abs)
    backend.close()


def test_unknown_names_say_what_there_is():
    with pytest.raises(
        SettingsError, match=r"No backend 'proceses'; did you mean 'processes'\? Backends: processes, ray, serial\."
    ):
        backend_for(BackendSettings("proceses"), workers=2)
    with pytest.raises(SettingsError, match=r"No backend 'q'\. Backends"):
        backend_for(BackendSettings("q"), workers=2)
    with pytest.raises(SettingsError, match="workers must be at least 1, got 0"):
        backend_for(BackendSettings("processes"), workers=0)
    assert backend_for(BackendSettings("serial"), workers=8).slots == 1
    assert backend_for(BackendSettings("processes"), workers=3).slots == 3
