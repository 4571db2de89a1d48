"""What `python -m automl.search` understands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from automl.space import TabularSettings
from engine.data import Signature
from engine.errors import SettingsError, did_you_mean
from engine.search_settings import SearchSettings
from engine.winners import FinishSettings

__all__ = ["DEFAULT_METRIC", "Settings", "check_monotone", "plain_monotone"]

DEFAULT_METRIC = "default"


@dataclass(frozen=True, kw_only=True)
class Settings(SearchSettings):
    """What `python -m automl.search` understands.

    Args:
        space: Of the models.
        metric: By default the area under the ROC curve for two classes, log loss for more, and the root of the mean
            squared error for values.
        max_bytes: No file of the front is longer.
        race: Stop trials that lie clearly behind the front after the first of their folds.
        monotone: 1 or -1 for each numeric column with which the answer (the probability of the second class, or the
            value) must not fall or rise.
    """

    space: TabularSettings = field(default_factory=TabularSettings)
    metric: str = DEFAULT_METRIC
    max_bytes: int | None = 262_144
    race: bool = True
    finish: FinishSettings = field(default_factory=lambda: FinishSettings(members=48, effort=1.0))
    monotone: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = [
            f"monotone.{name} must be 1 or -1, got {sign!r}."
            for name, sign in self.monotone.items()
            if isinstance(sign, bool) or sign not in (1, -1)
        ]
        if self.teacher:
            problems.append("teacher says nothing here: the space tabular trains its own on the data; remove it.")
        if self.max_macs is not None:
            problems.append("max_macs says nothing here: models of tables are not counted in it; remove it.")
        try:
            super().__post_init__()
        except SettingsError as error:
            problems.append(str(error))
        if problems:
            raise SettingsError("\n".join(problems))


def check_monotone(monotone: Mapping[str, int], signature: Signature) -> None:
    """Raise unless directions are asked for numeric columns of a task that has a direction.

    Raises:
        SettingsError: With every problem.
    """
    problems = []
    for name in monotone:
        if name in signature.categorical_columns:
            problems.append(f"monotone.{name} must name a numeric column; {name} holds categories.")
        elif name not in signature.numeric_columns:
            hint = did_you_mean(name, signature.numeric_columns)
            problems.append(f"monotone has no column '{name}'{hint} Columns: {', '.join(signature.numeric_columns)}.")
    if monotone and len(signature.classes) > 2:
        problems.append(f"monotone needs two classes or values, got {len(signature.classes)} classes.")
    if problems:
        raise SettingsError("\n".join(problems))


def plain_monotone(given: Any) -> dict[str, int]:
    """Return the directions of a composed configuration.

    Raises:
        SettingsError: If they are no mapping.
    """
    if given in (None, {}):
        return {}
    if not isinstance(given, Mapping):
        raise SettingsError(f"monotone must be a mapping of columns to 1 or -1, as monotone={{age: 1}}, got {given!r}.")
    return {str(name): sign for name, sign in given.items()}
