"""What files of rules mean: conditions as SQLite sees them, stages, demands, engines without a learned rule."""

import sqlite3

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.boxes import meet
from rules.export import main, read_model
from rules.language.conditions import read_condition
from rules.language.read import read_rules
from rules.language.table import Table
from rules.outputs import Abstain, Label, Points, Probability
from rules.rule import Band
from rules.ruleset import RuleSet

TABLE = Table(("age", "income"), ("town", "zip"), ("no", "yes"))
VALUES = {
    "age": [None, 0.0, 17.0, 18.0, 30.0, 31.0, -4.5],
    "income": [None, 10.0, 18.0, 100.0, 2e6],
    "town": [None, "Ulm", "Bonn", "Köln", "O'Hara"],
    "zip": [None, "80331", "1", "x"],
}
ATOMS = [
    "age < 18", "age <= 18", "18 < age", "age = 30", "age <> 30", "age BETWEEN 17 AND 30", "age NOT BETWEEN 17 AND 30",
    "age IN (17, 31)", "age NOT IN (17, 31)", "age IS NULL", "age IS NOT NULL", "age > -4.5", "income >= 1e2",
    "income < 2000000", "town = 'Ulm'", "town <> 'Ulm'", "town IN ('Ulm', 'O''Hara')", "town NOT IN ('Köln', 'Bonn')",
    "town IS NULL", "\"zip\" = '1'", "zip IN ('80331', 'x')", "NOT age >= 18", "NOT town = 'Bonn'",
]  # fmt: skip


def expressions():
    pairs = st.sampled_from(ATOMS)
    return st.recursive(
        pairs,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(lambda parts: f"({' '.join(parts)})"),
            inner.map(lambda text: f"NOT ({text})"),
        ),
        max_leaves=5,
    )


@pytest.fixture(scope="module")
def base():
    rng = np.random.default_rng(0)
    rows = [tuple(known[rng.integers(len(known))] for known in VALUES.values()) for _ in range(300)]
    with sqlite3.connect(":memory:", check_same_thread=False) as opened:
        opened.execute("CREATE TABLE t (age REAL, income REAL, town TEXT, zip TEXT)")
        opened.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", rows)
    inputs = {
        "x": np.array([[np.nan if value is None else value for value in row[:2]] for row in rows], np.float32),
        "c": np.array([[value or "" for value in row[2:]] for row in rows]),
    }
    yield opened, inputs
    opened.close()


@settings(deadline=None)  # the first one imports sqlglot
@given(text=expressions())
def test_conditions_mean_what_they_mean_in_sqlite(base, text):
    opened, inputs = base
    wanted = [bool(found) for (found,) in opened.execute(f"SELECT {text} FROM t")]
    try:
        boxes = read_condition(text, TABLE)
    except ValueError as error:
        said = str(error)
    else:
        said = ""
    if said:
        assert set(wanted) == {"every row satisfies" in said}
        return
    made = np.zeros(len(wanted), bool)
    for box in boxes:
        inside = np.ones(len(wanted), bool)
        for atom in box.atoms:
            is_number = atom.column in TABLE.numeric_columns
            names = TABLE.numeric_columns if is_number else TABLE.categorical_columns
            inside &= atom.holds(inputs["x" if is_number else "c"][:, names.index(atom.column)])
        made |= inside
    assert made.tolist() == wanted


def read(tmp_path, text, table=TABLE, **options):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return read_rules(path, table, **options)


FULL = """
policy: first
default: no
abstain: {low: 0.4, high: 0.6, class: yes}
rules:
- {id: minors, when: age < 18, then: no, stage: before}
- {id: unknown, when: age IS NULL AND income IS NULL, abstain: true, stage: before}
- {id: vip, when: income > 1e6, then: yes, stage: after}
- {id: town, when: town = 'Ulm' OR zip = 80331, probability: {yes: 0.7}}
demands:
  forbid: {columns: [zip], conditions: [age > 60 AND town = 'Ulm']}
  prefer: {columns: [income], conditions: [age < 30]}
  monotone: {income: increasing, age: decreasing}
  thresholds: {age: {from: 20, to: 60, step: 10}, income: [100, 10, 10]}
  costs: {town: 2.5}
  max_rules: 8
  max_conditions: 20
  min_support: 0.01
  min_precision: 0.6
"""


def test_a_full_file(tmp_path):
    made = read(tmp_path, FULL.replace("forbid: {columns: [zip], ", "forbid: {"))
    assert [(rule.id, rule.stage) for rule in made.rules] == [
        ("minors", "before"), ("unknown", "before"), ("vip", "after"), ("town.1", "model"), ("town.2", "model"),
    ]  # fmt: skip
    assert all(rule.source == "user" for rule in made.rules)
    assert made.rules[1].output == Abstain()
    assert made.must[0].output == Probability((0.3, 0.7))
    assert made.default == Label("no")
    assert made.abstain == Band(0.4, 0.6, "yes")
    demands = made.demands
    assert demands.monotone == {"income": 1, "age": -1}
    assert demands.thresholds == {"age": (20, 30, 40, 50, 60), "income": (10, 100)}
    assert demands.preferred_columns == ("income",)
    assert demands.costs == {"town": 2.5}
    assert len(demands.forbidden) == len(demands.preferred) == 1
    assert (demands.max_rules, demands.max_conditions, demands.min_support, demands.min_precision) == (8, 20, 0.01, 0.6)


def test_classes_are_texts_whatever_yaml_makes_of_them(tmp_path):
    table = Table(("age",), (), ("no", "1.0", "null"))
    text = "default: no\nrules:\n- {id: a, when: age < 3, then: 1.0}\n- {id: b, when: age > 5, then: 'null'}"
    engine = read(tmp_path, text, table).engine(table)
    assert engine.predict({"x": np.array([[1], [4], [6]], np.float32)}).tolist() == ["1.0", "no", "null"]


def test_alternatives_count_once_in_a_sum(tmp_path):
    text = "policy: sum\ndefault: {points: -1}\nrules:\n- {id: a, when: age < 30 OR income < 50, points: 2}"
    made = read(tmp_path, text)
    one, other = (rule.condition for rule in made.rules)
    assert meet(one, other) is None
    engine = made.engine(TABLE)
    rows = {"x": np.array([[20, 20], [20, 99], [40, 20], [40, 99]], np.float32), "c": np.full((4, 2), "a")}
    np.testing.assert_allclose(engine.values(rows)[:, 1], [0.7311, 0.7311, 0.7311, 0.2689], atol=1e-4)


def test_points_by_class_and_regression(tmp_path):
    text = "policy: sum\ndefault: {points: {yes: 1}}\nrules:\n- {id: a, when: age < 30, points: {no: 2, yes: 0.5}}"
    made = read(tmp_path, text)
    assert (made.default, made.rules[0].output) == (Points((1,)), Points((-1.5,)))
    numbers = Table(("age",), (), ())
    engine = read(tmp_path, "default: 7\nrules:\n- {id: a, when: age < 30, value: 2.5}", numbers).engine(numbers)
    assert engine.predict({"x": np.array([[20], [40]], np.float32)}).tolist() == [2.5, 7]


def test_stages(tmp_path):
    engine = read(tmp_path, FULL.replace("forbid: {columns: [zip], ", "forbid: {")).engine(TABLE)
    numbers = [[17, 2e6], [np.nan, np.nan], [40, 2e6], [40, 10], [40, 10]]
    towns = [["", ""], ["", ""], ["", ""], ["Ulm", ""], ["Bonn", "1"]]
    answers = engine.predict({"x": np.array(numbers, np.float32), "c": np.array(towns)})
    assert answers.tolist() == ["no", "", "yes", "yes", "no"]


@pytest.mark.parametrize("form", ["onnx", "sql", "py", "json", "yaml", "txt"])
def test_an_engine_without_data_is_exported(tmp_path, capsys, form):
    path = tmp_path / "mine.yaml"
    declared = "columns: {age: number, income: number, town: text, zip: text}\nclasses: [no, yes]\n"
    path.write_text(declared + FULL.replace("forbid: {columns: [zip], ", "forbid: {"), encoding="utf-8")
    out = tmp_path / f"out.{form}"
    assert main([f"model={path}", f"out={out}"]) == 0
    assert "Proven on 1," in capsys.readouterr().out
    assert out.stat().st_size > 100
    if form in ("json", "yaml"):
        assert read_model(out) == read_model(path)


def test_data_name_validate_and_prove(tmp_path, capsys):
    path = tmp_path / "iris.yaml"
    path.write_text(
        "default: {abstain: true}\nrules:\n- {id: small, when: '\"petal width (cm)\" < 0.8', then: setosa}\n"
        "- {id: wide, when: '\"petal width (cm)\" > 1.75', then: virginica}\n"
    )
    assert main([f"model={path}", "data=iris", f"out={tmp_path / 'iris.onnx'}"]) == 0
    assert "(105 of the data): same answers" in capsys.readouterr().out
    path.write_text(path.read_text().replace("petal width", "petal wdth"))
    assert main([f"model={path}", "data=iris", f"out={tmp_path / 'iris.sql'}"]) == 2
    assert "did you mean 'petal width (cm)'?" in capsys.readouterr().err
    assert not (tmp_path / "iris.sql").exists()


def test_the_command_refuses_what_it_cannot_do(tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text("columns: {age: number}\nclasses: [no, yes]\ndefault: no\nrules: []")
    assert main([f"model={path}", f"out={path}"]) == 2
    assert "out must not be the file that is read" in capsys.readouterr().err
    assert main([f"model={path}", f"out={tmp_path / 'a.xls'}"]) == 2
    assert "must name a form of rules: .onnx, .sql" in capsys.readouterr().err
    assert main([f"model={path}", f"out={tmp_path / 'a.x'}", "to=sq"]) == 2
    assert "got 'sq'; did you mean 'sql'?" in capsys.readouterr().err
    assert main([f"model={path}", f"out={tmp_path / 'a.sql'}", "dialect=duckbd"]) == 2
    assert "No SQL dialect 'duckbd'; did you mean 'duckdb'?" in capsys.readouterr().err
    (tmp_path / "a.json").write_text("{}")
    assert main([f"model={tmp_path / 'a.json'}", f"out={tmp_path / 'a.onnx'}"]) == 2
    assert "'policy' is a required property" in capsys.readouterr().err


def test_a_rule_set_without_rules_is_an_engine(tmp_path):
    engine = RuleSet((), "first", Abstain(), ("no", "yes"), ("age",))
    assert engine.predict({"x": np.zeros((2, 1), np.float32)}).tolist() == ["", ""]
