"""Reports: measures that are counted by hand, changes that really flip, directions that really hold."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples_of
from hypothesis import strategies as st

from engine.data import Rows, Signature
from rules.atoms import Categories, Condition, Numbers
from rules.generators.constraints import Constraints
from rules.outputs import Abstain, Label, Points, Probability
from rules.report import report_of
from rules.report_counterfactual import counterfactual
from rules.report_explain import explained
from rules.report_measures import measured, pairs
from rules.report_monotone import certified
from rules.report_stability import stability
from rules.rule import Rule
from rules.ruleset import RuleSet

OLD = Condition((Numbers("age", low=60),))
YOUNG = Condition((Numbers("age", high=30),))
ULM = Condition((Categories("town", ("Ulm",)),))


def engine(policy="first"):
    if policy == "sum":
        said = (Points((2.0,)), Points((-1.0,)), Points((0.5,)))
        default = Points((-0.2,))
    else:
        said = (Label("yes"), Label("no"), Probability((0.3, 0.7)))
        default = Label("no")
    rules = tuple(
        Rule(name, condition, output)
        for name, condition, output in zip(("old", "young", "ulm"), (OLD, YOUNG, ULM), said, strict=True)
    )
    return RuleSet(rules, policy, default, ("no", "yes"), ("age",), ("town",))


def rows():
    age = np.array([[70], [65], [62], [20], [25], [40], [45], [np.nan]], np.float32)
    town = np.array([["Ulm"], ["Kiel"], ["Kiel"], ["Ulm"], ["Kiel"], ["Ulm"], ["Kiel"], [""]])
    return Rows(np.array([1, 1, 0, 0, 0, 1, 0, 1]), age, town)


def test_measures_are_what_counting_gives():
    old, young, ulm = measured(engine(), rows(), rows())
    assert (old.support, old.speaks_for, old.coverage) == (3, "yes", 3 / 8)
    assert old.precision == pytest.approx(2 / 3)
    assert old.lift == pytest.approx((2 / 3) / (4 / 8))
    assert old.recall == pytest.approx(2 / 4)
    assert (old.unique, old.cumulative, old.shadowed) == (2 / 8, 3 / 8, 0.0)
    assert (young.precision, young.unique) == (1.0, 1 / 8)
    assert ulm.shadowed == pytest.approx(2 / 3)
    assert ulm.cumulative == pytest.approx(6 / 8)
    assert old.low < old.precision < old.high
    assert old.gap == 0.0
    assert old.luck == pytest.approx((4 * 6 + 4) / 56)  # two or three of three rows, of eight of which four are right


def test_the_measures_of_the_library_agree_with_those_counted_here():
    for measures in measured(engine(), rows()):
        found = measures.quality
        assert found["precision"] == pytest.approx(measures.precision)
        assert found["lift"] == pytest.approx(measures.lift)
        assert found["sensitivity"] == pytest.approx(measures.recall)
        assert found["full_coverage"] == pytest.approx(measures.coverage)
        assert len(found) > 25


def test_pairs_say_what_meets_and_what_disagrees():
    found = {(pair.first, pair.second): pair for pair in pairs(engine(), rows().inputs())}
    assert set(found) == {("old", "ulm"), ("young", "ulm")}
    assert not found["old", "ulm"].is_conflict
    assert found["young", "ulm"].is_conflict
    assert found["young", "ulm"].witness == 3
    assert found["old", "ulm"].jaccard == pytest.approx(1 / 5)


@pytest.mark.parametrize("policy", ["first", "sum"])
def test_a_counterfactual_flips_and_is_the_smallest(policy):
    made = engine(policy)
    told = rows()
    for number in range(len(told)):
        row = {name: column[number : number + 1] for name, column in told.inputs().items()}
        change = counterfactual(made, row, spreads={"age": 20.0})
        assert change is not None
        moved = {name: column.copy().astype(object) for name, column in row.items()}
        for entry in change.changes:
            source, place = made.columns[entry.column]
            moved[source][0, place] = entry.after
        inputs = {"x": moved["x"].astype(np.float32), "c": moved["c"].astype(str)}
        assert made.predict(inputs)[0] == change.after != made.predict(row)[0] == change.before
        best = min(_distances(made, row))
        assert len(change.changes) <= best[0]
        if len(change.changes) == best[0]:
            assert change.distance <= best[1] + 1e-6


def _distances(made, row):
    """Yield (columns, distance) of every flip on a fine grid."""
    here, age, town = made.decisions(row)[0], row["x"][0, 0], row["c"][0, 0]
    for value in [age, *np.arange(0, 100, 0.25, dtype=np.float32)]:
        for name in (town, "Ulm", "Kiel"):
            inputs = {"x": np.array([[value]], np.float32), "c": np.array([[name]])}
            if made.decisions(inputs)[0] != here:
                is_moved = not (value == age or (np.isnan(value) and np.isnan(age)))
                step = 0.0 if not is_moved else 1.0 if np.isnan(age) else abs(float(value) - float(age)) / 20
                yield int(is_moved) + int(name != town), step + (name != town)


def test_what_cannot_flip_is_none():
    always = RuleSet((), "first", Label("no"), ("no", "yes"), ("age",))
    assert counterfactual(always, {"x": np.array([[1.0]], np.float32)}) is None


def test_explanations_of_every_kind():
    hard = Rule("stop", Condition((Numbers("age", low=90),)), Label("no"), source="user", stage="before")
    last = Rule("ask", Condition((Categories("town", ("Bonn",)),)), Abstain(), source="user", stage="after")
    made = RuleSet((hard, *engine().rules, last), "first", Label("no"), ("no", "yes"), ("age",), ("town",))
    inputs = {
        "x": np.array([[95], [70], [50], [70]], np.float32),
        "c": np.array([["Ulm"], ["Ulm"], ["Kiel"], ["Bonn"]]),
    }
    told = explained(made, inputs)
    assert [entry.rules for entry in told] == [("stop",), ("old",), ("default",), ("ask",)]
    assert [entry.answer for entry in told] == ["no", "yes", "no", ""]
    assert "before the model" in str(told[0])


THRESHOLDS = st.sampled_from([-1.0, 0.0, 1.0, 2.0])


@examples_of(deadline=None, max_examples=80)
@given(
    st.lists(
        st.tuples(THRESHOLDS, st.booleans(), st.booleans(), st.sampled_from([-1.0, 0.5, 1.0])), min_size=1, max_size=4
    )
)
def test_what_is_certified_holds_on_every_row(parts):
    rules = []
    for number, (cut, is_above, asks_b, points) in enumerate(parts):
        atoms = [Numbers("a", low=cut) if is_above else Numbers("a", high=cut)]
        atoms += [Numbers("b", low=0.5)] if asks_b else []
        rules.append(Rule(f"r{number}", Condition(tuple(atoms)), Points((points,))))
    made = RuleSet(tuple(rules), "sum", Points((0.0,)), ("no", "yes"), ("a", "b"))
    grid = np.arange(-2, 3, 0.5, dtype=np.float32)
    for direction in (1, -1):
        holds = all(
            (direction * np.diff(made.values({"x": np.stack([grid, np.full_like(grid, b)], 1)})[:, 1]) >= 0).all()
            for b in (0.0, 1.0)
        )
        if certified(made, "a", direction).is_proven:
            assert holds


def test_a_strong_rule_comes_back_on_bootstrap_samples():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3)).astype(np.float32).round(1)
    y = (x[:, 0] > 0).astype(np.int64)
    signature = Signature("table", "classification", (3,), "float32", ("no", "yes"), 0.0, 1.0, ("a", "b", "z"))
    strong = Rule("strong", Condition((Numbers("a", low=0.0, low_open=True),)), Points((5.0,)))
    weak = Rule("weak", Condition((Numbers("b", low=1.7),)), Points((0.1,)))
    made = RuleSet((strong, weak), "sum", Points((-2.5,)), ("no", "yes"), ("a", "b", "z"))
    found = stability(made, Rows(y, x), signature, {"generator": "score", "rules": 1}, Constraints(), repeats=4)
    assert found.returns["strong"] == 1.0
    assert found.returns["weak"] == 0.0
    assert found.agreement > 0.99


@pytest.mark.parametrize("policy", ["first", "sum"])
def test_a_report_is_json_and_a_page_that_runs_nothing_of_the_data(policy):
    bad = Rule("<script>alert(1)</script>", YOUNG, engine(policy).rules[1].output)
    made = RuleSet((*engine(policy).rules, bad), policy, engine(policy).default, ("no", "yes"), ("age",), ("town",))
    report = report_of(made, rows(), valid=rows(), monotone={"age": 1})
    content = json.loads(report.to_json())
    assert [entry["rule"] for entry in content["rules"]][:3] == ["old", "young", "ulm"]
    assert sum(entry["rows"] for entry in content["calibration"]) == 8
    page = report.to_html(title="Test")
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
    if policy == "first":
        assert any("never decides" in line for line in content["model"]["findings"])
