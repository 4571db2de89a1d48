"""What one trial may take: seconds and memory. Beyond that it fails, and the search goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from engine.errors import SettingsError
from engine.work import Finish

__all__ = ["TrialSettings", "seconds_of"]

LEAST_BYTES = 512 * 2**20  # the libraries of a worker take more than half of that


@final
@dataclass(frozen=True, kw_only=True)
class TrialSettings:
    """What one trial may take.

    Args:
        seconds: How long a trial may run before it fails and its worker is replaced, whatever it hangs in; a winner's
            long training may take `finish.effort` times as long, a small winner's up to three times that, and twice as
            long where it is trained on all rows as well or only teaches.
        memory_bytes: Of memory that a worker may hold, its libraries included; a trial that needs more fails. Linux.
    """

    seconds: float | None = None
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        problems = []
        if self.seconds is not None and not self.seconds > 0:
            problems.append(f"trial.seconds must be above 0, got {self.seconds}.")
        if self.memory_bytes is not None and self.memory_bytes < LEAST_BYTES:
            problems.append(
                f"trial.memory_bytes must be at least {LEAST_BYTES}, which the libraries of a worker need, got "
                f"{self.memory_bytes}."
            )
        if problems:
            raise SettingsError("\n".join(problems))


def seconds_of(seconds: float | None, grace: float | None = None) -> Callable[[Any], float | None] | None:
    """Return what tells how long a task may run, or None where all run for as long as they take.

    Args:
        seconds: That a trial may run.
        grace: Seconds that a trial may go on after its deadline, a winner's training none; None where deadlines end
            nothing.
    """
    if seconds is None and grace is None:
        return None

    def limit(task: Any) -> float | None:
        is_long = isinstance(task, Finish)
        known = []
        if seconds is not None:
            is_double = is_long and (task.refit or task.max_bytes is None)  # what teaches is larger
            known.append(seconds * (2 if is_double else 1) * (max(1.0, task.effort) if is_long else 1.0))
        if grace is not None and task.deadline is not None:
            known.append(max(0.0, task.deadline.left() + (0.0 if is_long else grace)))
        return min(known, default=None)

    return limit
