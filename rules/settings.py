"""What `python -m rules.search` understands."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.launch import SearchSettings
from rules.generators.space import RulesSettings

__all__ = ["FileSettings", "Settings"]


@dataclass(frozen=True, kw_only=True)
class FileSettings:
    """The user's own rules.

    Args:
        file: In the language of rules, YAML; without, nothing is demanded.
    """

    file: str | None = None


@dataclass(frozen=True, kw_only=True)
class Settings(SearchSettings):
    """What `python -m rules.search` understands.

    Args:
        space: Of the rule models.
        rules: The user's own.
        budget: Trials to train; each yields a whole path of models, from few rules to many.
        workers: Trials at once.
    """

    space: RulesSettings = field(default_factory=RulesSettings)
    rules: FileSettings = field(default_factory=FileSettings)
    budget: int = 50
