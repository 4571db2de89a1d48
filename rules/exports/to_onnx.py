"""Rule sets as ONNX files of plain operators: the shortest of several forms."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import onnx

from compression.tables import TableColumns, TableGraph
from engine.errors import ArtifactError
from rules.atoms import Condition
from rules.boxes import simplified
from rules.evaluate import banded, vector
from rules.exports.held import held, is_singular, place_of_none, ranked, write_tests
from rules.exports.literals import Tests, Upper, tests_of
from rules.exports.numbers import numbers_bytes, write_numbers
from rules.outputs import Abstain, Output
from rules.rule import Rule
from rules.ruleset import RuleSet
from rules.totals import Totals, totals_of

__all__ = ["DECISION", "to_onnx"]

DECISION = "decision"  # the second output, of rule sets that can abstain
FLOAT = 1
COMPLEMENT_BYTES = 47  # what making the first of two probabilities from the second takes
UPPER: tuple[Upper, ...] = ("own", "shared", "presence")


def to_onnx(engine: RuleSet, *, names_columns: bool = True) -> bytes:
    """Return a file that answers as the rule set does.

    Inputs `x`, float32, N x numeric columns, NaN for missing, and `c`, string, N x categorical columns, "" for missing,
    as far as there are such columns. Output `y`, float32, N x classes probabilities, or N x 1 values. A rule set that
    can abstain has a second output `decision`, int64, N x 1: the number of the class, -1 where it abstains.

    Args:
        engine: At least one column, or nothing tells how many rows there are.
        names_columns: Whether the file holds the names of the columns that its rules ask, with their places, so that
            tables can be matched by name. The cells of other columns are never read.

    Raises:
        ArtifactError: If the rule set has no columns.

    Example:
        >>> from rules.atoms import Condition, Numbers
        >>> from rules.outputs import Label
        >>> old = Rule("old", Condition((Numbers("age", low=60),)), Label("yes"))
        >>> len(to_onnx(RuleSet((old,), "first", Label("no"), ("no", "yes"), ("age",)), names_columns=False))
        253
    """
    if not engine.columns:
        raise ArtifactError("A rule set needs a column to be written as ONNX: nothing tells how many rows there are.")
    has_always = any(simplified(rule.condition) == Condition() for rule in engine.rules)
    forms = itertools.product((True,) if has_always else (True, False), UPPER)
    files = [Form(engine, is_dense, upper).file(names_columns) for is_dense, upper in forms]
    return min(files, key=len)


@final
@dataclass(frozen=True, eq=False)
class Form:
    """One way to write a rule set.

    Args:
        engine: The rules.
        is_dense: Whether conjunctions are a product with a matrix, see `rules.exports.held.held`.
        upper: How upper ends are written, see `rules.exports.literals.tests_of`.
    """

    engine: RuleSet
    is_dense: bool
    upper: Upper

    def file(self, names_columns: bool) -> bytes:
        """Return the file."""
        engine, graph = self.engine, TableGraph()
        deciders = engine.of_stage("before") + engine.of_stage("after")
        if engine.policy in ("first", "unique"):
            values, decision = self._chosen(graph, deciders + engine.of_stage("model"), engine.default)
        else:
            values, decision = self._combined(graph)
            if deciders:
                values, decision = self._overruled(graph, deciders, values, decision)
        kinds = ("number",) * len(engine.numeric_columns) + ("text",) * len(engine.categorical_columns)
        columns = TableColumns(engine.numeric_columns + engine.categorical_columns, kinds, is_named=False)
        model = graph.table(values, columns, max(len(engine.classes), 1), engine.classes or None)
        return _completed(model, decision, _places(engine) if names_columns else {})

    def _chosen(self, graph: TableGraph, rules: Sequence[Rule], default: Output) -> tuple[str, str]:
        """Write what the first rule that holds says; return the names of values and decision."""
        found, tests = self._tested(graph, rules)
        order = ranked(graph, found, tests, is_dense=self.is_dense)
        said, hard = [rule.output for rule in rules], [rule.is_hard for rule in rules]
        said.insert(place_of_none(tests, is_dense=self.is_dense), default)
        hard.insert(place_of_none(tests, is_dense=self.is_dense), False)
        if self.engine.can_abstain:
            return self._looked_up(graph, graph.node("ArgMax", order, axis=1), said, hard)
        table, chosen = np.array([vector(output, self.engine) for output in said]), graph.node("Hardmax", order)
        if _is_half_enough(table):  # p becomes p - 1 and p, and without their signs 1 - p and p
            second = graph.node("MatMul", chosen, write_numbers(graph, table[:, 1:]))
            return graph.node("Abs", graph.node("Sub", second, graph.weights(np.array([1, 0], np.float32)))), ""
        return graph.node("MatMul", chosen, write_numbers(graph, table)), ""

    def _looked_up(
        self, graph: TableGraph, first: str, said: Sequence[Output], hard: Sequence[bool]
    ) -> tuple[str, str]:
        table = np.array([vector(output, self.engine) for output in said]).astype(np.float32)
        values = graph.node("GatherND", write_numbers(graph, table), first)
        if not self.engine.can_abstain:
            return values, ""
        silent = np.array([isinstance(output, Abstain) for output in said])
        if self.engine.abstain is not None:
            silent |= banded(self.engine.abstain, table, self.engine.classes) & ~np.array(hard)
        decisions = np.where(silent, -1, table.argmax(axis=1))
        return values, graph.node("GatherND", graph.integers(decisions.tolist(), shape=(len(said), 1)), first)

    def _tested(self, graph: TableGraph, rules: Sequence[Rule]) -> tuple[str, Tests]:
        tests = tests_of(self.engine, [rule.condition for rule in rules], upper=self.upper)
        return write_tests(graph, tests, self.engine), tests

    def _combined(self, graph: TableGraph) -> tuple[str, str]:
        """Write what the rules add up to; return the names of values and decision."""
        engine, totals = self.engine, totals_of(self.engine)
        found, tests = self._tested(graph, engine.of_stage("model"))
        if is_singular(tests):
            numbers, matrix = graph.node("Cast", found, to=FLOAT), _linear(tests)
        else:
            numbers, matrix = held(graph, found, tests, is_dense=self.is_dense), None
        summed = _product(graph, numbers, matrix, totals.values, totals.base)
        if engine.policy == "vote":
            weights = _product(graph, numbers, matrix, totals.weights[:, None], np.zeros(1))
            is_any = graph.node("Greater", weights, graph.constant(totals.weights.min(initial=1) / 2))
            default = graph.weights(np.array(vector(engine.default, engine), np.float32))
            values = graph.node("Where", is_any, graph.node("Div", summed, weights), default)
        else:
            is_any, values = "", _answered(graph, summed, totals)
        return values, self._decided(graph, values, is_any)

    def _decided(self, graph: TableGraph, values: str, is_any: str) -> str:
        """Write which class the model decides for, and return the name, int64, shape (n_rows, 1)."""
        engine = self.engine
        if not engine.can_abstain:
            return ""
        decision, none = graph.node("ArgMax", values, axis=1), graph.integers([-1])
        if engine.abstain is not None:
            place = graph.integers([engine.classes.index(engine.abstain.name)]) if engine.abstain.name else ""
            if place:
                asked = graph.node("Gather", values, place, axis=1)
            else:
                asked = graph.node("GatherElements", values, decision, axis=1)
            low, high = graph.constant(engine.abstain.low), graph.constant(engine.abstain.high)
            above = graph.node("GreaterOrEqual", asked, low)
            within = graph.node("And", above, graph.node("LessOrEqual", asked, high))
            decision = graph.node("Where", within, none, decision)
        if is_any and isinstance(engine.default, Abstain):
            decision = graph.node("Where", is_any, decision, none)
        return decision

    def _overruled(self, graph: TableGraph, rules: Sequence[Rule], values: str, decision: str) -> tuple[str, str]:
        """Write the hard rules over what the model says; return the names of values and decision."""
        found, tests = self._tested(graph, rules)
        first = graph.node("ArgMax", ranked(graph, found, tests, is_dense=self.is_dense), axis=1)
        place = place_of_none(tests, is_dense=self.is_dense)
        is_hard = (
            graph.node("Less", first, graph.integers([place]))
            if place
            else (graph.node("Greater", first, graph.integers([0])))
        )
        said = [rule.output for rule in rules]
        said.insert(place, rules[0].output)
        hard_values, hard_decision = self._looked_up(graph, first, said, [True] * len(said))
        made = graph.node("Where", is_hard, hard_values, values)
        return made, graph.node("Where", is_hard, hard_decision, decision) if decision else ""


def _is_half_enough(table: np.ndarray) -> bool:
    """Whether two probabilities are shorter written as the second alone, and the first is what is left of 1."""
    if table.shape[1] != 2 or numbers_bytes(table) <= numbers_bytes(table[:, 1:]) + COMPLEMENT_BYTES:
        return False
    exact = table.astype(np.float32)
    left = np.stack([1 - exact[:, 1], exact[:, 1]], axis=1)
    return bool(np.abs(left - exact).max() < 1e-7 and np.array_equal(left.argmax(axis=1), exact.argmax(axis=1)))


def _linear(tests: Tests) -> tuple[np.ndarray, np.ndarray]:
    """Return what turns tests into conditions of one literal each: a matrix and what is added."""
    matrix, added = np.zeros((len(tests), len(tests.conditions))), np.zeros(len(tests.conditions))
    for column, literals in enumerate(tests.conditions):
        for literal in literals or ():
            matrix[list(literal.tests), column] = 1 if literal.is_positive else -1
            added[column] = 0 if literal.is_positive else 1
    return matrix, added


def _product(
    graph: TableGraph,
    numbers: str,
    linear: tuple[np.ndarray, np.ndarray] | None,
    values: np.ndarray,
    base: np.ndarray,
) -> str:
    """Write the sum of values over what holds: float32, shape (n_rows, n_values)."""
    if linear is not None:
        base = base + linear[1] @ values
        values = linear[0] @ values
    if not base.any():
        return graph.node("MatMul", numbers, write_numbers(graph, values))
    return graph.node("Gemm", numbers, write_numbers(graph, values), write_numbers(graph, base))


def _answered(graph: TableGraph, summed: str, totals: Totals) -> str:
    """Write the way from totals to probabilities or values."""
    if totals.calibration is not None:
        second = np.array(totals.calibration.probabilities)
        table = graph.weights(np.stack([1 - second, second], axis=1).astype(np.float32))
        edges = np.array(totals.calibration.edges)
        if not len(edges):
            edges = np.array([np.inf])
        passed = graph.node("GreaterOrEqual", summed, write_numbers(graph, edges))
        ones = write_numbers(graph, np.ones((len(edges), 1)))
        count = graph.node("MatMul", graph.node("Cast", passed, to=FLOAT), ones)
        return graph.node("GatherND", table, graph.node("Cast", count, to=7))
    if totals.n_classes == 2:
        both = graph.node("Mul", summed, graph.weights(np.array([-1, 1], np.float32) / np.float32(totals.scale)))
        return graph.node("Sigmoid", both)
    scaled = summed if totals.scale == 1 else graph.node("Div", summed, graph.constant(totals.scale))
    return graph.node("Softmax", scaled, axis=1) if totals.n_classes else scaled


def _places(engine: RuleSet) -> dict[str, dict[str, int]]:
    """Return the places of the columns that rules ask, by name, for each kind of which there are columns."""
    asked = {atom.column for rule in engine.rules for atom in rule.condition.atoms}
    made: dict[str, dict[str, int]] = {}
    for kind, names in (("numeric", engine.numeric_columns), ("categorical", engine.categorical_columns)):
        if names:
            made[kind] = {name: place for place, name in enumerate(names) if name in asked}
    return made


def _completed(model: bytes, decision: str, places: Mapping[str, Mapping[str, int]]) -> bytes:
    """Return a file with a second output, if there is a decision, and with the places of its columns by name."""
    made = onnx.ModelProto()
    made.ParseFromString(model)
    for kind, named in places.items():
        made.metadata_props.add(key=kind, value=json.dumps(named, separators=(",", ":"), ensure_ascii=False))
    if decision:
        for node in made.graph.node:
            for field in (node.input, node.output):
                for place, name in enumerate(field):
                    if name == decision:
                        field[place] = DECISION
        output = onnx.helper.make_tensor_value_info(DECISION, onnx.TensorProto.INT64, [None, 1])
        made.graph.output.append(output)
    content: bytes = made.SerializeToString(deterministic=True)
    return content
