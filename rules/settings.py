"""What `python -m rules.search` understands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from engine.errors import SettingsError
from engine.search_settings import SearchSettings
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
        bytes_of: The form of the rules whose length is the second axis, and what `max_bytes` limits.
        budget: Trials to train; each yields a whole path of models, from few rules to many.
        workers: Trials at once.
    """

    space: RulesSettings = field(default_factory=RulesSettings)
    rules: FileSettings = field(default_factory=FileSettings)
    bytes_of: Literal["onnx", "sql", "python", "json", "yaml", "text"] = "onnx"
    budget: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bytes_of != "onnx" and self.cost not in ("bytes", f"{self.bytes_of}_bytes"):
            raise SettingsError(
                f"bytes_of={self.bytes_of} names the bytes that are the second axis, but cost={self.cost} is another "
                "axis: remove one of them."
            )
