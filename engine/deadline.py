"""Moments by which something must be over, that no change of the clock moves."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, final

__all__ = ["Deadline"]


@final
@dataclass(frozen=True)
class Deadline:
    """A moment on the clock of this machine that only runs forward. Make it with `after`.

    Sent to another process or machine, it keeps the time that is left, and not the reading of a clock that may differ
    there.

    Args:
        moment: Of `time.monotonic()`, in seconds.

    Example:
        >>> Deadline.after(60.0).is_over()
        False
    """

    moment: float

    @staticmethod
    def after(seconds: float) -> Deadline:
        """Return the deadline so many seconds from now."""
        return Deadline(time.monotonic() + seconds)

    def left(self) -> float:
        """Return how many seconds are left; below 0 once it is over."""
        return self.moment - time.monotonic()

    def is_over(self) -> bool:
        """Say whether the time is up."""
        return self.left() <= 0

    def __reduce__(self) -> tuple[Any, ...]:
        return Deadline.after, (self.left(),)
