"""Whether rules of one's own keep the directions that are demanded: no learned rule could make good what they break."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

from rules.atoms import Atom, Condition, Numbers
from rules.boxes import ends, is_covered, meet, remainder, witness
from rules.decimals import after, before, shortest_between
from rules.language.document import Document
from rules.language.rules import Entry
from rules.language.user_rules import UserRules
from rules.outputs import Label, Output, Points, Probability
from rules.signs import sign_of

__all__ = ["check_directions"]

WORDS = {1: "increasing", -1: "decreasing"}
MOST_PIECES = 200


def check_directions(document: Document, entries: Sequence[Entry], made: UserRules, classes: Sequence[str]) -> None:
    """Rules that the answer must contain keep `demands.monotone`; problems go to the document.

    Hard rules may break a direction beside learned rules, and beside rules that do not ask for its column: they are
    there to override. Two rules that both ask for it are held against each other.
    """
    if len(classes) > 2:
        return  # told where the demand is read
    decides = made.policy in ("first", "unique")
    pieces = _pieces(entries, decides, classes)
    for column, direction in made.demands.monotone.items():
        asking = [piece for piece in pieces if any(atom.column == column for atom in piece.entry.rule.condition.atoms)]
        _check_pairs(document, asking, column, direction)
    for entry in entries:
        if entry.rule.stage == "model":
            _check_alone(document, entry, made, classes, decides=decides)


@final
@dataclass(frozen=True, eq=False)
class _Piece:
    """Rows that one rule decides, and its answer."""

    entry: Entry
    box: Condition
    answer: float


def _pieces(entries: Sequence[Entry], decides: bool, classes: Sequence[str]) -> list[_Piece]:
    """Return what each rule that decides alone leaves to no earlier one."""
    stages = ("before", "after", "model") if decides else ("before", "after")
    order = [entry for stage in stages for entry in entries if entry.rule.stage == stage]
    made = []
    for place, entry in enumerate(order):
        answer = _answer(entry.rule.output, classes)
        earlier = [other.rule.condition for other in order[:place] if meet(entry.rule.condition, other.rule.condition)]
        boxes = remainder(entry.rule.condition, earlier, most=MOST_PIECES) or ()
        made += [_Piece(entry, box, answer) for box in boxes if answer is not None]
    return made


def _check_pairs(document: Document, pieces: Sequence[_Piece], column: str, direction: int) -> None:
    """No step of one column in its direction leads from a higher answer to a lower one."""
    told = set()
    for high in pieces:
        for low in pieces:
            names = frozenset((high.entry.name, low.entry.name))
            if high.answer <= low.answer or names in told:
                continue
            rest = meet(_without(high.box, column), _without(low.box, column))
            step = _step(high.box, low.box, column, direction)
            if rest is None or step is None:
                continue
            start, end = step
            told.add(names)
            later, earlier = sorted((high.entry, low.entry), key=lambda entry: entry.line, reverse=True)
            both = " and ".join(
                f"{name} = {value:.9g}" if isinstance(value, float) else f"{name} = '{value}'"
                for name, value in witness(rest).items()
            )
            document.add(
                later.node,
                f"rule {later.name}",
                f"it and rule {earlier.name} (line {earlier.line}) break demands.monotone, {column}: "
                f"{WORDS[direction]}; at {column} = {start:.9g} rule {high.entry.name} gives more than rule "
                f"{low.entry.name} at {end:.9g}{f', where {both}' if both else ''}; change one of them, or drop the "
                "direction",
            )


def _check_alone(document: Document, entry: Entry, made: UserRules, classes: Sequence[str], *, decides: bool) -> None:
    """A must-have rule leaves learned rules a way to keep the directions beside it."""
    monotone, condition, where = made.demands.monotone, entry.rule.condition, f"rule {entry.name}"
    asked = [atom.column for atom in condition.atoms if monotone.get(atom.column)]
    answer = _answer(entry.rule.output, classes)
    listed = " and ".join(f"{name}: {WORDS[monotone[name]]}" for name in asked)
    if decides and classes and answer in (0.0, 1.0):
        for column in asked:
            way = monotone[column] * (1 if answer else -1)  # on that side of it nothing may say anything else
            wider = _opened(condition, column, way)
            if wider is not None and not is_covered(wider, [rule.condition for rule in made.rules]):
                side = "larger" if way > 0 else "smaller"
                document.add(
                    entry.node,
                    where,
                    f"it is sure of {classes[int(answer)]}, so demands.monotone, {column}: {WORDS[monotone[column]]}, "
                    f"asks the same of all {side} values of {column}, of which it leaves some out; let it hold for "
                    "those too, give it a stage, or drop the direction",
                )
    elif not decides and asked:
        sign = sign_of(condition, monotone)
        speaks = 0 if answer is None else (answer > _neutral(made)) - (answer < _neutral(made))
        if sign is None or sign * speaks < 0:
            document.add(
                entry.node,
                where,
                f"what it says breaks demands.monotone, {listed}; let it ask for one end of each of these columns, the "
                "one that speaks for its answer, or drop the direction",
            )


def _neutral(made: UserRules) -> float:
    """Return the answer that speaks for neither side: no points, an even chance."""
    return 0.5 if made.policy == "vote" else 0.0


def _answer(output: Output, classes: Sequence[str]) -> float | None:
    """Return the probability of the second class, the points for it, or the value; None where there is no answer."""
    if isinstance(output, Label):
        return float(classes.index(output.name))
    if isinstance(output, Probability):
        return output.values[-1]
    return output.values[0] if isinstance(output, Points) else None


def _without(box: Condition, column: str) -> Condition:
    return Condition(tuple(atom for atom in box.atoms if atom.column != column))


def _step(start: Condition, end: Condition, column: str, direction: int) -> tuple[float, float] | None:
    """Return a value of a column in each of two boxes such that the way between them has the direction."""
    ranges = []
    for box in (start, end):
        atoms = [atom for atom in box.atoms if atom.column == column]
        ranges.append(ends(atoms[0]) if atoms and isinstance(atoms[0], Numbers) else (-math.inf, math.inf))
    (low, high), (begin, last) = ranges
    if low > high or begin > last:
        return None  # one of them is for missing values alone
    if direction > 0:
        begin = max(begin, after(low))
    else:
        last = min(last, before(high))
    if begin > last:
        return None
    there = shortest_between(begin, last)
    here = shortest_between(low, min(high, before(there))) if direction > 0 else (
        shortest_between(max(low, after(there)), high)
    )  # fmt: skip
    return here, there


def _opened(condition: Condition, column: str, way: int) -> Condition | None:
    """Return the box that holds for all further values of a column too; None where it holds for missing ones alone."""
    made: list[Atom] = []
    for atom in condition.atoms:
        if atom.column == column:
            assert isinstance(atom, Numbers)
            if atom.is_void:
                return None
            end = replace(atom, high=math.inf, high_open=False)
            made.append(end if way > 0 else replace(atom, low=-math.inf, low_open=False))
        else:
            made.append(atom)
    return Condition(tuple(made))
