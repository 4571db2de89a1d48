"""What a rule says where its condition holds: a class, probabilities, points, or that a person shall decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from rules.atoms import single

__all__ = ["Abstain", "Label", "Output", "Points", "Probability", "output_from_json"]


@final
@dataclass(frozen=True)
class Label:
    """The answer is this class.

    Args:
        name: One of the classes of the rule set.
    """

    name: str

    def to_json(self) -> dict[str, Any]:
        """Return `{"class": name}`."""
        return {"class": self.name}


@final
@dataclass(frozen=True)
class Probability:
    """The probabilities of the classes.

    Args:
        values: One a class, float32 numbers in [0, 1] that sum up to 1.
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(single(value) for value in self.values))

    def to_json(self) -> dict[str, Any]:
        """Return `{"probability": [...]}`."""
        return {"probability": list(self.values)}


@final
@dataclass(frozen=True)
class Points:
    """Points that are added up, or the value of a regression.

    Args:
        values: One number for two classes (log-odds of the second) and for regression; else one a class.
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(float(value) + 0.0 for value in self.values))

    def to_json(self) -> dict[str, Any]:
        """Return `{"points": [...]}`."""
        return {"points": list(self.values)}


@final
@dataclass(frozen=True)
class Abstain:
    """The engine gives no class: a person shall decide."""

    def to_json(self) -> dict[str, Any]:
        """Return `{"abstain": true}`."""
        return {"abstain": True}


Output = Label | Probability | Points | Abstain


def output_from_json(entry: Mapping[str, Any]) -> Output:
    """Rebuild an output from its `to_json`, of the form that the JSON Schema asks for."""
    if "class" in entry:
        return Label(entry["class"])
    if "probability" in entry:
        return Probability(tuple(entry["probability"]))
    if "points" in entry:
        return Points(tuple(entry["points"]))
    return Abstain()
