"""Reading demands on learned rules: what they may use, in which direction, how many, how sure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import yaml

from rules.atoms import Condition, single
from rules.language.document import Document, Node
from rules.language.rules import RulesReader
from rules.language.table import Table
from rules.language.user_rules import Demands

__all__ = ["read_demands"]

KEYS = (
    "forbid",
    "prefer",
    "monotone",
    "thresholds",
    "costs",
    "max_rules",
    "max_conditions",
    "min_support",
    "min_precision",
)
DIRECTIONS = {"increasing": 1, "decreasing": -1}
MOST_STEPS = 10_000
T = TypeVar("T")


def read_demands(document: Document, node: Node, table: Table) -> Demands:
    """Read the demands of a file; problems go to the document."""
    found = document.fields(node, "demands", KEYS)
    reader = Reader(document, table)
    forbidden_columns, forbidden = reader.uses(found.get("forbid"), "demands.forbid")
    preferred_columns, preferred = reader.uses(found.get("prefer"), "demands.prefer")
    whole = {
        name: document.whole(found[name], f"demands.{name}")
        for name in ("max_rules", "max_conditions")
        if name in found
    }
    shares = {name: document.number(found[name], f"demands.{name}", low=0, high=1)
              for name in ("min_support", "min_precision") if name in found}  # fmt: skip
    return Demands(
        forbidden_columns,
        forbidden,
        preferred_columns,
        preferred,
        reader.by_column(found.get("monotone"), "demands.monotone", reader.direction),
        reader.by_column(found.get("thresholds"), "demands.thresholds", reader.thresholds),
        reader.by_column(found.get("costs"), "demands.costs", reader.cost),
        whole.get("max_rules"),
        whole.get("max_conditions"),
        shares.get("min_support") or 0.0,
        shares.get("min_precision") or 0.0,
    )


class Reader:
    """Reads parts of the demands against a table."""

    def __init__(self, document: Document, table: Table) -> None:
        self.document, self.table = document, table

    def uses(self, node: Node | None, where: str) -> tuple[tuple[str, ...], tuple[Condition, ...]]:
        """Read `{columns: [...], conditions: [...]}`."""
        if node is None:
            return (), ()
        found = self.document.fields(node, where, ("columns", "conditions"))
        columns: list[str] = []
        for entry in self.document.items(found["columns"], f"{where}.columns") if "columns" in found else ():
            name = self.document.text(entry, f"{where}.columns")
            if name and self._is_column(name, entry, f"{where}.columns"):
                columns.append(name)
        reader = RulesReader(self.document, self.table, "first")
        conditions = [
            box
            for entry in (self.document.items(found["conditions"], where) if "conditions" in found else ())
            for box in reader.condition(entry, node, where, "conditions")
        ]
        return tuple(columns), tuple(conditions)

    def by_column(self, node: Node | None, where: str, read: Callable[[str, Node, str], T | None]) -> dict[str, T]:
        """Read a mapping from columns to values."""
        made = {}
        for name, value in self.document.entries(node, where).items() if node is not None else ():
            if self._is_column(name, value, where):
                entry = read(name, value, f"{where}.{name}")
                if entry is not None:
                    made[name] = entry
        return made

    def direction(self, name: str, node: Node, where: str) -> int | None:
        """Read `increasing` or `decreasing`."""
        if not self._is_numeric(name, node, where, "a direction"):
            return None
        if len(self.table.classes) > 2:
            self.document.add(node, where, "a direction needs two classes or a value; remove it, or join classes")
            return None
        chosen = self.document.choice(node, where, tuple(DIRECTIONS))
        return DIRECTIONS[chosen] if chosen else None

    def thresholds(self, name: str, node: Node, where: str) -> tuple[float, ...] | None:
        """Read a list of numbers, or `{from: 0, to: 100, step: 5}`."""
        if not self._is_numeric(name, node, where, "thresholds"):
            return None
        if isinstance(node, yaml.MappingNode):
            return self._steps(node, where)
        values = [self.document.number(entry, where) for entry in self.document.items(node, where)]
        if not values:
            self.document.add(node, where, "there must be one threshold at least; or forbid the column")
            return None
        return tuple(sorted({single(value) for value in values if value is not None}))

    def cost(self, name: str, node: Node, where: str) -> float | None:
        """Read a positive number."""
        del name
        return self.document.number(node, where, low=1e-6)

    def _steps(self, node: Node, where: str) -> tuple[float, ...] | None:
        found = self.document.fields(node, where, ("from", "to", "step"))
        missing = [key for key in ("from", "to", "step") if key not in found]
        if missing:
            self.document.add(node, where, f"{', '.join(missing)} must be given: `{{from: 0, to: 100, step: 5}}`")
            return None
        begin, end = self.document.number(found["from"], where), self.document.number(found["to"], where)
        step = self.document.number(found["step"], where, low=1e-9)
        if begin is None or end is None or step is None:
            return None
        count = (end - begin) / step
        if not 0 <= count <= MOST_STEPS:
            self.document.add(
                node, where, f"from {begin:g} to {end:g} by {step:g} must give 1 to {MOST_STEPS} thresholds"
            )
            return None
        return tuple(single(begin + place * step) for place in range(int(count + 1e-9) + 1))

    def _is_column(self, name: str, node: Node, where: str) -> bool:
        if name in self.table.columns:
            return True
        self.document.add(node, where, self.table.absent(name))
        return False

    def _is_numeric(self, name: str, node: Node, where: str, what: str) -> bool:
        if name in self.table.numeric_columns:
            return True
        self.document.add(node, where, f"column {name} holds texts, which have no {what.removeprefix('a ')}; remove it")
        return False
