"""Worker processes on this machine: one pipe each, replaced at once when they die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, final

from engine.backends import Outcome
from engine.errors import BackendError, SettingsError

__all__ = ["Processes"]

MAX_FAILED_STARTS = 3  # in a row
# Every worker computes on one thread: as many workers as cores, and the same sums whatever the number of cores.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
# The C library of Linux gives freed memory back and asks for it again at each step of a training.
HELD_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_MMAP_THRESHOLD_": str(2**30)}
WORKER_ENVIRONMENT = ONE_THREAD | HELD_MEMORY


@dataclass
class _Task:
    value: Any
    message: memoryview


@dataclass
class _Slot:
    """One place: its process, our end of its pipe, and what it does."""

    process: SpawnProcess
    pipe: Connection
    is_ready: bool = False
    task: _Task | None = None


@final
class Processes:
    """Runs tasks in worker processes, oldest task first, on the lowest-numbered idle worker.

    A worker that dies takes its task with it, which ends as lost, and is replaced. Tasks go only to workers that have
    come up, so a failed start loses none. Workers end when the driver does, however it ends; they leave Ctrl-C to it.

    Args:
        workers: Number of processes.

    Raises:
        SettingsError: If there is fewer than one worker.
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise SettingsError(f"workers must be at least 1, got {workers}.")
        self._workers = workers
        self._work: Callable[[Any], Any] | None = None
        self._slots: list[_Slot] = []
        self._queue: deque[_Task] = deque()
        self._ended: deque[Outcome] = deque()
        self._failed_starts = 0

    @property
    def slots(self) -> int:
        """How many tasks run at once."""
        return self._workers

    def start(self, work: Callable[[Any], Any]) -> None:
        """Bring up the workers, without waiting for them.

        Raises:
            BackendError: If `work` cannot be sent to another process, or the backend runs already.
        """
        if self._slots:
            raise BackendError("Processes.start was called twice; close it first.")
        self._work = work
        self._failed_starts = 0
        _message(work)  # a clear error now instead of a half-started process
        if hasattr(signal, "pthread_sigmask"):
            resource_tracker.ensure_running()  # which lets Ctrl-C through when it starts with the first worker
        for _ in range(self._workers):
            self._slots.append(self._started())

    def submit(self, task: Any) -> None:
        """Queue a task.

        Raises:
            BackendError: If the backend is not started, or the task cannot be sent to another process.
        """
        if not self._slots:
            raise BackendError("Processes is not started; call start(work) before submit.")
        self._queue.append(_Task(task, _message(task)))
        self._dispatch()

    def wait(self) -> Outcome:
        """Block until a task has ended, in any order, and return how.

        Raises:
            BackendError: If nothing is under way, or workers die before they come up, three times in a row.
        """
        if not (self._ended or self._queue or any(slot.task for slot in self._slots)):
            raise BackendError("Nothing is under way: every submitted task has been returned.")
        while not self._ended:
            self._dispatch()
            watched = [place for slot in self._slots for place in (slot.pipe, slot.process.sentinel)]
            ready = wait(watched)
            for number, slot in enumerate(list(self._slots)):
                if slot.pipe in ready or slot.process.sentinel in ready:
                    self._attend(number, slot)
        return self._ended.popleft()

    def close(self) -> None:
        """End the workers, whatever they do, and forget what is queued."""
        slots, self._slots = self._slots, []
        self._queue.clear()
        self._ended.clear()
        for slot in slots:
            slot.process.terminate()
        for slot in slots:
            _bury(slot)

    def _started(self) -> _Slot:
        ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=_serve, args=(theirs, self._work), daemon=True)
        try:
            with _environment(), _interrupts_held():
                process.start()
        except OSError as error:  # the child died while it was being sent its work, or there can be no child
            ours.close()
            raise BackendError(f"A worker process cannot be started: {error}.") from error
        finally:
            theirs.close()  # so that a dead worker is the end of the pipe
        return _Slot(process, ours)

    def _dispatch(self) -> None:
        for slot in self._slots:
            if self._queue and slot.is_ready and slot.task is None:
                slot.task = self._queue.popleft()
                try:
                    slot.pipe.send_bytes(slot.task.message)
                except OSError:  # it died while idle, and never saw the task
                    self._queue.appendleft(slot.task)
                    slot.task = None

    def _attend(self, number: int, slot: _Slot) -> None:
        """Take one message from a worker, or its death. What it sent before it died still counts."""
        try:
            if slot.pipe.poll():
                result = slot.pipe.recv()
                if slot.task is None:
                    slot.is_ready, self._failed_starts = True, 0
                else:
                    self._ended.append(Outcome(slot.task.value, result))
                    slot.task = None
                return
        except (EOFError, OSError):
            pass
        del self._slots[number]
        reason = _bury(slot)
        if slot.task is not None:
            self._ended.append(Outcome(slot.task.value, lost=reason))
        elif not slot.is_ready:
            self._failed_starts += 1
            if self._failed_starts >= MAX_FAILED_STARTS:
                self.close()
                raise BackendError(
                    f"{MAX_FAILED_STARTS} workers in a row died while starting, the last one: {reason}. Its own output "
                    'says why. A script that starts workers needs its top level under `if __name__ == "__main__":`.'
                )
        self._slots.insert(number, self._started())


def _serve(pipe: Connection, work: Callable[[Any], Any]) -> None:
    """What a worker does: say that it is up, then answer each task, until the driver is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_driver, daemon=True).start()
    try:
        pipe.send(None)
        while True:
            pipe.send(work(pipe.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _end_with_driver() -> None:
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os._exit(1)


def _message(value: Any) -> memoryview:
    try:
        return ForkingPickler.dumps(value)
    except Exception as error:  # pickling runs the methods of foreign objects
        raise BackendError(f"{value!r:.80} cannot be sent to a worker process: {error}.") from error


def _bury(slot: _Slot) -> str:
    """Make sure that a process is gone, free what it held, and say how it ended."""
    slot.process.join(timeout=5)
    if slot.process.is_alive():
        slot.process.kill()
        slot.process.join()
    code = slot.process.exitcode or 0
    slot.process.close()
    slot.pipe.close()
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


@contextmanager
def _environment() -> Iterator[None]:
    """Set what a new process must find before it loads NumPy, and put back what was there."""
    before = {name: os.environ.get(name) for name in WORKER_ENVIRONMENT}
    os.environ.update(WORKER_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back while a process is born: it inherits that, and the driver gets the signal afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
