"""What `python -m automl.search +space=autosklearn` understands."""

from __future__ import annotations

from dataclasses import dataclass, field

from automl.settings import DEFAULT_METRIC
from engine.errors import SettingsError, did_you_mean
from engine.search_settings import SearchSettings
from engine.winners import FinishSettings

__all__ = ["CODINGS_TRIED", "AutoSklearnSettings", "AutoSklearnSpace"]

CODINGS_TRIED = ("float32", "float16", "int8", "int4")
SHORTEST_SECONDS = 60.0  # of which auto-sklearn searches for three fifths


@dataclass(frozen=True, kw_only=True)
class AutoSklearnSpace:
    """Which pipelines are taken over, and how small they are made.

    Args:
        name: Of the space.
        python: Interpreter with auto-sklearn; by default the one that `make autosklearn` sets up.
        pipelines: Of auto-sklearn's, the best by its own validation, at most.
        codings: Of weights and leaf values.
        seconds: For auto-sklearn; by default two thirds of `seconds`, or a minute without one.
    """

    name: str = "autosklearn"
    python: str | None = None
    pipelines: int = 16
    codings: list[str] = field(default_factory=lambda: list(CODINGS_TRIED))
    seconds: float | None = None

    def __post_init__(self) -> None:
        problems = [
            f"space.codings has no '{name}'{did_you_mean(name, CODINGS_TRIED)} Codings: {', '.join(CODINGS_TRIED)}."
            for name in self.codings
            if name not in CODINGS_TRIED
        ]
        if not self.codings:
            problems.append(f"space.codings must name at least one of {', '.join(CODINGS_TRIED)}.")
        if self.pipelines < 1:
            problems.append(f"space.pipelines must be at least 1, got {self.pipelines}.")
        if self.seconds is not None and self.seconds < SHORTEST_SECONDS / 2:
            problems.append(f"space.seconds must be at least {SHORTEST_SECONDS / 2:.0f}, got {self.seconds}.")
        if problems:
            raise SettingsError("\n".join(problems))


@dataclass(frozen=True, kw_only=True)
class AutoSklearnSettings(SearchSettings):
    """What `python -m automl.search +space=autosklearn` understands.

    Args:
        space: Of the pipelines.
        metric: By default the area under the ROC curve for two classes, log loss for more, and the root of the mean
            squared error for values.
        max_bytes: No file of the front is longer; forests are long, so there is no limit by default.
    """

    space: AutoSklearnSpace = field(default_factory=AutoSklearnSpace)
    metric: str = DEFAULT_METRIC
    max_bytes: int | None = None
    finish: FinishSettings = field(default_factory=lambda: FinishSettings(members=48, effort=1.0))
