"""Which conditions hold, as plain operators: tests of numbers and texts, and conjunctions of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from compression.tables import TableGraph
from rules.decimals import after, before
from rules.exports.literals import Literal, Tests
from rules.exports.numbers import numbers_bytes, write_numbers
from rules.ruleset import RuleSet

__all__ = ["held", "is_singular", "place_of_none", "ranked", "write_tests"]

BOOL, FLOAT = 9, 1


def write_tests(graph: TableGraph, tests: Tests, engine: RuleSet) -> str:
    """Write all tests and return the name of what they found, bool, shape (n_rows, n_tests)."""
    parts = []
    if tests.numbers:
        parts.append(_numbers(graph, tests, len(engine.numeric_columns)))
    if tests.texts:
        places = [test.place for test in tests.texts]
        source = _gathered(graph, "c", places, len(engine.categorical_columns))
        parts.append(graph.node("Equal", source, graph.texts([test.text for test in tests.texts])))
    return parts[0] if len(parts) == 1 else graph.node("Concat", *parts, axis=1)


def is_singular(tests: Tests) -> bool:
    """Whether every condition is one literal: then what holds is linear in the tests."""
    return all(literals is not None and len(literals) == 1 for literals in tests.conditions)


def held(graph: TableGraph, found: str, tests: Tests, *, is_dense: bool) -> str:
    """Write which conditions hold and return the name, float32, shape (n_rows, n_conditions), 1 or 0.

    Args:
        graph: Receives constants and nodes.
        found: What the tests found.
        tests: With the conditions.
        is_dense: Whether by a product with a matrix of all tests and conditions; otherwise by looking tests up, which
            needs a literal in every condition.
    """
    if is_dense:
        return graph.node("Relu", _scores(graph, found, tests, tests.conditions))
    return graph.node("Cast", _conjunctions(graph, found, tests, tests.conditions), to=FLOAT)


def ranked(graph: TableGraph, found: str, tests: Tests, *, is_dense: bool) -> str:
    """Write numbers of which the first largest belongs to the first condition that holds, and return the name.

    Float32, shape (n_rows, n_conditions + 1); one more belongs to rows for which none holds, at `place_of_none`.

    Args: as for `held`.
    """
    if is_dense:
        return _scores(graph, found, tests, (*tests.conditions, ()), is_first=True)
    return graph.node("Cast", _conjunctions(graph, found, tests, (None, *tests.conditions)), to=FLOAT)


def place_of_none(tests: Tests, *, is_dense: bool) -> int:
    """Return the place among the ranked that stands for no condition: behind all that hold, or before all that fail."""
    return len(tests.conditions) if is_dense else 0


Conditions = Sequence[tuple[Literal, ...] | None]


def _scores(graph: TableGraph, found: str, tests: Tests, conditions: Conditions, *, is_first: bool = False) -> str:
    """Write whole numbers, float32, shape (n_rows, n_conditions).

    1 where a condition holds, else 0 or less; with `is_first` 0 where it holds, else less.
    """
    matrix, bias = np.zeros((len(tests), len(conditions))), np.zeros(len(conditions))
    signs = {literal.is_positive for literals in conditions for literal in literals or ()}
    is_single = all(len(literal.tests) == 1 for literals in conditions for literal in literals or ())
    is_opposite = is_first and signs == {True} and is_single
    for column, literals in enumerate(conditions):
        for literal in literals or ():
            matrix[list(literal.tests), column] += 1 if literal.is_positive and not is_opposite else -1
        passed = 0 if is_opposite else sum(literal.is_positive for literal in literals or ())
        bias[column] = (0 if is_first else literals is not None) - passed
        if is_first and literals is None:
            bias[column] = -1
    numbers = graph.node("Cast", graph.node("Not", found) if is_opposite else found, to=FLOAT)
    if not bias.any():
        return graph.node("MatMul", numbers, write_numbers(graph, matrix))
    return graph.node("Gemm", numbers, write_numbers(graph, matrix), write_numbers(graph, bias))


def _conjunctions(graph: TableGraph, found: str, tests: Tests, conditions: Conditions) -> str:
    """Write which conditions hold, bool, shape (n_rows, n_conditions), looking up one literal after the other."""
    sets = sorted({literal.tests for literals in conditions for literal in literals or () if len(literal.tests) > 1})
    pool, place_of = [found], dict[tuple[int, ...], int]({(number,): number for number in range(len(tests))})
    if sets:
        members = np.zeros((len(tests), len(sets)))
        for place, numbers in enumerate(sets):
            members[list(numbers), place] = 1
            place_of[numbers] = len(tests) + place
        product = graph.node("MatMul", graph.node("Cast", found, to=FLOAT), write_numbers(graph, members))
        pool.append(graph.node("Cast", product, to=BOOL))
    plain = pool[0] if len(pool) == 1 else graph.node("Concat", *pool, axis=1)
    size = len(place_of)
    wanted = [[(0, True), (0, False)] if literals is None else [(place_of[x.tests], x.is_positive) for x in literals]
              for literals in conditions]  # fmt: skip
    is_negated = any(not sign for literals in wanted for _, sign in literals) or not all(wanted)
    literals = graph.node("Concat", plain, graph.node("Not", plain), axis=1) if is_negated else plain
    places = [[place + (0 if sign else size) for place, sign in entry] for entry in wanted]
    made = ""
    for level in range(max(map(len, places), default=0)):
        chosen = [entry[min(level, len(entry) - 1)] for entry in places]
        looked_up = graph.node("Gather", literals, graph.integers(chosen), axis=1)
        made = graph.node("And", made, looked_up) if made else looked_up
    return made


def _numbers(graph: TableGraph, tests: Tests, width: int) -> str:
    source = _gathered(graph, "x", [test.place for test in tests.numbers], width)
    flags = [test.is_below for test in tests.numbers]
    limits = [test.threshold for test in tests.numbers]
    if any(flags) and not all(flags):  # x < t is -x >= -t without its end
        source = graph.node("Mul", source, write_numbers(graph, np.where(flags, -1.0, 1.0)))
        limits = [after(-limit) if flag else limit for limit, flag in zip(limits, flags, strict=True)]
    closed, opened = ("Less", "LessOrEqual") if all(flags) else ("GreaterOrEqual", "Greater")
    others = [before(limit) for limit in limits]
    if -math.inf not in limits and len(opened) + numbers_bytes(np.array(others)) < len(closed) + numbers_bytes(
        np.array(limits)
    ):
        closed, limits = opened, others
    return graph.node(closed, source, write_numbers(graph, np.array(limits)))


def _gathered(graph: TableGraph, source: str, places: Sequence[int], width: int) -> str:
    if width == 1 or list(places) == list(range(width)):  # one column is compared with all tests by broadcasting
        return source
    return graph.node("Gather", source, graph.integers(places), axis=1)
