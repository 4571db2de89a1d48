"""Rule sets as one SQL query, in the dialects that sqlglot knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from rules.atoms import Condition, Numbers, single
from rules.boxes import simplified
from rules.evaluate import banded, vector
from rules.exports.names_sql import WRITTEN_HERE, Dialect, dialect_of
from rules.exports.steps import Staircase, Term, terms_of
from rules.ordering import as_list
from rules.outputs import Abstain, Label, Output
from rules.ruleset import RuleSet
from rules.simplify import simplify
from rules.totals import totals_of

__all__ = ["ANSWER", "probability_name", "to_sql"]

ANSWER = "answer"
SAFE_EXPONENT = 700  # exp overflows float64 beyond


def probability_name(name: str) -> str:
    """Return the name of the column with the probability of a class."""
    return f"p_{name}"


def to_sql(engine: RuleSet, *, dialect: str = "duckdb", table: str = "data", probabilities: bool = True) -> str:
    """Return a query over a table with the columns of the rule set, where missing values are NULL.

    Its column `answer` is the name of the class, NULL where the engine abstains, or the value of a regression;
    `p_<class>` are the probabilities.

    Args:
        engine: The rules.
        dialect: As sqlglot names it.
        table: Name of the table.
        probabilities: Whether to return the probabilities too. Without them the query is flat, and short.

    Raises:
        SettingsError: If sqlglot does not know the dialect.

    Example:
        >>> from rules.atoms import Numbers
        >>> from rules.outputs import Label
        >>> from rules.rule import Rule
        >>> old = Rule("old", Condition((Numbers("age", low=60),)), Label("yes"))
        >>> engine = RuleSet((old,), "first", Label("no"), ("no", "yes"), ("age",))
        >>> print(to_sql(engine, probabilities=False), end="")
        SELECT IF(age>=60,'yes','no') AS answer FROM data
    """
    written = dialect_of(dialect)
    query = Query(engine, written, table).text(probabilities and bool(engine.classes))
    if dialect not in WRITTEN_HERE:
        import sqlglot

        query = sqlglot.transpile(query, read="duckdb", write=dialect)[0]
    return query + "\n"


class Query:
    """A query under construction: expressions over the table, or over a selection from it.

    Args:
        engine: The rules.
        dialect: To write in.
        table: Name of the table.
    """

    def __init__(self, engine: RuleSet, dialect: Dialect, table: str) -> None:
        self.engine, self.dialect = engine, dialect
        self.source = dialect.quoted(table)
        self.hard = [rule for stage in ("before", "after") for rule in engine.rules if rule.stage == stage]
        self._levels = 0

    def text(self, probabilities: bool) -> str:
        """Return the query."""
        engine = self.engine
        if engine.policy in ("first", "unique"):
            return self._chosen(probabilities)
        can_rank = engine.calibration is None and engine.abstain is None
        if engine.policy == "sum" and len(engine.classes) == 2 and can_rank and not probabilities:
            return self._flat()
        totals = totals_of(engine)
        width = totals.values.shape[1] + (engine.policy == "vote")
        base = np.concatenate([totals.base, [0]]) if engine.policy == "vote" else totals.base
        sums = self._nested([_added(terms_of(engine), base, place, self.dialect) for place in range(width)])
        shares = self._shares(sums)
        if not engine.classes:
            return self._selected([(self._over_hard([shares[0]], 0), ANSWER)])
        if probabilities or not can_rank:
            shares = self._nested(shares)
        ranked = sums[: len(engine.classes)] if can_rank else shares
        columns = [(self._decided(ranked, shares, sums[-1]), ANSWER)]
        if probabilities:
            columns += [
                (self._over_hard(shares, place), probability_name(name)) for place, name in enumerate(engine.classes)
            ]
        return self._selected(columns)

    def _flat(self) -> str:
        """Return the query of the class that points speak for."""
        engine, base = self.engine, totals_of(self.engine).base
        total = _added(terms_of(engine), np.zeros(1), 0, self.dialect)
        low, high = map(self.dialect.text, engine.classes)
        model = self.dialect.choice(f"{total}>{_number(-base[0])}", high, low)
        cases = [(box, self._answer(rule.output, is_hard=True))
                 for rule in self.hard if (box := simplified(rule.condition)) is not None]  # fmt: skip
        return self._selected([(self._case(cases, model), ANSWER)])

    def _chosen(self, probabilities: bool) -> str:
        """Return the query of the first rule that holds."""
        engine = as_list(self.engine if probabilities else simplify(self._answering()))
        is_flat = not probabilities  # then what is withheld abstains already
        rules = [rule for stage in ("before", "after", "model") for rule in engine.rules if rule.stage == stage]
        entries = [(simplified(rule.condition), rule.output, rule.is_hard or is_flat) for rule in rules]
        cases = [(box, self._answer(output, is_hard), output) for box, output, is_hard in entries if box is not None]
        default = self._answer(engine.default, is_hard=is_flat)
        if is_flat:
            return self._selected([(self._case([case[:2] for case in cases], default), ANSWER)])
        said = list(dict.fromkeys([*(case[1:] for case in cases), (default, engine.default)]))
        numbers = [(box, str(said.index((answer, output)))) for box, answer, output in cases]
        (place,) = self._nested([self._case(numbers, str(said.index((default, engine.default))))])
        columns = [(_by_place(place, [answer for answer, _ in said]), ANSWER)]
        for number, name in enumerate(engine.classes):
            values = [_number(vector(output, engine)[number]) for _, output in said]
            columns.append((_by_place(place, values), probability_name(name)))
        return self._selected(columns)

    def _answering(self) -> RuleSet:
        """Return a list of the same answers, without the probabilities behind them."""
        engine = self.engine
        if not engine.classes:
            return engine

        def answer(output: Output, is_hard: bool) -> Output:
            place = self._decision(output, is_hard)
            return Abstain() if place < 0 else Label(engine.classes[place])

        rules = tuple(replace(rule, output=answer(rule.output, rule.is_hard)) for rule in engine.rules)
        return replace(engine, rules=rules, default=answer(engine.default, is_hard=False), abstain=None)

    def _answer(self, output: Output, is_hard: bool) -> str:
        """Return the answer that an output gives alone."""
        if not self.engine.classes:
            return _number(vector(output, self.engine)[0])
        place = self._decision(output, is_hard)
        return "NULL" if place < 0 else self.dialect.text(self.engine.classes[place])

    def _decision(self, output: Output, is_hard: bool) -> int:
        """Return the number of the class that an output decides for alone; -1 where it abstains."""
        engine = self.engine
        values = np.array([vector(output, engine)]).astype(np.float32)
        withheld = engine.abstain is not None and not is_hard and banded(engine.abstain, values, engine.classes)[0]
        return -1 if isinstance(output, Abstain) or withheld else int(values.argmax())

    def _case(self, cases: Sequence[tuple[Condition, str]], default: str) -> str:
        """Return a CASE in order; neighbours that say the same share a branch, the default needs none."""
        for place, (box, said) in enumerate(cases):
            if not box.atoms:  # it holds for all that is left
                cases, default = cases[:place], said
                break
        branches = [(said, [box for box, _ in group]) for said, group in groupby(cases, key=lambda case: case[1])]
        while branches and branches[-1][0] == default:
            branches.pop()
        if not branches:
            return default
        if len(branches) == 1:
            return self.dialect.choice(self._any(branches[0][1]), branches[0][0], default)
        lines = [f"WHEN {self._any(boxes)} THEN {said}" for said, boxes in branches]
        return "CASE " + "\n".join([*lines, f"ELSE {default} END"]).replace("\nELSE", " ELSE")

    def _any(self, boxes: Iterable[Condition]) -> str:
        return " OR ".join(self.dialect.condition(box) for box in boxes)

    def _over_hard(self, shares: Sequence[str], place: int) -> str:
        """Return a probability or value, where no hard rule holds that of the model."""
        cases = [(box, _number(vector(rule.output, self.engine)[place]))
                 for rule in self.hard if (box := simplified(rule.condition)) is not None]  # fmt: skip
        return self._case(cases, shares[place])

    def _decided(self, ranked: Sequence[str], shares: Sequence[str], weight: str) -> str:
        """Return the answer: of hard rules, withheld, or the class that ranks first."""
        engine, classes = self.engine, [self.dialect.text(name) for name in self.engine.classes]
        hard = [(box, self._answer(rule.output, is_hard=True))
                for rule in self.hard if (box := simplified(rule.condition)) is not None]  # fmt: skip
        branches = [f"WHEN {self.dialect.condition(box)} THEN {said}" for box, said in hard]
        if engine.policy == "vote":
            branches.append(f"WHEN NOT {weight}>0 THEN {self._answer(engine.default, is_hard=False)}")
        if engine.abstain is not None:
            branches.append(f"WHEN {self._withheld(shares)} THEN NULL")
        if len(ranked) == 1:  # log-odds of the second class
            return f"CASE {' '.join(branches)} WHEN {ranked[0]}>0 THEN {classes[1]} ELSE {classes[0]} END"
        for place, name in enumerate(classes[:-1]):
            later = [f"{ranked[place]}>={ranked[other]}" for other in range(place + 1, len(classes))]
            branches.append(f"WHEN {' AND '.join(later)} THEN {name}")
        return f"CASE {' '.join(branches)} ELSE {classes[-1]} END"

    def _withheld(self, shares: Sequence[str]) -> str:
        band = self.engine.abstain
        assert band is not None
        low, high = _number(single(band.low)), _number(single(band.high))
        if band.name:
            return f"{shares[self.engine.classes.index(band.name)]} BETWEEN {low} AND {high}"
        reached = " OR ".join(f"{share}>={low}" for share in shares)
        kept = " AND ".join(f"{share}<={high}" for share in shares)
        return f"({reached}) AND {kept}"

    def _shares(self, sums: Sequence[str]) -> list[str]:
        """Return expressions of what the model says: probabilities, or a value."""
        engine, totals = self.engine, totals_of(self.engine)
        if engine.policy == "vote":
            default = vector(engine.default, engine)
            return [f"CASE WHEN {sums[-1]}>0 THEN 1.0*{share}/{sums[-1]} ELSE {_number(default[place])} END"
                    for place, share in enumerate(sums[:-1])]  # fmt: skip
        divisor = f"/{totals.scale}.0" if totals.scale > 1 else ""
        if not engine.classes:
            return [sums[0] + divisor]
        if totals.calibration is not None:
            steps = [f"WHEN {sums[0]}<{_number(edge)} THEN {{{place}}}"
                     for place, edge in enumerate(totals.calibration.edges)]  # fmt: skip
            text = " ".join(["CASE", *steps, f"ELSE {{{len(steps)}}} END"]) if steps else "{0}"
            second = np.array(totals.calibration.probabilities)
            return [text.format(*(_number(single(share)) for share in shares)) for shares in (1 - second, second)]
        if len(engine.classes) == 2:
            most = (np.abs(totals.values).sum() + np.abs(totals.base).sum()) / totals.scale
            guard = SAFE_EXPONENT * totals.scale if most > SAFE_EXPONENT else 0
            return [_logistic(sums[0], divisor, sign, guard) for sign in ("", "-")]
        return [
            "1/(1+" + "+".join(f"EXP(({other}-{own}){divisor})" for other in sums if other != own) + ")" for own in sums
        ]

    def _nested(self, expressions: Sequence[str]) -> list[str]:
        """Put expressions into an inner selection and return the names that they have there."""
        self._levels += 1
        prefix = "_"
        while any(column.startswith(prefix) for column in self.engine.columns):
            prefix += "_"
        names = [f"{prefix}{'abc'[self._levels - 1]}{place}" for place in range(len(expressions))]
        listed = ",\n".join(f"{text} AS {name}" for text, name in zip(expressions, names, strict=True))
        self.source = f"(SELECT *,{listed}\nFROM {self.source}) AS _{self._levels}"
        return names

    def _selected(self, columns: Sequence[tuple[str, str]]) -> str:
        listed = ",\n".join(f"{text} AS {self.dialect.quoted(name)}" for text, name in columns)
        return f"SELECT {listed} FROM {self.source}"


def _added(terms: Sequence[Staircase | Term], base: np.ndarray, place: int, dialect: Dialect) -> str:
    """Return a sum: what it begins with, and what each term adds."""
    parts = []
    for term in terms:
        if isinstance(term, Staircase):
            parts.append(_steps(term, place, dialect))
        elif term.values[place]:
            parts.append(dialect.choice(dialect.condition(term.condition), _number(term.values[place]), "0"))
    if base[place] or not parts:
        parts.append(_number(base[place]))
    return "+".join(parts).replace("+-", "-")


def _steps(term: Staircase, place: int, dialect: Dialect) -> str:
    name, values = dialect.quoted(term.column), term.values[:, place]
    lines = []
    if term.missing[place] != values[-1]:  # NULL is below no cut: it gets what the last step has
        lines.append(f"WHEN {name} IS NULL THEN {_number(term.missing[place])}")
    for cut, value, following in zip(term.cuts, values, values[1:], strict=False):
        if value != following:
            below = Numbers(term.column, high=cut.value, high_open=not cut.is_after)
            lines.append(f"WHEN {dialect.atom(below)} THEN {_number(value)}")
    return f"CASE {' '.join(lines)} ELSE {_number(values[-1])} END" if lines else _number(values[-1])


def _by_place(place: str, values: Sequence[str]) -> str:
    """Return a CASE over a number, with the most frequent value last."""
    most = max(dict.fromkeys(values), key=values.count)
    lines = [f"WHEN {number} THEN {value}" for number, value in enumerate(values) if value != most]
    return f"CASE {place} {' '.join(lines)} ELSE {most} END" if lines else most


def _logistic(total: str, divisor: str, sign: str, guard: int) -> str:
    """Return 1 / (1 + exp(+-total)); beyond a guard, where exp overflows, its limit."""
    inner = f"1/(1+EXP({sign}{total}{divisor}))"
    if not guard:
        return inner
    high, low = ("1.0", "0.0") if sign else ("0.0", "1.0")
    return f"CASE WHEN {total}>{guard} THEN {high} WHEN {total}<-{guard} THEN {low} ELSE {inner} END"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))
