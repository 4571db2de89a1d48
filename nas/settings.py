"""What `python -m nas.search` understands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass
from typing import Any, ClassVar, Literal

from engine.errors import SettingsError
from engine.search_settings import SearchSettings
from engine.winners import FinishSettings
from nas.cells import CellsSettings
from nas.space import space_named

__all__ = ["Settings", "TrainSettings", "settings_for"]


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Training of one trial; what is null suits the data.

    Args:
        steps: Of the optimiser, at least.
        epochs: Over the training rows, at least.
        batch_rows: Rows a step.
        learning_rate: At its peak.
        weight_decay: Of AdamW.
        smoothing: Of the labels.
        shift: Largest random shift of an image, in pixels.
        flip: Whether images are mirrored at random.
        teacher_share: Of the finisher's loss that comes from the teacher.
        device: `auto` for a GPU where a worker sees one. Files are the same every time on one kind of device.
    """

    steps: int = 400
    epochs: float = 2.0
    batch_rows: int = 64
    learning_rate: float = 0.01
    weight_decay: float = 0.01
    smoothing: float = 0.05
    shift: int | None = None
    flip: bool = False
    teacher_share: float = 0.7
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        limits = {
            "steps": (1, 10**9),
            "epochs": (0.0, 10**6),
            "batch_rows": (2, 10**6),
            "learning_rate": (1e-9, 100.0),
            "weight_decay": (0.0, 10.0),
            "smoothing": (0.0, 0.99),
            "shift": (0, 1024),
            "teacher_share": (0.0, 1.0),
        }
        problems = [
            f"train.{name} must be in [{low}, {high}], got {value}."
            for name, (low, high) in limits.items()
            if (value := getattr(self, name)) is not None and not low <= value <= high
        ]
        if problems:
            raise SettingsError("\n".join(problems))


@dataclass(frozen=True, kw_only=True)
class Settings(SearchSettings):
    """What `python -m nas.search` understands; `settings_for` where the space is not cells.

    Args:
        space: Of the networks.
        train: Of one trial.
        finish: How the front is finished; networks learn from a teacher, and the more so the better it is.
        max_bytes: No file of the front is longer.
        max_macs: No network needs more multiply-accumulates a row, which bounds the time of a trial; by default 200,000
            times the square root of the number of positions of the input.
    """

    trains_teachers: ClassVar[bool] = True

    space: CellsSettings = field(default_factory=CellsSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    finish: FinishSettings = field(default_factory=lambda: FinishSettings(teachers=2))
    max_bytes: int | None = 65_536


def settings_for(given: Mapping[str, Any]) -> type[Settings]:
    """Return the class of settings whose `space` is of the kind that was given by name.

    Args:
        given: Plain containers, as the user wrote them.

    Raises:
        SettingsError: If there is no space of that name.

    Example:
        >>> settings_for({"space": {"name": "mlp"}})().space.widths[:3]
        (2, 4, 8)
    """
    space = given.get("space")
    name = space.get("name", "cells") if isinstance(space, Mapping) else "cells"
    kind = space_named(str(name)).settings
    if kind is CellsSettings:
        return Settings
    made = make_dataclass(
        "Settings", [("space", kind, field(default_factory=kind))], bases=(Settings,), frozen=True, kw_only=True
    )
    made.__doc__ = Settings.__doc__
    return made
