"""Search for compact networks: `python -m nas.search +space=cells budget=100`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from engine.command import ending, lenient, main_guard
from engine.launch import Run, SearchSettings, search
from engine.load import Loaded
from engine.settings import build
from nas.cells import CellsSettings

__all__ = ["Settings", "TrainSettings", "main", "run"]


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
    """

    steps: int = 400
    epochs: float = 2.0
    batch_rows: int | None = None
    learning_rate: float = 0.01
    weight_decay: float = 0.01
    smoothing: float = 0.05
    shift: int | None = None
    flip: bool = False
    teacher_share: float = 0.7


@dataclass(frozen=True, kw_only=True)
class Settings(SearchSettings):
    """What `python -m nas.search` understands.

    Args:
        space: Of the networks.
        train: Of one trial.
        max_bytes: No file of the front is longer.
        max_macs: No network needs more multiply-accumulates a row, which bounds the time of a trial; by default 200,000
            times the square root of the number of positions of the input.
    """

    space: CellsSettings = field(default_factory=CellsSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    max_bytes: int | None = 65_536


def run(settings: Settings) -> Run:
    """Search as the command does.

    Example:
        >>> settings = Settings(budget=2, workers=1, quiet=True)  # doctest: +SKIP
        >>> run(settings).members[0].artifact.size  # doctest: +SKIP
        2214
    """
    from nas.family import Cells, macs_for, recipe_for

    def complete(loaded: Loaded) -> tuple[Settings, Cells]:
        signature = loaded.dataset.signature
        recipe = recipe_for(signature, len(loaded.dataset.splits[0].train), vars(settings.train))
        family = Cells(settings.space, signature, recipe, settings.finish.effort)
        return replace(settings, max_macs=settings.max_macs or macs_for(signature)), family

    return search(settings, complete, name=settings.space.name)


@hydra.main(version_base="1.3", config_path="../conf", config_name="nas")
def _composed(config: DictConfig) -> None:
    plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    _state["exit"] = main_guard(lambda: ending(run(build(Settings, plain)), "nas.search", _state["arguments"]))


_state: dict[str, Any] = {"exit": 0, "arguments": []}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    _state["arguments"] = given
    sys.argv = [sys.argv[0], *lenient(given, Path(__file__).parent.parent / "conf")]
    _composed()
    return int(_state["exit"])


if __name__ == "__main__":
    sys.exit(main())
