"""Reading a file of rules: everything that does not fit is told at once, before anything is fitted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import yaml

from engine.errors import did_you_mean
from rules.language.demands import read_demands
from rules.language.document import Document, Node, open_document
from rules.language.rules import RulesReader
from rules.language.sense import check_sense
from rules.language.table import Table
from rules.language.user_rules import Demands, UserRules
from rules.outputs import Label, Output
from rules.rule import Band, Policy

__all__ = ["declared_table", "read_rules"]

KEYS = ("columns", "classes", "policy", "rules", "default", "abstain", "demands")
POLICIES: tuple[Policy, ...] = ("first", "sum", "vote", "unique")


def read_rules(path: str | Path, table: Table, *, is_whole: bool = False, also: Demands | None = None) -> UserRules:
    r"""Read and validate a file of rules.

    Args:
        path: YAML.
        table: Columns and classes of the data, and rows to validate against: those to train on.
        is_whole: Whether there will be no learned rules: then the file must say what holds where no rule applies.
        also: Demands beside those of the file.

    Raises:
        SettingsError: With everything that is amiss, a line each: file, line, rule, what must hold, what to do.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "mine.yaml"
        >>> _ = path.write_text("rules:\n- {id: minors, when: age < 18, then: no, stage: before}")
        >>> read_rules(path, Table(("age",), (), ("no", "yes"))).hard[0].output
        Label(name='no')
    """
    document, root = open_document(Path(path))
    found = document.fields(root, "", KEYS)
    _check_declared(document, found, table)
    policy: Policy = "first"
    if "policy" in found and (chosen := document.choice(found["policy"], "policy", POLICIES)):
        policy = next(name for name in POLICIES if name == chosen)
    rules = RulesReader(document, table, policy).rules(found["rules"]) if "rules" in found else ()
    made = UserRules(tuple(entry.rule for entry in rules), policy, lines={entry.rule.id: entry.line for entry in rules})
    made = replace(
        made,
        default=_default(document, found.get("default"), table, policy),
        abstain=_band(document, found["abstain"], table) if "abstain" in found else None,
        demands=read_demands(document, found["demands"], table) if "demands" in found else made.demands,
    )
    made = replace(made, demands=made.demands.joined(also or Demands()))
    if is_whole and isinstance(root, yaml.MappingNode) and "default" not in found and policy != "sum":
        document.add(root, "default", "it must be given where no rules are learned: a class, or `{abstain: true}`")
    if not (document.problems and "rules" not in found):
        check_sense(document, rules, made, table, found.get("demands", root))
    document.finish()
    return made


def declared_table(path: str | Path) -> Table:
    """Return the columns and classes that a file of rules declares itself, for an engine without data.

    Raises:
        SettingsError: If it declares none, or they are not understood.
    """
    document, root = open_document(Path(path))
    found = document.fields(root, "", KEYS)
    if "columns" not in found:
        document.add(
            root, "columns", "they must be declared where there are no data, such as `{age: number, town: text}`"
        )
    kinds = _kinds(document, found["columns"]) if "columns" in found else {}
    classes = _classes(document, found["classes"]) if "classes" in found else ()
    document.finish()
    numeric = tuple(name for name, kind in kinds.items() if kind == "number")
    return Table(numeric, tuple(name for name in kinds if name not in numeric), classes)


def _kinds(document: Document, node: Node) -> dict[str, str]:
    kinds = {name: document.choice(value, f"columns.{name}", ("number", "text"))
             for name, value in document.entries(node, "columns").items()}  # fmt: skip
    return {name: kind for name, kind in kinds.items() if kind}


def _classes(document: Document, node: Node) -> tuple[str, ...]:
    names = [document.text(entry, "classes") for entry in document.items(node, "classes")]
    found = tuple(name for name in names if name)
    if len(set(found)) < max(len(names), 2):
        document.add(
            node, "classes", f"there must be two names or more, all different, got {', '.join(found) or 'none'}"
        )
    return found


def _check_declared(document: Document, found: dict[str, Node], table: Table) -> None:
    """Compare what the file declares with the data."""
    if "columns" in found:
        known = dict.fromkeys(table.numeric_columns, "number") | dict.fromkeys(table.categorical_columns, "text")
        for name, kind in _kinds(document, found["columns"]).items():
            if name not in known:
                near = did_you_mean(name, known)
                document.add(found["columns"], f"columns.{name}", f"remove it: the data have no such column{near}")
            elif known[name] != kind:
                document.add(found["columns"], f"columns.{name}", f"the data hold a {known[name]} there, not a {kind}")
    if "classes" in found:
        classes = _classes(document, found["classes"])
        if classes and set(classes) != set(table.classes):
            has = ", ".join(table.classes) or "none"
            document.add(
                found["classes"], "classes", f"they must be those of the data, {has}; got {', '.join(classes)}"
            )


def _default(document: Document, node: Node | None, table: Table, policy: Policy) -> Output | None:
    if node is None:
        return None
    reader = RulesReader(document, table, policy)
    if isinstance(node, yaml.MappingNode):
        return reader.output(
            document.fields(node, "default", ("then", *reader.outputs)), node, "default", is_hard=False
        )
    if not table.classes:
        return reader.output({"value": node}, node, "default", is_hard=False)
    if policy == "sum":
        document.add(node, "default", "under `policy: sum` totals begin with points; write `{points: 0}`")
        return None
    name = reader.class_name(node, "default")
    return Label(name) if name else None


def _band(document: Document, node: Node, table: Table) -> Band | None:
    where = "abstain"
    if not table.classes:
        document.add(node, where, "a regression has no probabilities to abstain at; remove it")
        return None
    found = document.fields(node, where, ("low", "high", "class"))
    ends = {}
    for name in ("low", "high"):
        if name in found:
            ends[name] = document.number(found[name], f"{where}.{name}", low=0, high=1)
        else:
            document.add(node, where, f"{name} must be given, a probability from 0 to 1")
    chosen = RulesReader(document, table, "first").class_name(found["class"], where) if "class" in found else ""
    low, high = ends.get("low"), ends.get("high")
    if low is None or high is None or chosen is None:
        return None
    if low > high:
        document.add(node, where, f"low must not be above high, got {low:g} and {high:g}; exchange them")
        return None
    return Band(low, high, chosen)
