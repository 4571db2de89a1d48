"""Rule sets as Python source that needs nothing but Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rules.atoms import Atom, Categories, Condition, single
from rules.boxes import simplified
from rules.decimals import written
from rules.evaluate import banded, vector
from rules.exports.steps import Choice, Part, Term, terms_of
from rules.outputs import Abstain, Output
from rules.proof import Answers
from rules.ruleset import RuleSet
from rules.totals import totals_of

__all__ = ["run_python", "to_python"]

HEAD = '''"""{title}

`predict` takes a row as a mapping from names of columns to values; None, NaN and the empty text are missing.
"""

import math
import struct

CLASSES = {classes}


def _number(row, name):
    value = row.get(name)
    if value is None or value == "":
        return math.nan
    try:
        return struct.unpack("f", struct.pack("f", float(value)))[0]
    except OverflowError:
        return math.copysign(math.inf, float(value))


def _text(row, name):
    value = row.get(name)
    return "" if value is None or value != value else str(value)
'''

CLASSIFIER = '''

def predict(row):
    """Return the name of the class, or None where the rules abstain."""
    return decide(row)[0]


def predict_proba(row):
    """Return the probability of each of CLASSES."""
    return decide(row)[1]
'''


def to_python(engine: RuleSet) -> str:
    """Return a module with a function `predict(row)`, and `predict_proba(row)` for classes.

    Example:
        >>> from rules.atoms import Numbers
        >>> from rules.outputs import Label
        >>> from rules.rule import Rule
        >>> old = Rule("old", Condition((Numbers("age", low=60),)), Label("yes"))
        >>> made = to_python(RuleSet((old,), "first", Label("no"), ("no", "yes"), ("age",)))
        >>> scope = {}
        >>> exec(made, scope)
        >>> scope["predict"]({"age": 61}), scope["predict_proba"]({"age": None})
        ('yes', (1.0, 0.0))
    """
    what = f"{len(engine.rules)} rules"
    body = [f"    {line}" for line in [*_read(engine), *_hard(engine), *_model(engine)]]
    if engine.classes:
        head = ["", "", "def decide(row):", '    """Return the answer and the probability of each of CLASSES."""']
        return HEAD.format(title=f"{what} that decide between classes.", classes=_tuple(engine.classes)) + "\n".join(
            [*head, *body, ""]
        ) + CLASSIFIER  # fmt: skip
    head = ["", "", "def predict(row):", '    """Return the value."""']
    return HEAD.format(title=f"{what} that tell a value.", classes="()") + "\n".join([*head, *body, ""])


def run_python(engine: RuleSet, source: str, rows: Mapping[str, np.ndarray]) -> Answers:
    """Run a module that `to_python` wrote on each of some rows."""
    scope: dict[str, Any] = {}
    exec(compile(source, "rules.py", "exec"), scope)
    columns = {name: rows[kind][:, place].tolist() for name, (kind, place) in engine.columns.items()}
    records = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    if not engine.classes:
        return Answers(np.array([scope["predict"](record) for record in records], float)[:, None], None)
    said = [scope["decide"](record) for record in records]
    number_of = {name: number for number, name in enumerate(engine.classes)} | {None: -1}
    return Answers(np.array([shares for _, shares in said], float), np.array([number_of[name] for name, _ in said]))


def _read(engine: RuleSet) -> list[str]:
    """Return lines that read the columns in use into short variables."""
    used = {atom.column for rule in engine.rules for atom in rule.condition.atoms}
    reader = {"x": "_number", "c": "_text"}
    return [f"{_variable(engine, name)} = {reader[kind]}(row, {name!r})"
            for name, (kind, _) in engine.columns.items() if name in used]  # fmt: skip


def _variable(engine: RuleSet, name: str) -> str:
    kind, place = engine.columns[name]
    return f"{kind}{place}"


def _hard(engine: RuleSet) -> list[str]:
    rules = [rule for stage in ("before", "after") for rule in engine.rules if rule.stage == stage]
    return [line for rule in rules for line in _branch(engine, rule.condition, rule.output, rule.id, is_hard=True)]


def _branch(engine: RuleSet, condition: Condition, output: Output, name: str, *, is_hard: bool) -> list[str]:
    box = simplified(condition)
    if box is None:
        return []
    said = _said(engine, output, is_hard=is_hard)
    return [f"if {_condition(engine, box)}:  # {_comment(name)}", f"    return {said}"]


def _model(engine: RuleSet) -> list[str]:
    if engine.policy in ("first", "unique"):
        rules = engine.of_stage("model")
        lines = [
            line for rule in rules for line in _branch(engine, rule.condition, rule.output, rule.id, is_hard=False)
        ]
        return [*lines, f"return {_said(engine, engine.default, is_hard=False)}"]
    totals, terms = totals_of(engine), terms_of(engine)
    width = totals.values.shape[1] + (engine.policy == "vote")
    base = [*totals.base, 0.0][:width]
    names = [f"total{place}" for place in range(width)]
    lines = [f"{name} = {_number(value)}" for name, value in zip(names, base, strict=True)]
    for term in terms:
        lines += _term(engine, term, names)
    if engine.policy == "vote":
        lines += [f"if not {names[-1]} > 0:", f"    return {_said(engine, engine.default, is_hard=False)}"]
        shares = "(" + ", ".join(f"{name} / {names[-1]}" for name in names[:-1]) + ",)"
        return [*lines, *_answered(engine, shares, names[:-1])] if engine.classes else [*lines, f"return {shares}[0]"]
    divisor = f" / {totals.scale}" if totals.scale > 1 else ""
    if not engine.classes:
        return [*lines, f"return {names[0]}{divisor}"]
    if totals.calibration is not None:
        edges, second = totals.calibration.edges, totals.calibration.probabilities
        pairs = [(single(1 - share), single(share)) for share in second]
        passed = f"sum(total0 >= edge for edge in {_tuple(map(float, edges))})"
        return [*lines, *_answered(engine, f"{_tuple(pairs)}[{passed}]", None)]
    if len(engine.classes) == 2:
        lines.append(f"odds = math.exp(-min(abs(total0{divisor}), 700))")
        shares = "(odds / (1 + odds), 1 / (1 + odds)) if total0 > 0 else (1 / (1 + odds), odds / (1 + odds))"
        return [*lines, *_answered(engine, shares, ["0", "total0"])]
    lines.append(f"most = max({', '.join(names)})")
    lines.append(f"raised = [math.exp((total - most){divisor}) for total in ({', '.join(names)})]")
    return [*lines, *_answered(engine, "tuple(value / sum(raised) for value in raised)", names)]


def _term(engine: RuleSet, term: Part, names: Sequence[str]) -> list[str]:
    if isinstance(term, Term):
        tests = [_condition(engine, term.condition)]
        return _branches(tests, term.values[[1, 0]], names)
    value = _variable(engine, term.column)
    if isinstance(term, Choice):
        named = [_atom(Categories(term.column, group), value) for group in term.groups]
        return _branches([f'{value} == ""', *named], term.values[[-1, *range(len(named)), -2]], names)
    steps = [f"{value} {'<=' if cut.is_after else '<'} {_threshold(cut.value)}" for cut in term.cuts]
    return _branches([f"{value} != {value}", *steps], np.roll(term.values, 1, axis=0), names)


def _branches(tests: Sequence[str], values: np.ndarray, names: Sequence[str]) -> list[str]:
    """Return lines that add the values of the first test that holds; the last values where none does."""
    lines: list[str] = []
    if not values.any():
        return lines
    for number, (test, row) in enumerate(zip([*tests, ""], values, strict=True)):
        added = [f"    {name} += {_number(part)}" for name, part in zip(names, row, strict=True) if part]
        if added or test:
            lines += [f"{'elif' if number else 'if'} {test}:" if test else "else:", *(added or ["    pass"])]
    return lines


def _answered(engine: RuleSet, shares: str, ranked: Sequence[str] | None) -> list[str]:
    """Return lines from probabilities to an answer; classes are ranked by whole numbers where there are some."""
    lines = [f"shares = {shares}"]
    by = f"({', '.join(ranked)})" if ranked and engine.abstain is None else "shares"
    lines.append(f"ranked = {by}")
    answer = "CLASSES[ranked.index(max(ranked))]"
    if engine.abstain is not None:
        low, high = single(engine.abstain.low), single(engine.abstain.high)
        name = engine.abstain.name
        asked = f"shares[{engine.classes.index(name)}]" if name else "max(shares)"
        answer = f"None if {low} <= {asked} <= {high} else {answer}"
    return [*lines, f"return {answer}, shares"]


def _said(engine: RuleSet, output: Output, *, is_hard: bool) -> str:
    values = vector(output, engine)
    if not engine.classes:
        return _number(values[0])
    rounded = np.array([values]).astype(np.float32)
    withheld = engine.abstain is not None and not is_hard and banded(engine.abstain, rounded, engine.classes)[0]
    is_silent = isinstance(output, Abstain) or withheld
    return f"{None if is_silent else engine.classes[int(rounded.argmax())]!r}, {_tuple(values)}"


def _condition(engine: RuleSet, condition: Condition) -> str:
    return " and ".join(_atom(atom, _variable(engine, atom.column)) for atom in condition.atoms) or "True"


def _atom(atom: Atom, name: str) -> str:
    if isinstance(atom, Categories):
        listed = [*atom.values, *([""] if atom.missing != atom.negated else [])]
        if len(listed) == 1:
            return f"{name} {'!=' if atom.negated else '=='} {listed[0]!r}"
        return f"{name} {'not in' if atom.negated else 'in'} {_tuple(listed)}"
    if atom.is_void:
        return f"{name} != {name}"
    low, high = _threshold(atom.low), _threshold(atom.high)
    has_low, has_high = atom.low != -np.inf or atom.low_open, atom.high != np.inf or atom.high_open
    if atom.missing:  # NaN fails every comparison, so it passes the opposite of one
        parts = [f"not {name} {'<=' if atom.low_open else '<'} {low}"] if has_low else []
        return " and ".join(parts + ([f"not {name} {'>=' if atom.high_open else '>'} {high}"] if has_high else []))
    if not has_low and not has_high:
        return f"{name} == {name}"
    if has_low and has_high:
        return f"{low} {'<' if atom.low_open else '<='} {name} {'<' if atom.high_open else '<='} {high}"
    if has_low:
        return f"{name} {'>' if atom.low_open else '>='} {low}"
    return f"{name} {'<' if atom.high_open else '<='} {high}"


def _threshold(value: float) -> str:
    """Return a number as Python reads it, exactly the float32."""
    if np.isinf(value):
        return "math.inf" if value > 0 else "-math.inf"
    exact = float(np.float32(value))
    return written(value) if float(written(value)) == exact else repr(exact)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))


def _tuple(values: Any) -> str:
    return repr(tuple(values))


def _comment(name: str) -> str:
    return " ".join(name.split())
