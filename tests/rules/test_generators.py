"""Generators: what they find, what they promise, and the demands they keep."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples_of
from hypothesis import strategies as st

from engine.data import Rows, Signature
from engine.errors import SpaceError
from rules.analysis import overlaps
from rules.atoms import Condition, Numbers
from rules.boxes import covers
from rules.generators.binned import Box, binned, shortest_between
from rules.generators.constraints import Constraints
from rules.generators.generate import GENERATORS, generate
from rules.generators.refit import fitted, patterns
from rules.generators.subset import improved, surrogate
from rules.outputs import Label, Points
from rules.report_monotone import certified
from rules.rule import Rule

GENES = {
    "score": {"depth": 2},
    "tree": {},
    "list": {},
    "set": {},
    "sum": {},
}


def table(count=600, seed=0, classes=("no", "yes")):
    """Two columns of numbers, one of categories, with gaps; the class follows an `and` and a category."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 3)).astype(np.float32).round(2)
    c = rng.choice(["red", "green", "blue"], size=(count, 1))
    is_yes = ((x[:, 0] > 0.3) & (x[:, 1] < 0.5)) | (c[:, 0] == "red")
    y = (is_yes ^ (rng.random(count) < 0.03)).astype(np.int64)
    if len(classes) == 3:
        y += (x[:, 2] > 0.8).astype(np.int64)
    x[rng.random(x.shape) < 0.05] = np.nan
    c[rng.random(c.shape) < 0.05] = ""
    signature = Signature("table", "classification", (3,), "float32", classes, 0.0, 1.0, ("a", "b", "z"), ("colour",))
    return Rows(y, x, c), signature


def values_table():
    rows, _ = table()
    target = np.where(np.nan_to_num(rows.x[:, 0]) > 0, 3.0, 0.0) + 2.0 * (rows.c[:, 0] == "red")
    plain = Signature("table", "regression", (3,), "float32", (), 0.0, 1.0, ("a", "b", "z"), ("colour",))
    return Rows(target, rows.x, rows.c), plain


@pytest.mark.parametrize("name", GENERATORS)
def test_a_limit_ends_the_path_where_the_longer_path_passes(name):
    rows, signature = table()
    long = dict(generate(rows, signature, {"generator": name, "rules": 9, **GENES[name]}))
    assert list(long) == sorted(long)
    for limit in list(long)[::3]:
        short = list(generate(rows, signature, {"generator": name, "rules": max(limit, 1), **GENES[name]}))
        assert short[-1][1] == long[limit]


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("classes", [("no", "yes"), ("no", "yes", "both")])
def test_rules_are_far_better_than_a_constant(name, classes):
    rows, signature = table(classes=classes)
    test, _ = table(seed=1, classes=classes)
    path = list(generate(rows, signature, {"generator": name, "rules": 12, **GENES[name]}))
    limit, model = path[-1]
    assert len(model.rules) <= limit <= 12
    found = model.values(test.inputs()).argmax(axis=1)
    constant = np.bincount(rows.y).argmax()
    assert (found == test.y).mean() > (test.y == constant).mean() + 0.12


@pytest.mark.parametrize("name", ["score", "tree", "list", "sum"])
def test_values_are_learned(name):
    rows, signature = values_table()
    model = list(generate(rows, signature, {"generator": name, "rules": 8, **GENES[name]}))[-1][1]
    error = model.values(rows.inputs())[:, 0] - rows.y
    assert (error**2).mean() < 0.15 * rows.y.var()


@pytest.mark.parametrize("solver", ["greedy", "near", "optimal"])
def test_leaves_of_a_tree_are_disjoint_and_leave_no_training_row_out(solver):
    rows, signature = table()
    path = list(generate(rows, signature, {"generator": "tree", "rules": 8, "depth": 3, "solver": solver}))
    for _, model in path:
        assert not overlaps(model.rules)
        assert (model.matches(rows.inputs()).sum(axis=1) == 1).all()


def test_an_optimal_tree_errs_no_more_than_a_greedy_one_of_its_size():
    rows, signature = table(300)
    errors = {}
    for solver in ("greedy", "optimal"):
        genes = {"generator": "tree", "rules": 6, "depth": 3, "solver": solver, "shrink": 0.0}
        for limit, model in generate(rows, signature, genes):
            errors[solver, limit] = (model.values(rows.inputs()).argmax(axis=1) != rows.y).mean()
    for (solver, limit), error in errors.items():
        if solver == "optimal" and ("greedy", limit) in errors:
            assert error <= errors["greedy", limit] + 0.02  # each has its own list of cuts


@pytest.mark.parametrize("method", ["cover", "columns"])
def test_a_formula_is_found_exactly(method):
    rng = np.random.default_rng(2)
    c = rng.choice(["x", "o"], size=(500, 6))
    y = ((c[:, 0] == "x") & (c[:, 1] == "x")) | ((c[:, 2] == "o") & (c[:, 3] == "x") & (c[:, 4] == "o"))
    names = tuple("abcdef")
    signature = Signature("table", "classification", (0,), "float32", ("no", "yes"), 0.0, 1.0, (), names)
    genes = {"generator": "set", "rules": 4, "method": method}
    model = list(generate(Rows(y.astype(np.int64), None, c), signature, genes))[-1][1]
    assert len(model.rules) == 2
    assert np.array_equal(model.decisions({"c": c}), y)


@pytest.mark.parametrize("name", GENERATORS)
def test_directions_are_certified(name):
    rows, signature = table()
    constraints = Constraints(monotone={"a": 1, "b": -1})
    for _, model in generate(rows, signature, {"generator": name, "rules": 8, **GENES[name]}, constraints):
        for column, direction in constraints.monotone.items():
            assert certified(model, column, direction).is_proven, (model.to_json(), column)


@pytest.mark.parametrize("name", ["score", "sum"])
def test_the_points_of_a_rule_of_ones_own_keep_a_direction(name):
    rows, signature = table()
    against = Rule("mine", Condition((Numbers("a", low=0.5),)), Points((1.0,)), source="user")
    constraints = Constraints(monotone={"a": -1}, must=(against,))  # the data rise with `a`
    path = list(generate(rows, signature, {"generator": name, "rules": 6, **GENES[name]}, constraints))
    assert path
    for _, model in path:
        assert certified(model, "a", -1).is_proven, model.to_json()


@pytest.mark.parametrize("name", GENERATORS)
def test_demands_are_kept(name):
    rows, signature = table()
    banned = Condition((Numbers("a", low=0.0),))
    must = Rule("mine", Condition((Numbers("z", low=1.0),)), Label("no"), source="user")
    if name in ("score", "sum"):
        must = Rule("mine", must.condition, Points((1.0,)), source="user")
    hard = Rule("stop", Condition((Numbers("a", low=2.0),)), Label("no"), source="user", stage="before")
    constraints = Constraints(
        without=frozenset({"b"}),
        forbidden=(banned,),
        max_rules=5,
        max_conditions=9,
        min_support=0.05,
        must=(must,),
        hard=(hard,),
        thresholds={"a": (-0.5, 0.5)},
    )
    path = list(generate(rows, signature, {"generator": name, "rules": 8, **GENES[name]}, constraints))
    assert path
    for _, model in path:
        names = [rule.id for rule in model.rules]
        assert names[0] == "stop"
        assert "mine" in names
        assert len(names) - 1 <= 5
        for rule in model.rules:
            if rule.source == "learned":
                assert not covers(banned, rule.condition)
                for atom in rule.condition.atoms:
                    assert atom.column != "b"
                    if atom.column == "a":
                        assert {atom.low, atom.high} <= {-np.inf, -0.5, 0.5, np.inf}
        assert (model.decisions({"x": np.array([[3, 0, 0]], np.float32), "c": np.array([["red"]])}) == 0).all()


def test_unknown_genes_and_generators_are_told():
    rows, signature = table(60)
    with pytest.raises(SpaceError, match="did you mean 'score'"):
        next(generate(rows, signature, {"generator": "scores", "rules": 2}))
    with pytest.raises(SpaceError, match="has no gene shrink"):
        next(generate(rows, signature, {"generator": "score", "rules": 2, "shrink": 1}))


def test_the_best_pair_is_found_where_the_best_single_misleads():
    rng = np.random.default_rng(0)
    first, second = rng.random(2000) < 0.5, rng.random(2000) < 0.5
    y = first.astype(float) + second
    blend = first | second
    masks = np.stack([blend, first, second], axis=1).astype(np.float32)
    none = np.zeros(3, np.int64)
    problem = surrogate(masks, y[:, None], np.ones(2000), ridge=0.1, signs=none, favour=np.ones(3))
    assert improved(problem, [], 1) == [0]
    assert sorted(improved(problem, [], 2)) == [1, 2]


def test_merged_rows_have_the_same_points_as_rows_one_by_one():
    rng = np.random.default_rng(1)
    masks = rng.random((400, 3)) < 0.4
    y = (rng.random((400, 1)) < 0.3 + 0.4 * masks[:, :1]).astype(float)
    merged = patterns(masks, y, np.ones(400))
    assert len(merged.masks) <= 8
    single = patterns(np.hstack([masks, np.eye(400, dtype=bool)]), y, np.ones(400))
    for kind in ("logistic", "squares"):
        _, few = fitted(merged, [0, 1, 2], kind=kind, ridge=1.0, signs=np.zeros(3, int))
        _, many = fitted(single, [0, 1, 2], kind=kind, ridge=1.0, signs=np.zeros(403, int))
        assert np.allclose(few.points, many.points, atol=1e-6)


@examples_of(deadline=None, max_examples=60)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=30, unique=True))
def test_thresholds_part_what_they_stand_between(values):
    known = np.unique(np.array(values, np.float32))
    if len(known) < 2:
        return
    cuts = shortest_between(known[:-1], known[1:])
    assert (known[:-1] <= cuts).all()
    assert (cuts < known[1:]).all()


@examples_of(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.lists(st.tuples(st.integers(0, 3), st.integers(1, 2**12)), max_size=3))
def test_a_box_and_its_condition_hold_for_the_same_rows(seed, sides):
    rows, signature = table(80, seed=seed)
    data = binned(rows.inputs(), signature, most_bins=12)
    box = Box()
    for column, bits in sides:
        held = data.columns[column]
        if held.is_numeric:  # an interval, as generators make them
            low, high = sorted((bits % 12, (bits // 12) % 12))
            bits = ((1 << (high + 1)) - 1) & ~((1 << low) - 1)
        box = box & Box.of({column: bits})
    found = data.simplified(box)
    if found is None:
        return
    condition = data.condition(found)
    places = {"a": 0, "b": 1, "z": 2}
    expected = np.ones(len(rows), bool)
    for atom in condition.atoms:
        column = rows.c[:, 0] if atom.column == "colour" else rows.x[:, places[atom.column]]
        expected &= atom.holds(column)
    assert np.array_equal(found.mask(data.codes), expected)


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("kind", ["constant", "empty", "one class", "huge", "few"])
def test_data_with_nothing_to_learn_give_a_model_too(name, kind):
    rng = np.random.default_rng(0)
    count = 8 if kind == "few" else 60
    x = rng.normal(size=(count, 2)).astype(np.float32)
    y = np.arange(count) % 2
    if kind == "constant":
        x[:] = 1
    elif kind == "empty":
        x[:] = np.nan
    elif kind == "huge":
        x *= np.float32(1e37)
    elif kind == "one class":
        y[:] = 1
    signature = Signature("table", "classification", (2,), "float32", ("no", "yes"), 0.0, 1.0, ("a", "b"))
    path = list(generate(Rows(y, x), signature, {"generator": name, "rules": 3, **GENES[name]}))
    values = path[-1][1].values({"x": x})
    assert np.isfinite(values).all()
    if kind == "one class":
        assert (values.argmax(axis=1) == 1).all()
