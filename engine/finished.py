"""Files that were trained long, kept in the run folder under what made them: a second run takes them over."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from engine.artifact import Artifact
from engine.work import Done, Finish

__all__ = ["FinishedFiles"]


@final
@dataclass(frozen=True)
class FinishedFiles:
    """Kept files by their tasks: whatever makes it another file makes it another task.

    Args:
        folder: Of the files.
    """

    folder: Path

    def of(self, tasks: Iterable[Finish]) -> dict[int, Artifact]:
        """Return what is kept of some tasks, by their numbers."""
        places = {task.number: self._place(task) for task in tasks}
        return {
            number: Artifact.load(place)
            for number, place in places.items()
            if (place / "model.onnx").exists() and (place / "card.json").exists()
        }

    def keep(self, task: Finish, done: Done) -> None:
        """Keep what came of a task; of one that failed nothing is."""
        for artifact in done.artifacts:
            card = {**artifact.card, "finish_seconds": round(done.seconds, 2)}
            replace(artifact, card=card).save(self._place(task))

    def _place(self, task: Finish) -> Path:
        teachers = [teacher.sha256 for teacher in task.teachers]
        told = [task.candidate.key, task.seed, task.max_bytes, task.refit, task.effort, teachers]
        return self.folder / hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
