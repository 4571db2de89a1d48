"""Rule sets as one SQL query, in the dialects that sqlglot knows."""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from rules.atoms import Condition, single
from rules.boxes import simplified
from rules.evaluate import banded, vector
from rules.exports.names_sql import WRITTEN_HERE, Dialect, dialect_of, number
from rules.exports.smaller import smaller
from rules.exports.steps import terms_of
from rules.exports.sums_sql import joined, summed
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
    `p_<class>` are the probabilities. Columns that are named often get letters instead where that is shorter.

    Args:
        engine: The rules.
        dialect: As sqlglot names it.
        table: Name of the table, after that of its schema if it needs one: `public.data`; a name with a point in it
            stands in double quotes.
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
        SELECT IF(age>=60,'yes','no') answer FROM data
    """
    written = dialect_of(dialect)
    is_told = probabilities and bool(engine.classes)
    answering = engine if is_told or engine.policy not in ("first", "unique") else simplify(_answering(engine))
    listed = as_list(answering)
    forms = [Query(listed, written, table, has_letters).text(is_told) for has_letters in (False, True)]
    query = min(forms, key=len)
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
        has_letters: Whether columns are called by letters, which a selection from the table gives to them.
    """

    def __init__(self, engine: RuleSet, dialect: Dialect, table: str, has_letters: bool) -> None:
        self.engine, self.dialect, self.table, self.has_letters = engine, dialect, table, has_letters
        self.hard = [rule for stage in ("before", "after") for rule in engine.rules if rule.stage == stage]
        self._letters: dict[str, str] = {}
        self._levels: list[str] = []

    def text(self, probabilities: bool) -> str:
        """Return the query."""
        engine = self.engine
        if engine.policy in ("first", "unique"):
            return self._chosen(probabilities)
        can_rank = engine.calibration is None and engine.abstain is None
        if engine.policy == "sum" and len(engine.classes) == 2 and can_rank and not probabilities:
            return self._flat()
        if engine.policy == "sum" and not engine.classes:
            scale, total = totals_of(engine).scale, _total(*self._sums()[0])
            value = f"({total})/{scale}.0" if scale > 1 else total
            return self._selected([(self._over_hard([value], 0), ANSWER)])
        sums = self._nested([_total(*total) for total in self._sums()])
        shares = self._shares(sums)
        if not engine.classes:
            return self._selected([(self._over_hard(shares, 0), ANSWER)])
        if not can_rank:
            shares = self._nested(shares)
        ranked = sums[: len(engine.classes)] if can_rank else shares
        columns = [(self._decided(ranked, shares, sums[-1]), ANSWER)]
        if probabilities:
            columns += [
                (self._over_hard(shares, place), probability_name(name)) for place, name in enumerate(engine.classes)
            ]
        return self._selected(columns)

    def _named(self, column: str) -> str:
        """Return what a column is called in conditions."""
        if not self.has_letters:
            return self.dialect.quoted(column)
        return self._letters.setdefault(column, _letter(len(self._letters)))

    def _sums(self) -> list[tuple[str, float]]:
        """Return what the rules add up to, and what is still to be added to it.

        Points of the classes, of which only differences count: whole ones are told less those of the last class. Or
        votes for the classes, and then the weight of all votes.
        """
        engine, totals, terms = self.engine, totals_of(self.engine), terms_of(self.engine)
        values = [term.values for term in terms]
        base = np.array([*totals.base, *([0.0] if engine.policy == "vote" else [])])
        if engine.policy == "sum" and len(engine.classes) > 2 and totals.is_whole:
            values, base = [value - value[:, -1:] for value in values], base - base[-1]
        made = []
        for place, first in enumerate(base):
            parts = [(term, value[:, place]) for term, value in zip(terms, values, strict=True)]
            made.append(summed(parts, first, self.dialect, self._named, can_shift=totals.is_whole))
        return made

    def _flat(self) -> str:
        """Return the query of the class that points speak for."""
        parts = terms_of(self.engine)
        values, base = smaller([part.values[:, 0] for part in parts], float(totals_of(self.engine).base[0]))
        pairs = list(zip(parts, values, strict=True))
        total, added = summed(pairs, base, self.dialect, self._named, can_shift=totals_of(self.engine).is_whole)
        low, high = map(self.dialect.text, self.engine.classes)
        model = self.dialect.choice(f"{total}>{number(-added)}", high, low)
        cases = [(box, self._answer(rule.output, is_hard=True))
                 for rule in self.hard if (box := simplified(rule.condition)) is not None]  # fmt: skip
        return self._selected([(self._case(cases, model), ANSWER)])

    def _chosen(self, probabilities: bool) -> str:
        """Return the query of the first rule that holds."""
        engine = self.engine
        rules = [rule for stage in ("before", "after", "model") for rule in engine.rules if rule.stage == stage]
        entries = [(simplified(rule.condition), rule.output, rule.is_hard) for rule in rules]
        cases = [(box, self._answer(output, is_hard), output) for box, output, is_hard in entries if box is not None]
        default = self._answer(engine.default, is_hard=False)
        if not probabilities:
            return self._selected([(self._case([case[:2] for case in cases], default), ANSWER)])
        said = list(dict.fromkeys([*(case[1:] for case in cases), (default, engine.default)]))
        seconds = self._seconds(said)
        if seconds:
            shares = [(box, seconds[said.index((answer, output))]) for box, answer, output in cases]
            (share,) = self._nested([self._case(shares, seconds[said.index((default, engine.default))])])
            low, high = engine.classes
            answer = self.dialect.choice(f"{share}>0.5", self.dialect.text(high), self.dialect.text(low))
            names = [probability_name(low), probability_name(high)]
            return self._selected([(answer, ANSWER), (f"1-{share}", names[0]), (share, names[1])])
        numbers = [(box, str(said.index((answer, output)))) for box, answer, output in cases]
        (place,) = self._nested([self._case(numbers, str(said.index((default, engine.default))))])
        columns = [(_by_place(place, [answer for answer, _ in said]), ANSWER)]
        for column, name in enumerate(engine.classes):
            values = [number(vector(output, engine)[column]) for _, output in said]
            columns.append((_by_place(place, values), probability_name(name)))
        return self._selected(columns)

    def _seconds(self, said: Sequence[tuple[str, Output]]) -> list[str] | None:
        """Return the probabilities of the second of two classes, if answers follow from them; None otherwise."""
        engine = self.engine
        if len(engine.classes) != 2 or engine.can_abstain:
            return None
        shares = [vector(output, engine) for _, output in said]
        names = [self.dialect.text(engine.classes[int(second > 0.5)]) for _, second in shares]
        if names != [answer for answer, _ in said] or any(abs(first + second - 1) > 1e-7 for first, second in shares):
            return None
        return [number(second) for _, second in shares]

    def _answer(self, output: Output, is_hard: bool) -> str:
        """Return the answer that an output gives alone."""
        if not self.engine.classes:
            return number(vector(output, self.engine)[0])
        place = _decision(self.engine, output, is_hard)
        return "NULL" if place < 0 else self.dialect.text(self.engine.classes[place])

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
        otherwise = "" if default == "NULL" else f" ELSE {default}"
        return "CASE " + "\n".join(lines) + f"{otherwise} END"

    def _any(self, boxes: Iterable[Condition]) -> str:
        return " OR ".join(self.dialect.condition(box, self._named) for box in boxes)

    def _over_hard(self, shares: Sequence[str], place: int) -> str:
        """Return a probability or value, where no hard rule holds that of the model."""
        cases = [(box, number(vector(rule.output, self.engine)[place]))
                 for rule in self.hard if (box := simplified(rule.condition)) is not None]  # fmt: skip
        return self._case(cases, shares[place])

    def _decided(self, ranked: Sequence[str], shares: Sequence[str], weight: str) -> str:
        """Return the answer: of hard rules, withheld, or the class that ranks first."""
        engine, classes = self.engine, [self.dialect.text(name) for name in self.engine.classes]
        hard = [(box, self._answer(rule.output, is_hard=True))
                for rule in self.hard if (box := simplified(rule.condition)) is not None]  # fmt: skip
        branches = [f"WHEN {self.dialect.condition(box, self._named)} THEN {said}" for box, said in hard]
        if engine.policy == "vote":
            branches.append(f"WHEN NOT {weight}>0 THEN {self._answer(engine.default, is_hard=False)}")
        if engine.abstain is not None:
            branches.append(f"WHEN {self._withheld(shares)} THEN NULL")
        if len(ranked) == 1:  # log-odds of the second class
            best = self.dialect.choice(f"{ranked[0]}>0", classes[1], classes[0])
        elif len(ranked) == 2:
            best = self.dialect.choice(f"{ranked[1]}>{ranked[0]}", classes[1], classes[0])
        else:
            named = [f"WHEN {value} THEN {name}" for value, name in zip(ranked[:-1], classes, strict=False)]
            best = f"CASE {self.dialect.largest(ranked)} {' '.join(named)} ELSE {classes[-1]} END"
        return f"CASE {' '.join(branches)} ELSE {best} END" if branches else best

    def _withheld(self, shares: Sequence[str]) -> str:
        band = self.engine.abstain
        assert band is not None
        low, high = number(single(band.low)), number(single(band.high))
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
            return [f"CASE WHEN {sums[-1]}>0 THEN 1.0*{share}/{sums[-1]} ELSE {number(default[place])} END"
                    for place, share in enumerate(sums[:-1])]  # fmt: skip
        divisor = f"/{totals.scale}.0" if totals.scale > 1 else ""
        if totals.calibration is not None:
            steps = [f"WHEN {sums[0]}<{number(edge)} THEN {{{place}}}"
                     for place, edge in enumerate(totals.calibration.edges)]  # fmt: skip
            text = " ".join(["CASE", *steps, f"ELSE {{{len(steps)}}} END"]) if steps else "{0}"
            second = np.array(totals.calibration.probabilities)
            return [text.format(*(number(single(share)) for share in shares)) for shares in (1 - second, second)]
        most = (np.abs(totals.values).sum() + np.abs(totals.base).sum()) / totals.scale
        guard = SAFE_EXPONENT * totals.scale if most > SAFE_EXPONENT else 0
        if len(engine.classes) == 2:
            return [_logistic(sums[0], divisor, sign, guard) for sign in ("", "-")]

        def raised(own: str, other: str) -> str:
            apart = f"{other}-{own}"
            return f"EXP({self.dialect.bounded(apart, guard) if guard else f'({apart})'}{divisor})"

        return ["1/(1+" + "+".join(raised(own, other) for other in sums if other != own) + ")" for own in sums]

    def _nested(self, expressions: Sequence[str]) -> list[str]:
        """Put expressions into an inner selection and return the names that they have there."""
        prefix = self.dialect.prefix
        while any(column.startswith(prefix) for column in self.engine.columns):
            prefix += "_"
        letter = string.ascii_lowercase[len(self._levels)]
        names = [f"{prefix}{letter}{place}" for place in range(len(expressions))]
        self._levels.append(",\n".join(f"{text} AS {name}" for text, name in zip(expressions, names, strict=True)))
        return names

    def _selected(self, columns: Sequence[tuple[str, str]]) -> str:
        between = " " if self.dialect.is_brief else " AS "
        listed = ",\n".join(f"{text}{between}{self.dialect.quoted(name)}" for text, name in columns)
        return f"SELECT {listed} FROM {self._source()}"

    def _source(self) -> str:
        """Return what the outermost selection selects from."""
        source = self.dialect.table(self.table)
        letters = ",".join(f"{self.dialect.quoted(name)} {letter}" for name, letter in self._letters.items())
        selections = [letters] if letters else []
        for place, listed in enumerate(selections + [f"*,{level}" for level in self._levels], 1):
            source = f"(SELECT {listed}\nFROM {source})" + (
                "" if self.dialect.is_brief else f" AS {self.dialect.prefix}{place}"
            )
        return source


def _answering(engine: RuleSet) -> RuleSet:
    """Return a list of the same answers, without the probabilities behind them."""
    if not engine.classes:
        return engine

    def answer(output: Output, is_hard: bool) -> Output:
        place = _decision(engine, output, is_hard)
        return Abstain() if place < 0 else Label(engine.classes[place])

    rules = tuple(replace(rule, output=answer(rule.output, rule.is_hard)) for rule in engine.rules)
    return replace(engine, rules=rules, default=answer(engine.default, is_hard=False), abstain=None)


def _decision(engine: RuleSet, output: Output, is_hard: bool) -> int:
    """Return the number of the class that an output decides for alone; -1 where it abstains."""
    values = np.array([vector(output, engine)]).astype(np.float32)
    withheld = engine.abstain is not None and not is_hard and banded(engine.abstain, values, engine.classes)[0]
    return -1 if isinstance(output, Abstain) or withheld else int(values.argmax())


def _total(parts: str, added: float) -> str:
    return joined([*([parts] if parts != "0" else []), *([number(added)] if added or parts == "0" else [])])


def _letter(place: int) -> str:
    """Return the name of a column in a query: a, b, ..., z, a1, ..."""
    turn, letter = divmod(place, len(string.ascii_lowercase))
    return string.ascii_lowercase[letter] + (str(turn) if turn else "")


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
