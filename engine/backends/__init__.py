"""Backends run tasks and decide nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, final

__all__ = ["Backend", "Outcome"]


@final
@dataclass(frozen=True)
class Outcome:
    """How a task ended: with what `work` returned, or with its worker lost.

    Args:
        task: As submitted.
        result: What `work(task)` returned; None if the worker died.
        lost: Why the worker was lost ("killed by signal 9"); empty otherwise.
        is_limit: Whether a limit of the task ended the worker: it would end so again.
    """

    task: Any
    result: Any = None
    lost: str = ""
    is_limit: bool = False


class Backend(Protocol):
    """Runs `work` on tasks in `slots` places at once.

    One thread drives a backend. `work` never raises: what fails inside a task is part of its result.
    """

    @property
    def slots(self) -> int:
        """How many tasks run at once."""
        ...

    def start(self, work: Callable[[Any], Any]) -> None:
        """Bring up the slots; `work` is sent to each of them once."""
        ...

    def submit(self, task: Any) -> None:
        """Queue a task; more than `slots` may wait."""
        ...

    def wait(self) -> Outcome:
        """Block until a submitted task has ended, in any order, and return how.

        Raises:
            BackendError: If nothing is under way, or workers can no longer be started.
        """
        ...

    def close(self) -> None:
        """End the slots, whatever they do; may be called twice."""
        ...
