"""What every driver understands, whatever its models are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, final

from engine.allowance import TrialSettings
from engine.backends.settings import BackendSettings
from engine.errors import SettingsError
from engine.load import DataSettings
from engine.threshold import ThresholdSettings
from engine.winners import FinishSettings

__all__ = ["Named", "SearchSettings"]


@final
@dataclass(frozen=True)
class Named:
    """A choice by name."""

    name: str


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """What every driver understands.

    Args:
        data: Where rows come from and how they are split.
        backend: Where trials run: `processes`, `serial` or `ray`, and what Ray must know.
        sampler: `pareto`, `random`, or one of Optuna's.
        budget: Trials to train; cached and oversized ones are free.
        seconds: For everything from loading to the written files, instead of a budget alone.
        trial: What one trial may take.
        seed: Of the split, the search and the training.
        workers: Trials at once.
        run: Folder of the run; an existing one is resumed.
        metric: Error that is minimised.
        cost: The second axis.
        max_bytes: No file of the front is longer.
        min_bytes: A shorter file is worth nothing more: of those at most this long only the most accurate counts, and
            the search looks for others above.
        max_macs: No network needs more multiply-accumulates a row.
        race: Stop trials that can no longer reach the front at their size, by their learning curve or by the first of
            their folds. Off until a benchmark shows what it costs.
        lag: How far knowledge lags behind proposals; by default twice the workers.
        storage: Database, or journal file of Optuna, that mirrors the study for optuna-dashboard.
        teacher: A model file whose outputs the winners learn from; by default the best member of the front.
        finish: How the front is finished.
        threshold: How labels are chosen from probabilities; by default the most probable class.
        quiet: No progress display.
    """

    trains_teachers: ClassVar[bool] = False  # whether what is made by `teachers` of `finish` differs from a winner

    data: DataSettings = field(default_factory=DataSettings)
    backend: BackendSettings = field(default_factory=BackendSettings)
    sampler: Named = Named("pareto")
    budget: int = 100
    seconds: float | None = None
    trial: TrialSettings = field(default_factory=TrialSettings)
    seed: int = 0
    workers: int = 2
    run: str | None = None
    metric: str = "accuracy"
    cost: Literal["bytes", "latency_us", "macs"] = "bytes"
    max_bytes: int | None = None
    min_bytes: int | None = None
    max_macs: int | None = None
    race: bool = False
    lag: int | None = None
    storage: str | None = None
    teacher: str | None = None
    finish: FinishSettings = field(default_factory=FinishSettings)
    threshold: ThresholdSettings = field(default_factory=ThresholdSettings)
    quiet: bool = False

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be at least 1, got {value}."
            for name in ("budget", "workers", "max_bytes", "min_bytes", "max_macs", "lag", "seconds")
            if (value := getattr(self, name)) is not None and value < 1
        ]
        if self.min_bytes is not None and self.cost in ("latency_us", "macs"):
            problems.append(f"min_bytes is for bytes as the second axis, but cost={self.cost}; leave one of them out.")
        if self.min_bytes is not None and self.max_bytes is not None and self.min_bytes >= self.max_bytes:
            problems.append(f"min_bytes must be less than max_bytes={self.max_bytes}, got {self.min_bytes}.")
        if self.finish.teachers and not self.trains_teachers:
            problems.append("finish.teachers says nothing here: only networks are trained to teach; remove it.")
        if self.seed < 0:
            problems.append(f"seed must be at least 0, got {self.seed}.")
        if problems:
            raise SettingsError("\n".join(problems))
