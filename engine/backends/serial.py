"""The readable reference: one task after the other, in the driver itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, final

from engine.backends import Outcome
from engine.errors import BackendError

__all__ = ["Serial"]


@final
class Serial:
    """Runs each task inside `wait`, in the order of submission."""

    def __init__(self) -> None:
        self._work: Callable[[Any], Any] | None = None
        self._queue: deque[Any] = deque()

    @property
    def slots(self) -> int:
        """How many tasks run at once: one."""
        return 1

    def start(self, work: Callable[[Any], Any]) -> None:
        """Remember what to do with tasks.

        Raises:
            BackendError: If the backend runs already.
        """
        if self._work is not None:
            raise BackendError("Serial.start was called twice; close it first.")
        self._work = work

    def submit(self, task: Any) -> None:
        """Queue a task.

        Raises:
            BackendError: If the backend is not started.
        """
        if self._work is None:
            raise BackendError("Serial is not started; call start(work) before submit.")
        self._queue.append(task)

    def wait(self) -> Outcome:
        """Run the oldest task.

        Raises:
            BackendError: If nothing is under way.
        """
        if self._work is None or not self._queue:
            raise BackendError("Nothing is under way: every submitted task has been returned.")
        task = self._queue.popleft()
        return Outcome(task, self._work(task))

    def close(self) -> None:
        """Forget what is queued."""
        self._work = None
        self._queue.clear()
