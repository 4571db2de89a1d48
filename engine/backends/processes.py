"""Worker processes on this machine: one pipe each, replaced when they die and there is more to do."""

from __future__ import annotations

import math
import multiprocessing
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, final

from engine.backends import Outcome
from engine.backends.spawn import end_with_driver, interrupts_held, message_of, worker_environment
from engine.errors import BackendError, SettingsError

__all__ = ["Processes"]

MAX_FAILED_STARTS = 3  # in a row


@dataclass(eq=False)
class _Task:
    value: Any


@dataclass(eq=False)
class _Slot:
    """One place: its process, our end of its pipe, and what it does."""

    process: SpawnProcess
    pipe: Connection
    is_ready: bool = False
    task: _Task | None = None
    limit: float = 0.0  # seconds that the task may take
    until: float = math.inf  # on the monotonic clock


@final
class Processes:
    """Runs tasks in worker processes, oldest task first, on the longest-lived idle worker.

    A worker that dies takes its task with it, which ends as lost, and is replaced as soon as a task waits for it. Tasks
    go only to workers that have come up, so a failed start loses none. Workers end when the driver does, however it
    ends; they leave Ctrl-C to it.

    A task that runs for longer than it may ends as lost, by a limit, and its worker is killed, whatever it hangs in;
    one whose time is over while it waits ends so without a worker. A worker that asks for more memory than it may have
    gets none: what runs there raises MemoryError.

    Args:
        workers: Number of processes.
        seconds_of: Tells how long a task may run, in seconds, or None for as long as it takes; None: all of them.
        memory_bytes: Of each worker, its libraries included; None for as much as there is.

    Raises:
        SettingsError: If there is fewer than one worker, or memory cannot be limited on this system.
    """

    def __init__(
        self,
        workers: int,
        *,
        seconds_of: Callable[[Any], float | None] | None = None,
        memory_bytes: int | None = None,
    ) -> None:
        if workers < 1:
            raise SettingsError(f"workers must be at least 1, got {workers}.")
        if memory_bytes is not None and not sys.platform.startswith("linux"):
            raise SettingsError("trial.memory_bytes needs Linux: other systems do not limit the memory of a process.")
        self._workers = workers
        self._seconds_of = seconds_of
        self._memory_bytes = memory_bytes
        self._work: Callable[[Any], Any] | None = None
        self._is_started = False
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
        if self._is_started:
            raise BackendError("Processes.start was called twice; close it first.")
        message_of(work)  # a clear error now instead of a half-started process
        self._is_started, self._work, self._failed_starts = True, work, 0
        if hasattr(signal, "pthread_sigmask"):
            resource_tracker.ensure_running()  # which lets Ctrl-C through when it starts with the first worker
        for _ in range(self._workers):
            self._slots.append(self._started())

    def submit(self, task: Any) -> None:
        """Queue a task.

        Raises:
            BackendError: If the backend is not started, or the task cannot be sent to another process.
        """
        if not self._is_started:
            raise BackendError("Processes is not started; call start(work) before submit.")
        message_of(task)  # a clear error now
        self._queue.append(_Task(task))
        self._dispatch()

    def wait(self) -> Outcome:
        """Block until a task has ended, in any order, and return how.

        Raises:
            BackendError: If nothing is under way, or workers die before they come up, three times in a row.
        """
        if not (self._ended or self._queue or any(slot.task for slot in self._slots)):
            raise BackendError("Nothing is under way: every submitted task has been returned.")
        self._dispatch()
        while not self._ended:
            watched = [place for slot in self._slots for place in (slot.pipe, slot.process.sentinel)]
            until = min(slot.until for slot in self._slots)
            ready = wait(watched, None if until == math.inf else max(0.0, until - time.monotonic()))
            for slot in list(self._slots):
                if slot.pipe in ready or slot.process.sentinel in ready:
                    self._attend(slot)
                elif slot.until <= time.monotonic():
                    self._overrun(slot)
            self._dispatch()
        return self._ended.popleft()

    def close(self) -> None:
        """End the workers, whatever they do, and forget what is queued."""
        self._is_started = False
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
        process = context.Process(target=_serve, args=(theirs, self._work, self._memory_bytes), daemon=True)
        try:
            with worker_environment(), interrupts_held():
                process.start()
        except OSError as error:  # the child died while it was being sent its work, or there can be no child
            ours.close()
            raise BackendError(f"A worker process cannot be started: {error}.") from error
        finally:
            theirs.close()  # so that a dead worker is the end of the pipe
        return _Slot(process, ours)

    def _dispatch(self) -> None:
        """End tasks without time, give the others to idle workers, and replace workers for which one waits."""
        late = [task for task in self._queue if self._seconds(task) == 0]
        self._queue = deque(task for task in self._queue if task not in late)
        self._ended.extend(
            Outcome(task.value, lost="its time was over while it waited", is_limit=True) for task in late
        )
        for slot in self._slots:
            if self._queue and slot.is_ready and slot.task is None:
                slot.task = self._queue.popleft()
                try:
                    slot.pipe.send_bytes(message_of(slot.task.value))  # only now: a deadline goes as the time left
                except OSError:  # it died while idle, and never saw the task
                    self._queue.appendleft(slot.task)
                    slot.task = None
                    continue
                limit = self._seconds(slot.task)
                slot.limit, slot.until = (0.0, math.inf) if limit is None else (limit, time.monotonic() + limit)
        coming = sum(slot.task is None for slot in self._slots)
        for _ in range(min(self._workers - len(self._slots), len(self._queue) - coming)):
            self._slots.append(self._started())

    def _seconds(self, task: _Task) -> float | None:
        return self._seconds_of(task.value) if self._seconds_of is not None else None

    def _attend(self, slot: _Slot) -> None:
        """Take one message from a worker, or its death. What it sent before it died still counts."""
        try:
            if slot.pipe.poll():
                result = slot.pipe.recv()
                if slot.task is None:
                    slot.is_ready, self._failed_starts = True, 0
                else:
                    self._ended.append(Outcome(slot.task.value, result))
                    slot.task, slot.until = None, math.inf
                return
        except (EOFError, OSError):
            pass
        self._slots.remove(slot)
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

    def _overrun(self, slot: _Slot) -> None:
        """End a worker whose task takes too long."""
        assert slot.task is not None
        slot.process.kill()
        self._slots.remove(slot)
        _bury(slot)
        reason = f"it ran for longer than {slot.limit:g} seconds"
        self._ended.append(Outcome(slot.task.value, lost=reason, is_limit=True))


def _serve(pipe: Connection, work: Callable[[Any], Any], memory_bytes: int | None) -> None:
    """What a worker does: say that it is up, then answer each task, until the driver is gone."""
    end_with_driver()
    if memory_bytes is not None:
        import resource  # only where there are such limits

        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    try:
        pipe.send(None)
        while True:
            pipe.send(work(pipe.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


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
