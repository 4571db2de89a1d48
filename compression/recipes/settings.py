"""What `python -m compression.search` understands."""

from __future__ import annotations

from dataclasses import dataclass, field

from compression.codings import CODINGS, PALETTES
from engine.errors import SettingsError, did_you_mean
from engine.search_settings import SearchSettings

__all__ = ["RecipesSettings", "Settings", "TrainSettings"]

EXECUTIONS = {"float", "integer"}


@dataclass(frozen=True, kw_only=True)
class RecipesSettings:
    """Of the space of recipes.

    Args:
        name: `recipes`.
        codings: For each layer.
        keeps: Shares of the channels of a group that may stay.
        ranks: Shares of the full rank that may stay; 1 alone switches factors off.
        densities: Shares of the weights that may stay where the coding is sparse.
        layers: Into how many parts the layers are cut; each part has genes of its own.
        executions: How files compute: `float`, or `integer` (activations and weights of eight bits). By default the
            search chooses where `cost` is the latency, otherwise all compute with floats.
    """

    name: str = "recipes"
    codings: list[str] = field(default_factory=lambda: ["ternary", "int2", "int4", "int8", "sparse4"])
    keeps: list[float] = field(default_factory=lambda: [0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0])
    ranks: list[float] = field(default_factory=lambda: [0.25, 0.5, 1.0])
    densities: list[float] = field(default_factory=lambda: [0.1, 0.2, 0.4])
    layers: int = 12
    executions: list[str] | None = None

    def __post_init__(self) -> None:
        known = CODINGS | PALETTES
        problems = [
            f"No coding '{name}'{did_you_mean(name, known)} space.codings may hold {', '.join(known)}."
            for name in self.codings
            if name not in known
        ]
        problems += [
            f"space.{key} must hold at least one value and none twice, got {values}."
            for key in ("codings", "keeps", "ranks", "densities")
            if not (values := getattr(self, key)) or len(set(values)) != len(values)
        ]
        for key in ("keeps", "ranks", "densities"):
            lost = [share for share in getattr(self, key) if not 0 < share <= 1]
            if lost:
                problems.append(f"space.{key} must lie in (0, 1], got {lost}.")
        chosen = self.executions
        if chosen is not None and (not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= EXECUTIONS):
            problems.append(f"space.executions must hold float, integer or both, got {chosen}.")
        if not 1 <= self.layers <= 100:
            problems.append(f"space.layers must be in [1, 100], got {self.layers}.")
        if problems:
            raise SettingsError("\n".join(problems))


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Retraining in one trial.

    Args:
        steps: Of the optimiser, at least.
        epochs: Over the training rows, at least.
        batch_rows: Rows a step.
        learning_rate: At its peak.
        weight_decay: Of AdamW.
        quantize_at: Share of the training after which weights are rounded.
        teacher_share: Of the loss that comes from the original, where there are labels too.
    """

    steps: int = 300
    epochs: float = 2.0
    batch_rows: int = 64
    learning_rate: float = 0.01
    weight_decay: float = 0.0
    quantize_at: float = 0.15
    teacher_share: float = 0.7

    def __post_init__(self) -> None:
        limits = {
            "steps": (1, 10**9),
            "epochs": (0.0, 10**6),
            "batch_rows": (2, 10**6),
            "learning_rate": (1e-9, 100.0),
            "weight_decay": (0.0, 10.0),
            "quantize_at": (0.0, 1.0),
            "teacher_share": (0.0, 1.0),
        }
        problems = [
            f"train.{name} must be in [{low}, {high}], got {getattr(self, name)}."
            for name, (low, high) in limits.items()
            if not low <= getattr(self, name) <= high
        ]
        if problems:
            raise SettingsError("\n".join(problems))


@dataclass(frozen=True, kw_only=True)
class Settings(SearchSettings):
    """What `python -m compression.search` understands.

    Args:
        model: To compress: `FILE.onnx`, `FILE.pt2`, or `module:function` that returns a torch module.
        space: Of the recipes.
        train: Of one trial.
        budget: Trials to train.
    """

    model: str = ""
    space: RecipesSettings = field(default_factory=RecipesSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    budget: int = 40

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.model:
            raise SettingsError("model must be given: add model=FILE.onnx, FILE.pt2 or module:function to the command.")
