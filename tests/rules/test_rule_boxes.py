"""Box algebra: checked against what the rows say, on values at which anything could change."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_rules import CATEGORICAL, NUMERIC, TEXTS, THRESHOLDS, random_condition, random_rule_set

from rules.analysis import contradictions, gaps, implied_atoms, overlaps, shadows
from rules.atoms import Categories, Condition, Numbers
from rules.boxes import covers, difference, joined, meet, outside, simplified, union, witness
from rules.corners import corner_rows, random_rows, row_inputs
from rules.decimals import after, before, decimal_at_least, decimal_at_most, shortest_between
from rules.ordering import as_list
from rules.outputs import Label, Points
from rules.rounding import rounded
from rules.rule import Rule
from rules.ruleset import RuleSet
from rules.simplify import simplify

SEEDS = st.integers(0, 10**6)


def probe_rows(count=600, seed=0):
    rng = np.random.default_rng(seed)
    edges = [near for value in THRESHOLDS for near in (before(value), value, after(value))]
    numbers = np.array([*edges, math.nan, math.inf, -math.inf], np.float32)
    texts = np.array([*TEXTS, "", "never seen"])
    return {
        "x": rng.choice(numbers, size=(count, len(NUMERIC))),
        "c": rng.choice(texts, size=(count, len(CATEGORICAL))),
    }


ROWS = probe_rows()


def holds(condition):
    made = np.ones(len(ROWS["x"]), bool)
    for atom in condition.atoms:
        kind, names = ("x", NUMERIC) if isinstance(atom, Numbers) else ("c", CATEGORICAL)
        made &= atom.holds(ROWS[kind][:, names.index(atom.column)])
    return made


def two_conditions(seed):
    rng = np.random.default_rng(seed)
    return random_condition(rng), random_condition(rng)


@given(SEEDS)
def test_simplified_conditions_hold_for_the_same_rows(seed):
    one, _ = two_conditions(seed)
    made = simplified(one)
    assert (holds(one) == (holds(made) if made is not None else False)).all()
    assert made is None or len({atom.column for atom in made.atoms}) == len(made)


@given(SEEDS)
def test_difference_is_exact_and_disjoint(seed):
    one, other = two_conditions(seed)
    parts = [holds(part) for part in difference(one, other)]
    assert (np.sum(parts, axis=0, initial=0) == (holds(one) & ~holds(other))).all()


@given(SEEDS)
def test_meet_and_covers(seed):
    one, other = two_conditions(seed)
    both = meet(one, other)
    assert ((holds(one) & holds(other)) == (holds(both) if both is not None else False)).all()
    if covers(one, other):
        assert (holds(one) | ~holds(other)).all()


@given(SEEDS)
def test_union_is_exact_where_there_is_one(seed):
    one, other = (simplified(box) for box in two_conditions(seed))
    both = union(one, other) if one is not None and other is not None else None
    if both is not None:
        assert ((holds(one) | holds(other)) == holds(both)).all()


@given(SEEDS)
def test_a_witness_is_in_its_box(seed):
    one, _ = two_conditions(seed)
    if simplified(one) is None:
        return
    inputs = row_inputs(RuleSet((), "first", Label("a"), ("a", "b"), NUMERIC, CATEGORICAL), [witness(one)])
    rules = RuleSet((Rule("r", one, Label("a")),), "first", Label("b"), ("a", "b"), NUMERIC, CATEGORICAL)
    assert rules.matches(inputs).all()


def test_no_float_lies_between_two_neighbours():
    assert (
        simplified(Condition((Numbers("a", low=5, low_open=True), Numbers("a", high=after(5), high_open=True)))) is None
    )
    one, other = Numbers("a", high=5), Numbers("a", low=after(5))
    assert joined(one, other) == Numbers("a")
    assert joined(one, Numbers("a", low=after(after(5)))) is None


def test_what_is_outside_of_missing_is_known():
    assert outside(Categories("c", missing=True)) == (Categories("c", negated=True),)
    assert outside(Numbers("a", math.inf, -math.inf, missing=True)) == (Numbers("a"),)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_decimals_decide_alike_in_both_widths(value):
    for text, is_right in ((decimal_at_least(value), float.__ge__), (decimal_at_most(value), float.__le__)):
        assert np.float32(text) == np.float32(value)
        assert is_right(float(text), float(np.float32(value)))


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_the_shortest_number_lies_between(low, width):
    found = shortest_between(low, low + width)
    assert low <= found <= low + width


@pytest.mark.parametrize("seed", range(60))
def test_simplify_changes_no_answer(seed):
    engine = random_rule_set(seed)
    made = simplify(engine)
    rng = np.random.default_rng(seed)
    for rows in (corner_rows(engine, rng), random_rows(engine, 400, rng)):
        if len(rows["x"]):
            np.testing.assert_allclose(made.values(rows), engine.values(rows), rtol=1e-5, atol=1e-6)
            assert (made.decisions(rows) == engine.decisions(rows)).all()
    assert len(made.rules) <= len(engine.rules)


@pytest.mark.parametrize("seed", range(40))
def test_a_list_says_what_the_rules_say(seed):
    engine = random_rule_set(seed)
    made = as_list(engine)
    rng = np.random.default_rng(seed)
    rows = random_rows(engine, 400, rng)
    assert (made.values(rows) == engine.values(rows)).all()
    assert (made.decisions(rows) == engine.decisions(rows)).all()
    assert sum(len(rule.condition) for rule in made.rules) <= sum(len(rule.condition) for rule in engine.rules)


def test_merging_bins_and_adding_points():
    def rule(name, low, high, points=1.0):
        return Rule(name, Condition((Numbers("age", low, high, high_open=True),)), Points((points,)))

    bins = (rule("a", 0, 10), rule("b", 20, 30), rule("c", 10, 20), rule("d", 0, 10, 2.0))
    made = simplify(RuleSet(bins, "sum", Points((0.0,)), ("no", "yes"), ("age",)))
    assert {
        (rule.condition.atoms[0].low, rule.condition.atoms[0].high, rule.output.values[0]) for rule in made.rules
    } in (
        {(0.0, 30.0, 1.0), (0.0, 10.0, 2.0)},
        {(0.0, 10.0, 3.0), (10.0, 30.0, 1.0)},
    )


@pytest.mark.parametrize("seed", range(40))
def test_analysis_agrees_with_rows(seed):
    engine = random_rule_set(seed, n_rules=5, most=2)
    held = {rule.id: holds(rule.condition) for rule in engine.rules}
    pairs = {(found.first, found.second): found for found in overlaps(engine.rules)}
    for later, rule in enumerate(engine.rules):
        for other in engine.rules[:later]:
            both = (held[other.id] & held[rule.id]).any()
            assert not both or (other.id, rule.id) in pairs
    for found in pairs.values():
        row = row_inputs(engine, [found.row])
        matched = dict(zip((rule.id for rule in engine.rules), engine.matches(row)[0], strict=True))
        assert matched[found.first]
        assert matched[found.second]
    for name in contradictions(engine.rules):
        assert not held[name].any()
    free = gaps(engine.rules)
    if free is not None:
        covered = np.any(list(held.values()), axis=0)
        assert (np.any([holds(box) for box in free] or [np.zeros(len(covered), bool)], axis=0) == ~covered).all()


def test_a_shadow_names_those_that_take_the_rows():
    def rule(name, low, high, answer):
        return Rule(name, Condition((Numbers("age", low, high),)), Label(answer))

    rules = (rule("a", 0, 30, "no"), rule("b", 30, 60, "no"), rule("c", 20, 40, "yes"), rule("d", 50, 70, "yes"))
    engine = RuleSet(rules, "first", Label("no"), ("no", "yes"), ("age",))
    assert [(shadow.rule, shadow.by) for shadow in shadows(engine)] == [("c", ("a", "b"))]
    assert shadows(RuleSet(rules, "vote", Label("no"), ("no", "yes"), ("age",))) == ()


def test_implied_atoms_of_a_condition():
    atoms = (Numbers("a", high=5), Numbers("a", high=10), Numbers("b", missing=True), Categories("c", ("x",)))
    assert implied_atoms(Condition(atoms)) == (atoms[2], atoms[1])


@settings(max_examples=50)
@given(SEEDS)
def test_rounding_changes_no_training_row(seed):
    rng = np.random.default_rng(seed)
    engine = random_rule_set(seed)
    rows = {**probe_rows(60, seed), "x": rng.normal(size=(60, len(NUMERIC))).astype(np.float32) * 30}
    made = rounded(engine, rows)
    assert (made.matches(rows) == engine.matches(rows)).all()


def test_rounding_shortens_within_what_is_allowed():
    rule = Rule("r", Condition((Numbers("age", low=17.8312, high=61.4871, low_open=True),)), Label("yes"))
    engine = RuleSet((rule,), "first", Label("no"), ("no", "yes"), ("age",))
    rows = {"x": np.array([[10], [20], [60], [70]], np.float32)}
    atom = rounded(engine, rows).rules[0].condition.atoms[0]
    assert (atom.low, atom.high) == (15, 65)
    atom = rounded(engine, rows, allowed={"age": (18, 62, 90)}).rules[0].condition.atoms[0]
    assert (atom.low, atom.high) == (18, 62)
