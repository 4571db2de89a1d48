"""Slots on a Ray cluster, or on a Ray of our own on this machine."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, final

from engine.backends import Outcome
from engine.backends.agent import UP, Errand, run_agent
from engine.backends.desk import Task
from engine.backends.settings import BackendSettings
from engine.backends.spawn import interrupts_held, message_of
from engine.errors import BackendError, MissingExtraError, SettingsError
from engine.work import Work

__all__ = ["Ray"]

CLOSE_SECONDS = 8.0  # for an orderly end: a scheduler grants ten in all


@final
class Ray:
    """Runs tasks on slots of a Ray cluster, oldest task first.

    Each slot is one long-lived trial of Ray Tune that reserves its share of CPUs and GPUs, pulls tasks from a desk, and
    runs them in a worker process of its own. A worker that dies is replaced on the spot; a slot that is lost with its
    node is started anew wherever there is room; either way its task ends as lost. Nodes may join and leave.

    All of Ray runs in other processes than the driver's: what it prints goes to a file, and an abort of its libraries
    is an error here. A Ray that was started here ends here.

    Args:
        settings: Where, and what a slot reserves.
        workers: Slots at most; a cluster with less room runs fewer at once.
        seconds_of: Tells how long a task may run, in seconds; None where all run for as long as they take.
        memory_bytes: Of each worker process; None for as much as there is.

    Raises:
        SettingsError: If there is fewer than one slot.
        MissingExtraError: If Ray is not installed.
    """

    def __init__(
        self,
        settings: BackendSettings,
        *,
        workers: int,
        seconds_of: Callable[[Any], float | None] | None = None,
        memory_bytes: int | None = None,
    ) -> None:
        if workers < 1:
            raise SettingsError(f"workers must be at least 1, got {workers}.")
        if importlib.util.find_spec("ray") is None:
            raise MissingExtraError("Backend 'ray' needs the package ray: pip install 'lilliput[ray]'.")
        if (settings.address or "").startswith("ray://") and importlib.util.find_spec("grpc") is None:
            raise MissingExtraError("backend.address=ray://... needs the package grpcio: pip install 'lilliput[ray]'.")
        self._settings, self._workers = settings, workers
        self._seconds_of, self._memory_bytes = seconds_of, memory_bytes
        self._agent: SpawnProcess | None = None
        self._pipe: Connection | None = None
        self._place = Path()
        self._tasks: dict[int, Any] = {}
        self._ended: deque[Outcome] = deque()
        self._submitted = 0
        self._is_up = False

    @property
    def slots(self) -> int:
        """How many tasks run at once, at most."""
        return self._workers

    def start(self, work: Callable[[Any], Any]) -> None:
        """Connect to the cluster, or start Ray here; slots come up meanwhile.

        Raises:
            BackendError: If `work` cannot be sent to another process, the cluster cannot be reached, or the backend
                runs already.
        """
        if self._agent is not None:
            raise BackendError("Ray.start was called twice; close it first.")
        errand = self._errand(work)
        ours, theirs = multiprocessing.Pipe()
        if os.name == "posix":
            resource_tracker.ensure_running()  # which lets Ctrl-C through when it starts with the first process
        process = multiprocessing.get_context("spawn").Process(target=run_agent, args=(theirs, errand), daemon=True)
        try:
            with interrupts_held():
                process.start()
        except OSError as error:
            ours.close()
            shutil.rmtree(self._place, ignore_errors=True)
            raise BackendError(f"The process that runs Ray cannot be started: {error}.") from error
        finally:
            theirs.close()  # so that a dead agent is the end of the pipe
        self._agent, self._pipe, self._is_up = process, ours, False
        self._receive()

    def submit(self, task: Any) -> None:
        """Queue a task.

        Raises:
            BackendError: If the backend is not started, or the task cannot be sent to another process.
        """
        if self._pipe is None:
            raise BackendError("Ray is not started; call start(work) before submit.")
        self._submitted += 1
        seconds = self._seconds_of(task) if self._seconds_of is not None else None
        sent = Task(self._submitted, bytes(message_of(task)), seconds)
        self._tasks[self._submitted] = task
        try:
            self._pipe.send(sent)
        except OSError:
            self._receive()  # what it said before it ended

    def wait(self) -> Outcome:
        """Block until a task has ended, in any order, and return how.

        Raises:
            BackendError: If nothing is under way, the cluster is gone, or no slot can be had on it.
        """
        if not (self._ended or self._tasks):
            raise BackendError("Nothing is under way: every submitted task has been returned.")
        while not self._ended:
            self._receive()
        return self._ended.popleft()

    def close(self) -> None:
        """End the slots, whatever they do, and a Ray that was started here."""
        agent, pipe = self._agent, self._pipe
        self._agent = self._pipe = None
        self._tasks.clear()
        self._ended.clear()
        if agent is None or pipe is None:
            return
        pipe.close()
        agent.join(CLOSE_SECONDS)
        if agent.is_alive():
            agent.kill()
            agent.join()
        agent.close()
        shutil.rmtree(self._place, ignore_errors=True)

    def _errand(self, work: Callable[[Any], Any]) -> Errand:
        import ray

        if isinstance(work, Work):
            work = replace(work, folder=work.folder.absolute())  # slots work elsewhere
        try:
            pickled = ray.cloudpickle.dumps(work)
        except Exception as error:  # pickling runs the methods of foreign objects
            raise BackendError(f"{work!r:.80} cannot be sent to a worker process: {error}.") from error
        is_shared = self._settings.address is None or self._settings.data == "path"
        folder = work.folder if isinstance(work, Work) and not is_shared else None
        # A short path: sockets lie in it, and theirs may not be longer than about a hundred characters.
        self._place = Path(tempfile.mkdtemp(prefix="lilliput-", dir="/tmp" if os.name == "posix" else None))
        log = self._place / "agent.log"
        return Errand(self._settings, self._workers, pickled, folder, self._place, log, self._memory_bytes)

    def _receive(self) -> None:
        """Take one message of the agent: it is up, tasks have ended, or why nothing goes on."""
        assert self._pipe is not None
        try:
            message = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._failure(f"Ray ended unexpectedly: {_last_line(self._place / 'agent.log')}") from error
        if message == UP:
            self._is_up = True
            return
        if isinstance(message, str):
            raise self._failure(message)
        for ended in message:
            task = self._tasks.pop(ended.number)
            result = ForkingPickler.loads(ended.result) if ended.result is not None else None
            self._ended.append(Outcome(task, result, ended.lost, ended.is_limit))

    def _failure(self, reason: str) -> BackendError:
        self.close()
        where = self._settings.address or "this machine"
        ending = " What is recorded stays: go on with the same command and run=FOLDER." if self._is_up else ""
        return BackendError(f"backend=ray on {where}: {reason.rstrip('.')}.{ending}")


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] if log.exists() else []
    return lines[-1] if lines else "it said nothing"
