"""A rule, and what belongs to many of them: when the engine abstains, and what totals of points mean."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, final

from rules.atoms import Condition, atom_from_json
from rules.outputs import Output, output_from_json

__all__ = ["Band", "Calibration", "Policy", "Rule", "Stage"]

Policy = Literal["first", "sum", "vote", "unique"]
Stage = Literal["before", "model", "after"]


@final
@dataclass(frozen=True)
class Rule:
    """Where a condition holds, something is said.

    Args:
        id: Name of the rule; no two rules of a set share it.
        condition: A conjunction of atoms.
        output: What is said.
        weight: Of a vote, or a factor of points; without effect under other policies. Positive.
        source: `user` or `learned`.
        stage: `model`: combined by the policy. `before`: decides alone, before the model. `after`: overrides the model.
    """

    id: str
    condition: Condition
    output: Output
    weight: float = 1.0
    source: Literal["user", "learned"] = "learned"
    stage: Stage = "model"

    @property
    def is_hard(self) -> bool:
        """Whether the rule decides alone, whatever the model says."""
        return self.stage != "model"

    def to_json(self) -> dict[str, Any]:
        """Return the rule as plain containers, what is usual left out."""
        made: dict[str, Any] = {"id": self.id, "if": [atom.to_json() for atom in self.condition.atoms]}
        made["then"] = self.output.to_json()
        made |= {"weight": self.weight} if self.weight != 1 else {}
        made |= {"source": self.source} if self.source != "learned" else {}
        return made | ({"stage": self.stage} if self.is_hard else {})

    @staticmethod
    def from_json(entry: Mapping[str, Any], categorical: Collection[str]) -> Rule:
        """Rebuild a rule from `to_json`; `categorical` names the columns that hold categories."""
        condition = Condition(tuple(atom_from_json(atom, categorical) for atom in entry["if"]))
        return Rule(
            entry["id"],
            condition,
            output_from_json(entry["then"]),
            float(entry.get("weight", 1)),
            entry.get("source", "learned"),
            entry.get("stage", "model"),
        )


@final
@dataclass(frozen=True)
class Band:
    """Probabilities, ends included, at which the engine withholds what the model says; never what hard rules say.

    Args:
        low: Lower end, in [0, 1].
        high: Upper end, in [0, 1].
        name: The class whose probability is meant; empty for the most probable one.
    """

    low: float
    high: float
    name: str = ""


@final
@dataclass(frozen=True)
class Calibration:
    """What totals of points mean: a staircase. For two classes, under the policy `sum`.

    Args:
        edges: Totals, ascending, shape (n,).
        probabilities: Of the second class, shape (n + 1,): the first below all edges, entry k from edge k - 1 on.
    """

    edges: tuple[float, ...]
    probabilities: tuple[float, ...]
