"""Rule sets as SQL: run in SQLite and DuckDB, they answer as the rules do."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_rules import random_rule_set

from engine.errors import ArtifactError, SettingsError
from rules.atoms import Categories, Condition, Numbers
from rules.export import ExportSettings
from rules.export import run as write_export
from rules.exports.run_sql import run_in_duckdb, run_in_sqlite
from rules.exports.smaller import smaller
from rules.exports.to_sql import to_sql
from rules.exports.write import FORMS, Sql, export, proven
from rules.outputs import Label, Points
from rules.proof import Answers, proof_rows, prove
from rules.rule import Rule
from rules.ruleset import RuleSet


@pytest.mark.parametrize("probabilities", [True, False])
@pytest.mark.parametrize("seed", range(24))
def test_random_rule_sets_answer_alike(seed, probabilities):
    engine = random_rule_set(seed)
    rows = proof_rows(engine)
    for dialect, run in (("sqlite", run_in_sqlite), ("duckdb", run_in_duckdb)):
        query = to_sql(engine, dialect=dialect, probabilities=probabilities)
        prove(engine, lambda rows, query=query, run=run: run(engine, query, rows), rows, form=dialect)


@pytest.mark.parametrize("dialect", ["postgres", "mysql", "tsql", "snowflake", "bigquery", "spark", "oracle", "trino"])
def test_other_dialects_are_proven_as_sqlglot_reads_them(dialect):
    for seed in (0, 4):
        _, proof = proven(random_rule_set(seed), "sql", sql=Sql(dialect, "some table"))
        assert proof.rows >= 1000


def test_names_are_quoted_where_they_must_be():
    columns = ("age", "Age2", "order", "a b", 'a"b')
    condition = Condition(tuple(Numbers(name, low=1) for name in columns))
    engine = RuleSet((Rule("r", condition, Label("y")),), "first", Label("n"), ("n", "y"), columns)
    assert 'age>=1 AND Age2>=1 AND "order">=1 AND "a b">=1 AND "a""b">=1' in to_sql(engine, dialect="sqlite")
    assert 'age>=1 AND "Age2">=1 AND "order">=1' in to_sql(engine, dialect="postgres")


@pytest.mark.parametrize(
    ("table", "written"),
    [
        ("public.data", "FROM public.data"),
        ('db."odd.name"."a ""b"""', 'FROM db."odd.name"."a ""b"""'),
        ("Some table", 'FROM "Some table"'),
        ('a"b', 'FROM "a""b"'),
    ],
)
def test_tables_may_have_schemas(table, written):
    engine = RuleSet((), "first", Label("n"), ("n", "y"), ("age",))
    assert to_sql(engine, dialect="postgres", table=table, probabilities=False) == f"SELECT 'n' AS answer {written}\n"


def test_a_table_has_a_name():
    with pytest.raises(SettingsError, match="table must be the name of a table"):
        to_sql(random_rule_set(0), table="")


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ArtifactError, match=r"cannot be written \(No such file .*\); name a folder that exists"):
        export(random_rule_set(0), tmp_path / "none" / "rules.txt")


def test_keys_of_sql_say_nothing_about_other_forms(tmp_path):
    (tmp_path / "rules.json").write_text(json.dumps(random_rule_set(0).to_json()))
    settings = ExportSettings(model=str(tmp_path / "rules.json"), out=str(tmp_path / "rules.onnx"), dialect="sqlite")
    with pytest.raises(SettingsError, match=r"about SQL, but .*rules\.onnx will be onnx: remove them"):
        write_export(settings)


def test_texts_cannot_break_out():
    condition = Condition((Categories("town", ("x' OR '1'='1", "--", "\\", "1+-1")),))
    engine = RuleSet((Rule("r", condition, Label("o'k")),), "first", Label("n"), ("n", "o'k"), (), ("town",))
    scored = (
        Rule("r", condition, Points((-1.5,))),
        Rule("s", Condition((Categories("+-", ("+-",)),)), Points((-1.0,))),
    )
    points = RuleSet(scored, "sum", Points((2.0,)), ("n", "o'k"), (), ("town", "+-"))
    for form in FORMS:
        assert proven(engine, form)[1].rows >= 1000
        assert proven(points, form)[1].rows >= 1000


def test_a_condition_takes_forty_bytes_at_most():
    columns = tuple(f"feature_{place}" for place in range(10))
    rules = []
    for place, name in enumerate(columns):
        atoms = (Numbers(name, low=place + 0.25, low_open=True), Numbers(columns[place - 1], high=100 + place))
        rules.append(Rule(f"r{place}", Condition(atoms), Label(("good", "bad")[place % 2])))
    engine = RuleSet(tuple(rules), "first", Label("good"), ("good", "bad"), columns)
    content, _ = proven(engine, "sql", sql=Sql(probabilities=False))
    assert len(content) / 20 <= 40


@pytest.mark.parametrize("classes", ["ny", "nyz"])
def test_points_far_beyond_what_exp_takes(classes):
    width = 1 if len(classes) == 2 else len(classes)
    rules = tuple(
        Rule(f"r{place}", Condition((Numbers("a", low=place),)), Points((sign * 2000.0, 700.0, -3000.0)[:width]))
        for place, sign in enumerate((1, -1, -1))
    )
    engine = RuleSet(rules, "sum", Points((0.5, 0.0, 0.0)[:width]), tuple(classes), ("a",))
    for form in FORMS:
        assert proven(engine, form)[1].rows >= 1000


NAMES = ("ExternalRiskEstimate", "MSinceMostRecentInqexcl7days", "NetFractionRevolvingBurden", "PercentTradesWBalance")


def card_of_ten(missing=False):
    """Ten scored comparisons of columns with long names."""
    ends = [(0, 63), (0, 70), (0, 75), (0, 83), (1, -8), (1, 0), (2, 47), (2, 80), (3, 13), (3, 46)]
    rules = (Rule(f"r{place}", Condition((Numbers(NAMES[column], high=end, missing=missing and place % 3 == 0),)),
                  Points(((-1) ** place * (0.41 + place / 50),)))
             for place, (column, end) in enumerate(ends))  # fmt: skip
    return RuleSet(tuple(rules), "sum", Points((0.13,)), ("Bad", "Good"), NAMES)


@pytest.mark.parametrize("dialect", ["duckdb", "sqlite"])
@pytest.mark.parametrize("missing", [True, False])
def test_a_scored_comparison_takes_forty_bytes_at_most_whatever_columns_are_called(dialect, missing):
    content, proof = proven(card_of_ten(missing), "sql", sql=Sql(dialect, probabilities=False))
    assert len(content) / 10 <= 40
    assert proof.rows >= 1000


def test_columns_that_are_named_often_get_letters():
    query = to_sql(card_of_ten(), probabilities=False)
    assert query.count(NAMES[0]) == 1
    assert f"FROM (SELECT {NAMES[0]} a," in query
    once = Rule("r", Condition((Numbers(NAMES[0], low=1),)), Label("Good"))
    assert NAMES[0] + ">=1" in to_sql(RuleSet((once,), "first", Label("Bad"), ("Bad", "Good"), NAMES))


def test_letters_hide_no_column_of_the_table():
    rules = tuple(Rule(name, Condition((Numbers(name, low=place),)), Points((place + 1.0,)))
                  for place, name in enumerate(("b", "a", "a1")))  # fmt: skip
    engine = RuleSet(rules, "sum", Points((-2.5,)), ("n", "y"), ("b", "a", "a1"))
    longer = [Rule(f"{rule.id} {place}", Condition((Numbers(rule.id, low=place),)), rule.output)
              for place in range(3, 9) for rule in rules]  # fmt: skip
    for made in (engine, replace(engine, rules=(*rules, *longer))):
        for probabilities in (True, False):
            for dialect in ("duckdb", "sqlite"):
                assert proven(made, "sql", sql=Sql(dialect, probabilities=probabilities))[1].rows >= 1000


@pytest.mark.parametrize("probabilities", [True, False])
def test_categories_of_one_column_become_one_choice(probabilities):
    wanted = [(("x",), False, False), (("o",), False, True), (("x", "y"), True, False), ((), False, True)]
    atoms = [Categories("the long name", *entry) for entry in wanted]
    rules = tuple(Rule(f"r{place}", Condition((atom,)), Points((2.0**place,))) for place, atom in enumerate(atoms))
    engine = RuleSet(rules, "sum", Points((-6.5,)), ("n", "y"), (), ("the long name",))
    for form in ("sql", "python"):
        assert proven(engine, form, sql=Sql(probabilities=probabilities))[1].rows >= 1000
    assert to_sql(engine, probabilities=False).count("the long name") <= 5


def test_a_staircase_may_have_very_many_steps():
    rules = tuple(Rule(f"r{place}", Condition((Numbers("a", low=place),)), Points((place % 7 - 3.0,)))
                  for place in range(120))  # fmt: skip
    engine = RuleSet(rules, "sum", Points((0.5,)), ("n", "y"), ("a",))
    rows = {"x": np.arange(-1, 130, 0.5, dtype=np.float32)[:, None]}
    query = to_sql(engine, dialect="sqlite", probabilities=False)
    assert query.count("IIF(") == 1  # databases limit how deep an expression may be
    prove(engine, lambda rows: run_in_sqlite(engine, query, rows), rows, form="SQLite")


def test_three_classes_are_told_by_differences():
    rules = tuple(Rule(f"r{place}", Condition((Numbers("a", low=place),)), Points((place, 1.0, 2.0)))
                  for place in range(3))  # fmt: skip
    engine = RuleSet(rules, "sum", Points((0.0, 1.0, 0.5)), ("k", "l", "m"), ("a",))
    query = to_sql(engine, probabilities=False)
    assert "0 AS _a2" in query
    assert "CASE GREATEST(_a0,_a1,_a2) WHEN _a0 THEN 'k' WHEN _a1 THEN 'l' ELSE 'm' END" in query


def test_what_answers_otherwise_is_refused():
    engine = random_rule_set(0)
    rows = proof_rows(engine)
    wrong = engine.decisions(rows).copy()
    wrong[7] = wrong[7] + 1
    with pytest.raises(
        ArtifactError, match=r"The wrong form must answer as the rules do, but 1 of \d+ rows have another"
    ):
        prove(engine, lambda rows: Answers(engine.values(rows), wrong), rows, form="wrong")
    shifted = engine.values(rows) + 3e-6
    with pytest.raises(ArtifactError, match="another probability: row"):
        prove(engine, lambda rows: Answers(shifted, engine.decisions(rows)), rows, form="wrong")


@given(
    st.lists(st.lists(st.integers(-400, 400), min_size=2, max_size=4), min_size=1, max_size=6), st.integers(-300, 300)
)
def test_smaller_points_decide_alike_for_every_combination(values, base):
    parts = [np.array(part, float) for part in values]
    made, start = smaller(parts, float(base))
    totals, shorter = (
        [sum(chosen) + first for chosen in itertools.product(*points)]
        for points, first in ((parts, base), (made, start))
    )
    assert [total > 0 for total in totals] == [total > 0 for total in shorter]
    assert all((part == np.rint(part)).all() for part in made)
    assert max(np.abs(part).max() for part in made) <= max(np.abs(part).max() for part in parts)


def test_a_query_of_the_class_alone_counts_in_small_numbers():
    rules = [
        Rule("a", Condition((Numbers("x", low=3),)), Points((1.38,))),
        Rule("b", Condition((Numbers("y", high=2),)), Points((0.9,))),
        Rule("c", Condition((Categories("z", ("u",)),)), Points((0.75,))),
    ]
    engine = RuleSet(tuple(rules), "sum", Points((-1.0,)), ("no", "yes"), ("x", "y"), ("z",))
    query = to_sql(engine, probabilities=False)
    assert query == "SELECT IF(IF(x>=3,2,0)+IF(y<=2,1,0)+IF(z='u',1,0)>1,'yes','no') answer FROM data\n"
