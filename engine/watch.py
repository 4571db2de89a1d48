"""What follows from each trial that ends: lines of progress, rows of a mirrored study, time kept for the finisher."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from engine.front import Front
from engine.progress import Progress, Status
from engine.reserve import Reserve
from engine.storage import Mirror
from engine.study import Study
from engine.trial import Trial

if TYPE_CHECKING:
    from engine.search_settings import SearchSettings

__all__ = ["Watch"]

REFERENCE_BYTES = 1_000_000  # of the hypervolume that is shown: a file of 1 MB that is always wrong


@final
@dataclass
class Watch:
    """Turns changes of the study into lines of progress, rows of the mirror, and the time kept for the finisher."""

    progress: Progress
    settings: SearchSettings
    start: float
    mirror: Mirror | None
    phase: str = "search"
    reserve: Reserve | None = None
    _last: Study | None = None
    _measured: tuple[Front, float] = (Front(()), 0.0)  # the last front with its hypervolume

    def study(self, study: Study, trial: Trial) -> None:
        """Show where the search stands."""
        self._last = study
        if self.mirror is not None:
            self.mirror.record(trial)
        paid = sum(count for state, count in study.counts.items() if state.is_paid)
        left = None
        if paid:
            left = (time.monotonic() - self.start) / paid * (self.settings.budget - paid)
        if self.reserve is not None:
            self.reserve.told(study, trial)
            left = None if left is None else left + self.reserve.expected_seconds
        self._show(0, 0, left)

    def finish(self, finished: int, total: int, left: float | None) -> None:
        """Show where the finisher stands.

        Args:
            finished: Winners that are.
            total: Winners.
            left: Seconds to expect, or None.
        """
        self._show(finished, total, left)

    def _show(self, finished: int, total: int, left: float | None) -> None:
        study = self._last
        if study is None or self.settings.quiet:
            return
        if study.front is not self._measured[0]:
            self._measured = study.front, study.front.hypervolume(cost=REFERENCE_BYTES)
        counts = {str(state.value): count for state, count in study.counts.items()}
        paid = sum(count for state, count in study.counts.items() if state.is_paid)
        elapsed = time.monotonic() - self.start
        if left is not None and self.settings.seconds is not None:
            left = min(left, self.settings.seconds - elapsed)
        self.progress.update(
            Status(
                phase=self.phase,
                budget=self.settings.budget,
                paid=paid,
                complete=counts.get("complete", 0),
                raced=counts.get("raced", 0),
                failed=counts.get("failed", 0),
                cached=counts.get("cached", 0),
                oversized=counts.get("oversized", 0),
                front=study.front,
                hypervolume=self._measured[1],
                seconds=elapsed,
                seconds_left=left,
                finished=finished,
                to_finish=total,
                last_error=study.last_error,
                metric=self.settings.metric,
            )
        )
