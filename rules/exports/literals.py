"""Conditions as literals over few tests: the numbers compared and the texts looked for, each once for all rules."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal as OneOf
from typing import final

from rules.atoms import Atom, Categories, Condition
from rules.boxes import ends, simplified
from rules.decimals import after
from rules.ruleset import RuleSet

__all__ = ["Literal", "NumberTest", "Tests", "TextTest", "Upper", "tests_of"]


Upper = OneOf["own", "shared", "presence"]


@final
@dataclass(frozen=True, order=True)
class NumberTest:
    """The test `x >= threshold`, or `x < threshold`; NaN fails both.

    Args:
        place: Column of `x`.
        threshold: Float32.
        is_below: Whether the number must be below the threshold.
    """

    place: int
    threshold: float
    is_below: bool = False


@final
@dataclass(frozen=True, order=True)
class TextTest:
    """The test `c = text`, where "" is a missing value.

    Args:
        place: Column of `c`.
        text: What it is compared with.
    """

    place: int
    text: str


@final
@dataclass(frozen=True)
class Literal:
    """One of some tests is passed, or none of them is. No two of them pass for one row.

    Args:
        tests: Numbers of tests.
        is_positive: Whether one must pass; otherwise none may.
    """

    tests: tuple[int, ...]
    is_positive: bool


@final
@dataclass(frozen=True)
class Tests:
    """What is asked of rows, and what each condition makes of the answers. Tests are counted through, numbers first.

    Args:
        numbers: Comparisons of numbers.
        texts: Comparisons of texts.
        conditions: Literals of each condition, all of which must hold; None where none of the rows can satisfy it.
    """

    numbers: tuple[NumberTest, ...]
    texts: tuple[TextTest, ...]
    conditions: tuple[tuple[Literal, ...] | None, ...]

    def __len__(self) -> int:
        return len(self.numbers) + len(self.texts)


def tests_of(engine: RuleSet, conditions: Sequence[Condition], *, upper: Upper) -> Tests:
    """Return the tests that decide some conditions.

    Args:
        engine: Whose columns they are about; it has at least one.
        conditions: To be decided.
        upper: How upper ends are written that a missing value fails. `x < 5` is a test of its own, or, with
            `presence`, `x >= -inf` and not `x >= 5`, which shares its second test with `x >= 5`. So does the end of
            `3 <= x < 5`, except with `own`, where every end is a test of its own.
    """
    boxes = [simplified(condition) for condition in conditions]
    wanted = [
        None if box is None else [part for atom in box.atoms for part in _asked(atom, engine, upper)] for box in boxes
    ]
    asked: set[NumberTest | TextTest] = {test for parts in wanted for tests, _ in parts or () for test in tests}
    if not asked:  # a file must depend on its rows, if only on how many there are
        asked = {NumberTest(0, math.inf) if engine.numeric_columns else TextTest(0, "")}
    numbers = tuple(sorted(test for test in asked if isinstance(test, NumberTest)))
    texts = tuple(sorted(test for test in asked if isinstance(test, TextTest)))
    listed: list[NumberTest | TextTest] = [*numbers, *texts]
    number_of = {test: place for place, test in enumerate(listed)}
    literals = (
        None
        if parts is None
        else tuple(Literal(tuple(number_of[test] for test in tests), sign) for tests, sign in parts)
        for parts in wanted
    )
    return Tests(numbers, texts, tuple(literals))


Part = tuple[tuple[NumberTest, ...] | tuple[TextTest, ...], bool]


def _asked(atom: Atom, engine: RuleSet, upper: Upper) -> Iterator[Part]:
    """Yield the literals of an atom: tests, and whether one of them must pass."""
    place = engine.columns[atom.column][1]
    if isinstance(atom, Categories):
        listed = atom.values + (("",) if atom.missing != atom.negated else ())
        yield tuple(TextTest(place, value) for value in listed), not atom.negated
        return
    low, high = ends(atom)
    is_present = (NumberTest(place, -math.inf),), True
    if low > high:  # a missing value alone
        yield is_present[0], False
        return
    has_low, has_high = low > -math.inf, high < math.inf
    if has_low:
        yield (NumberTest(place, low, atom.missing),), not atom.missing
    if has_high:
        is_own = not atom.missing and (upper == "own" or (upper == "shared" and not has_low))
        yield (NumberTest(place, after(high), is_own),), is_own
    if not (atom.missing or has_low or (has_high and upper != "presence")):
        yield is_present
