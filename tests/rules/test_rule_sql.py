"""Rule sets as SQL: run in SQLite and DuckDB, they answer as the rules do."""

import pytest
from random_rules import random_rule_set

from engine.errors import ArtifactError
from rules.atoms import Categories, Condition, Numbers
from rules.exports.run_sql import run_in_duckdb, run_in_sqlite
from rules.exports.to_sql import to_sql
from rules.exports.write import FORMS, Sql, proven
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


def test_texts_cannot_break_out():
    condition = Condition((Categories("town", ("x' OR '1'='1", "--", "\\")),))
    engine = RuleSet((Rule("r", condition, Label("o'k")),), "first", Label("n"), ("n", "o'k"), (), ("town",))
    for form in FORMS:
        assert proven(engine, form)[1].rows >= 1000


def test_a_condition_takes_forty_bytes_at_most():
    columns = tuple(f"feature_{place}" for place in range(10))
    rules = []
    for place, name in enumerate(columns):
        atoms = (Numbers(name, low=place + 0.25, low_open=True), Numbers(columns[place - 1], high=100 + place))
        rules.append(Rule(f"r{place}", Condition(atoms), Label(("good", "bad")[place % 2])))
    engine = RuleSet(tuple(rules), "first", Label("good"), ("good", "bad"), columns)
    content, _ = proven(engine, "sql", sql=Sql(probabilities=False))
    assert len(content) / 20 <= 40


def test_points_far_beyond_what_exp_takes():
    rules = tuple(
        Rule(f"r{place}", Condition((Numbers("a", low=place),)), Points((sign * 2000.0,)))
        for place, sign in enumerate((1, -1, -1))
    )
    engine = RuleSet(rules, "sum", Points((0.5,)), ("n", "y"), ("a",))
    for form in FORMS:
        assert proven(engine, form)[1].rows >= 1000


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
