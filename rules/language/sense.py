"""Whether rules make sense together, and on the data: reachable, without contradiction, within the demands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from rules.analysis import Overlap, overlaps
from rules.atoms import Numbers
from rules.boxes import covers, is_covered, meet
from rules.language.directions import check_directions
from rules.language.document import Document, Node
from rules.language.rules import Entry
from rules.language.table import Table
from rules.language.user_rules import UserRules
from rules.outputs import Label
from rules.rule import Rule

__all__ = ["check_sense"]


def check_sense(document: Document, entries: Sequence[Entry], made: UserRules, table: Table, root: Node) -> None:
    """Note everything that cannot be meant; problems go to the document."""
    check_disagreements(document, entries, made, table)
    check_reach(document, entries, made)
    check_demands(document, entries, made, table, root)
    check_directions(document, entries, made, table.classes)
    check_support(document, entries, made, table)


def check_disagreements(document: Document, entries: Sequence[Entry], made: UserRules, table: Table) -> None:
    """Two hard rules of one stage must not say different things of one row; nor two rules under `unique`."""
    by_id = {entry.rule.id: entry for entry in entries}
    for stage in ("before", "after", "model"):
        if stage == "model" and made.policy != "unique":
            continue
        for found in overlaps([entry.rule for entry in entries if entry.rule.stage == stage]):
            first, second = by_id[found.first], by_id[found.second]
            is_hidden = found.covers in ("first", "both")  # then the second never decides, which is told below
            if first.name == second.name or (stage != "model" and (not found.is_conflict or is_hidden)):
                continue
            what = "both hold" if stage == "model" else "say different things"
            remedy = "`policy: unique` allows one; exclude the row from one of them" if stage == "model" else (
                "exclude the row from one of them"
            )  # fmt: skip
            document.add(
                second.node,
                f"rule {second.name}",
                f"it and rule {first.name} (line {first.line}) {what} where {_shown(found, table)}; {remedy}",
            )


def check_reach(document: Document, entries: Sequence[Entry], made: UserRules) -> None:
    """A rule must decide for some row: earlier ones must leave it some."""
    order = [entry for stage in ("before", "after") for entry in entries if entry.rule.stage == stage]
    n_hard = len(order)
    order += [entry for entry in entries if entry.rule.stage == "model"]
    is_list = made.policy in ("first", "unique")
    hidden: dict[str, list[Entry]] = {}
    takers: dict[str, set[str]] = {}
    for place, entry in enumerate(order):
        earlier = [other for other in order[: place if is_list else min(place, n_hard)] if other.name != entry.name]
        taken = [other for other in earlier if meet(entry.rule.condition, other.rule.condition) is not None]
        if taken and is_covered(entry.rule.condition, [other.rule.condition for other in taken]):
            hidden.setdefault(entry.name, []).append(entry)
            takers.setdefault(entry.name, set()).update(f"{other.name} (line {other.line})" for other in taken)
    sizes = Counter(entry.name for entry in entries)
    for name, found in hidden.items():
        if len(found) == sizes[name]:
            by = ", ".join(sorted(takers[name]))
            document.add(
                found[0].node, f"rule {name}", f"it never decides: {by} take all its rows; move it up, or remove it"
            )


def check_demands(document: Document, entries: Sequence[Entry], made: UserRules, table: Table, root: Node) -> None:
    """Demands must allow the user's own rules, and not exclude each other."""
    demands = made.demands
    for name in sorted(set(demands.forbidden_columns) & set(demands.preferred_columns)):
        document.add(root, "demands", f"column {name} is forbidden and preferred; keep one of the two")
    if table.columns and set(demands.forbidden_columns) >= set(table.columns):
        document.add(root, "demands.forbid", "every column is forbidden; leave at least one to learn from")
    must = [entry for entry in entries if entry.rule.stage == "model"]
    for entry in must:
        where = f"rule {entry.name}"
        for atom in entry.rule.condition.atoms:
            if atom.column in demands.forbidden_columns:
                document.add(
                    entry.node, where, f"it uses column {atom.column}, which demands.forbid forbids; drop one of them"
                )
            if isinstance(atom, Numbers) and atom.column in demands.thresholds:
                allowed = demands.thresholds[atom.column]
                for end in (atom.low, atom.high):
                    if np.isfinite(end) and end not in allowed:
                        near = min(allowed, key=lambda value: abs(value - end))
                        document.add(
                            entry.node,
                            where,
                            f"{atom.column} may not be cut at {end:g}; the nearest allowed is {near:g}",
                        )
        if any(covers(box, entry.rule.condition) for box in demands.forbidden):
            document.add(entry.node, where, "demands.forbid forbids its condition; drop one of them")
    names = {entry.name for entry in must}
    if demands.max_rules is not None and len(must) > demands.max_rules:
        found = f"{len(must)} must-have rules ({', '.join(sorted(names))})"
        where = "demands.max_rules"
        document.add(root, where, f"it is {demands.max_rules}, but there are {found}; raise it to {len(must)}")
    asked = sum(len(entry.rule.condition) for entry in must)
    if demands.max_conditions is not None and asked > demands.max_conditions:
        found = f"{asked} comparisons; raise it to {asked}"
        where = "demands.max_conditions"
        document.add(root, where, f"it is {demands.max_conditions}, but the must-have rules have {found}")


def check_support(document: Document, entries: Sequence[Entry], made: UserRules, table: Table) -> None:
    """On the data, must-have rules must hold for as many rows, and be as precise, as learned ones must."""
    if not len(table.targets):
        return
    held = {name: np.zeros(len(table.targets), bool) for name in {entry.name for entry in entries}}
    for entry in entries:
        held[entry.name] |= _holds(entry.rule, table.inputs, table)
    seen = set()
    for entry in entries:
        if entry.name in seen or entry.rule.is_hard:
            continue
        seen.add(entry.name)
        rows, where = held[entry.name], f"rule {entry.name}"
        share, demands = float(rows.mean()), made.demands
        if share < demands.min_support:
            document.add(entry.node, where, f"it holds for {share:.3g} of the rows, less than demands.min_support "
                         f"{demands.min_support:g}; widen it, or lower the demand")  # fmt: skip
        if isinstance(entry.rule.output, Label) and rows.any():
            wanted = table.classes.index(entry.rule.output.name)
            precision = float((table.targets[rows] == wanted).mean())
            if precision < demands.min_precision:
                found = f"{precision:.3g} of its rows are {entry.rule.output.name}"
                document.add(entry.node, where, f"{found}, less than demands.min_precision {demands.min_precision:g}; "
                             "narrow it, or lower the demand")  # fmt: skip


def _holds(rule: Rule, inputs: Mapping[str, np.ndarray], table: Table) -> np.ndarray:
    made = np.ones(len(table.targets), bool)
    for atom in rule.condition.atoms:
        is_number = atom.column in table.numeric_columns
        names = table.numeric_columns if is_number else table.categorical_columns
        made &= atom.holds(inputs["x" if is_number else "c"][:, names.index(atom.column)])
    return made


def _shown(found: Overlap, table: Table) -> str:
    """Return a row where two rules hold: one of the data if there is one."""
    row = dict(found.row)
    if len(table.targets):
        probe = Rule("", found.box, Label(""))
        places = np.flatnonzero(_holds(probe, table.inputs, table))
        if len(places):
            for column in row:
                is_number = column in table.numeric_columns
                names = table.numeric_columns if is_number else table.categorical_columns
                value = table.inputs["x" if is_number else "c"][places[0], names.index(column)]
                row[column] = float(value) if is_number else str(value)
            return f"{_row(row)} (row {places[0] + 1} of the data)"
    return f"{_row(row)} (no such row in the data)" if len(table.targets) else _row(row)


def _row(row: Mapping[str, float | str]) -> str:
    parts = []
    for name, value in row.items():
        is_missing = value == "" if isinstance(value, str) else value != value  # NaN alone differs from itself
        text = f"'{value}'" if isinstance(value, str) else f"{value:.9g}"
        parts.append(f"{name} is missing" if is_missing else f"{name} = {text}")
    return " and ".join(parts) or "any row"
