"""Reading the rules of a file: conditions, outputs, stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import yaml

from engine.errors import SettingsError, did_you_mean
from rules.atoms import Condition
from rules.boxes import difference
from rules.language.conditions import read_condition
from rules.language.document import Document, Node
from rules.language.table import Table
from rules.outputs import Abstain, Label, Output, Points, Probability
from rules.rule import Policy, Rule, Stage

__all__ = ["Entry", "RulesReader"]

STAGES: tuple[Stage, ...] = ("before", "model", "after")
OUTPUTS = ("then", "probability", "points", "value", "abstain")
KEYS = ("id", "when", *OUTPUTS, "stage", "weight")


@final
@dataclass(frozen=True, eq=False)
class Entry:
    """A rule with its place in the file.

    Args:
        rule: One conjunction of it.
        name: Id in the file.
        node: Where it is written.
    """

    rule: Rule
    name: str
    node: Node

    @property
    def line(self) -> int:
        """Line in the file, from 1."""
        return int(self.node.start_mark.line) + 1


class RulesReader:
    """Reads rules against a table; problems go to the document."""

    outputs = OUTPUTS

    def __init__(self, document: Document, table: Table, policy: Policy) -> None:
        self.document, self.table, self.policy = document, table, policy

    def rules(self, node: Node) -> tuple[Entry, ...]:
        """Read a list of rules."""
        if not isinstance(node, yaml.SequenceNode):
            self.document.add(node, "rules", "there must be a list of rules, each beginning with `- id:`")
            return ()
        made: list[Entry] = []
        lines: dict[str, int] = {}
        for number, entry in enumerate(node.value, 1):
            name = _id(entry)
            where = f"rule {name or number}"
            found = self.document.fields(entry, where, KEYS)
            if isinstance(entry, yaml.MappingNode) and name is None:
                self.document.add(entry, where, "it must have an id, a short name; add `id: ...`")
            if name and name in lines:
                self.document.add(
                    found["id"], where, f"the rule of line {lines[name]} has this id too; rename one of them"
                )
            elif name:
                lines[name] = entry.start_mark.line + 1
            if found:
                made += self._entries(found, entry, where, name or str(number))
        return tuple(made)

    def _entries(self, found: Mapping[str, Node], node: Node, where: str, name: str) -> list[Entry]:
        stage: Stage = "model"
        if "stage" in found and (chosen := self.document.choice(found["stage"], f"{where}, stage", STAGES)):
            stage = next(known for known in STAGES if known == chosen)
        weight = 1.0
        if "weight" in found:
            weight = self.document.number(found["weight"], f"{where}, weight", low=1e-6) or 1.0
            if stage != "model":
                self.document.add(found["weight"], where, f"a rule of stage {stage} decides alone; remove its weight")
        output = self.output(found, node, where, is_hard=stage != "model")
        boxes = self.condition(found.get("when"), node, where)
        if output is None:
            return []
        is_counted = stage == "model" and self.policy != "first"
        boxes = _disjoint(boxes) if is_counted else boxes
        names = [name] if len(boxes) == 1 else [f"{name}.{place}" for place in range(1, len(boxes) + 1)]
        return [Entry(Rule(id_, box, output, weight, "user", stage), name, node)
                for id_, box in zip(names, boxes, strict=True)]  # fmt: skip

    def condition(self, found: Node | None, node: Node, where: str, key: str = "when") -> tuple[Condition, ...]:
        """Read a condition into conjunctions; none where it is amiss."""
        if found is None:
            self.document.add(node, where, f"it must have a condition; add `{key}: ...`, such as `age < 18`")
            return ()
        if not isinstance(found, yaml.ScalarNode):
            self.document.add(found, f"{where}, {key}", "there must be one SQL condition as a text, such as `age < 18`")
            return ()
        try:
            return read_condition(found.value, self.table)
        except SettingsError as error:
            for line in str(error).splitlines():
                self.document.add(found, f"{where}, {key}", line)
            return ()

    def output(self, found: Mapping[str, Node], node: Node, where: str, *, is_hard: bool) -> Output | None:
        """Read what a rule says; None where it is amiss."""
        given = [key for key in OUTPUTS if key in found]
        if len(given) != 1:
            got = " and ".join(given) or "none"
            self.document.add(node, where, f"it must say one thing, {', '.join(self._fitting(is_hard))}; got {got}")
            return None
        key, value = given[0], found[given[0]]
        if key not in self._fitting(is_hard):
            fitting = ", ".join(self._fitting(is_hard))
            self.document.add(value, where, f"{key} does not fit {self._what(is_hard)}; write {fitting}")
            return None
        if key == "then":
            name = self.class_name(value, where)
            return Label(name) if name else None
        if key == "value":
            number = self.document.number(value, f"{where}, value")
            return None if number is None else Points((number,))
        if key == "abstain":
            if self.document.choice(value, f"{where}, abstain", ("true",)) is None:
                return None
            return Abstain()
        return self._points(value, where) if key == "points" else self._probability(value, where)

    def class_name(self, node: Node, where: str) -> str | None:
        """Read the name of a class; None where there is no such class."""
        name = self.document.text(node, where)
        if name is not None and not self.table.classes:
            self.document.add(node, where, f"a regression has no class {name}; write `value: ...`")
            return None
        if name is None or name in self.table.classes:
            return name
        near = did_you_mean(name, self.table.classes)
        self.document.add(node, where, f"there is no class {name}{near} Classes: {', '.join(self.table.classes)}")
        return None

    def _fitting(self, is_hard: bool) -> tuple[str, ...]:
        if not self.table.classes:
            return ("value",)
        if self.policy == "sum" and not is_hard:
            return ("points",)
        return ("then", "probability") if self.policy == "vote" and not is_hard else ("then", "probability", "abstain")

    def _what(self, is_hard: bool) -> str:
        if not self.table.classes:
            return "a regression"
        return "a rule that decides alone" if is_hard else f"`policy: {self.policy}`"

    def _points(self, node: Node, where: str) -> Output | None:
        classes = self.table.classes
        if isinstance(node, yaml.ScalarNode) and len(classes) == 2:
            number = self.document.number(node, f"{where}, points")
            return None if number is None else Points((number,))
        values = self._by_class(node, f"{where}, points")
        if values is None:
            return None
        if len(classes) == 2:
            return Points((values.get(classes[1], 0.0) - values.get(classes[0], 0.0),))
        return Points(tuple(values.get(name, 0.0) for name in classes))

    def _probability(self, node: Node, where: str) -> Output | None:
        where = f"{where}, probability"
        values = self._by_class(node, where, low=0, high=1)
        if values is None:
            return None
        rest = [name for name in self.table.classes if name not in values]
        if len(rest) == 1:
            values[rest[0]] = round(1 - sum(values.values()), 12)
        total = sum(values.values())
        if len(rest) > 1 or abs(total - 1) > 1e-6 or min(values.values()) < 0:
            self.document.add(
                node, where, f"those of all classes must sum up to 1, got {total:g}; one class may be left out"
            )
            return None
        return Probability(tuple(values[name] for name in self.table.classes))

    def _by_class(self, node: Node, where: str, **limits: float) -> dict[str, float] | None:
        """Read numbers by name of class; None where anything is amiss."""
        before = len(self.document.problems)
        values = {}
        for name, value in self.document.entries(node, where).items():
            number = self.document.number(value, f"{where}.{name}", **limits)
            if name not in self.table.classes:
                near = did_you_mean(name, self.table.classes)
                self.document.add(
                    value, where, f"there is no class {name}{near} Classes: {', '.join(self.table.classes)}"
                )
            elif number is not None:
                values[name] = number
        return values if len(self.document.problems) == before else None


def _id(node: Node) -> str | None:
    """Return the id of a rule; None where there is none."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    found = [value.value for key, value in pairs if key.value == "id" and isinstance(value, yaml.ScalarNode)]
    return str(found[0]).strip() or None if found else None


def _disjoint(boxes: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """Return boxes of the same rows of which no two share one: alternatives of one rule must not count twice."""
    made: list[Condition] = []
    for box in boxes:
        pieces = [box]
        for other in made:
            pieces = [part for piece in pieces for part in difference(piece, other)]
        made += pieces
    return tuple(made)
