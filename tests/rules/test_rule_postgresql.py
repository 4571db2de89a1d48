"""Rule sets as SQL in a real PostgreSQL server, which these tests start, stop and throw away."""

import math
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
from random_rules import random_rule_set
from sklearn.datasets import load_breast_cancer

from rules.atoms import Categories, Condition, Numbers
from rules.estimators import RuleClassifier
from rules.exports.names_sql import dialect_of
from rules.exports.to_sql import ANSWER, probability_name, to_sql
from rules.outputs import Label, Points
from rules.proof import Answers, proof_rows, prove
from rules.rule import Rule
from rules.ruleset import RuleSet

psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")

ACCOUNT = "postgres"  # a server refuses to run as root, and runs as this account


@pytest.fixture(scope="module")
def base():
    missing = [name for name in ("initdb", "pg_ctl") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no PostgreSQL server here: {' and '.join(missing)} not found")
    prefix = ()
    if os.getuid() == 0:
        accounts = {entry.pw_name: entry.pw_gid for entry in pwd.getpwall()}
        if shutil.which("setpriv") is None or ACCOUNT not in accounts:
            pytest.skip(f"PostgreSQL refuses to run as root, and there is no account {ACCOUNT}")
        prefix = ("setpriv", f"--reuid={ACCOUNT}", "--regid", str(accounts[ACCOUNT]), "--clear-groups")
    with tempfile.TemporaryDirectory(prefix="pg") as folder:  # the name of a socket may have about a hundred characters
        if prefix:
            shutil.chown(folder, ACCOUNT)

        def run(*command):
            return subprocess.run((*prefix, *command), cwd=folder, capture_output=True, check=False, timeout=120)

        data = str(Path(folder) / "data")
        made = run("initdb", "-D", data, "-A", "trust", "-U", "rules", "-N", "-E", "UTF8", "--locale=C")
        if made.returncode:
            pytest.skip(f"initdb does not work here: {made.stderr.decode()}")
        options = f"-k {folder} -c listen_addresses= -c fsync=off"
        log = str(Path(folder) / "log")
        started = run("pg_ctl", "-D", data, "-w", "-t", "90", "-l", log, "-o", options, "start")
        assert not started.returncode, Path(log).read_text()
        try:
            with psycopg.connect(f"postgresql://rules@/postgres?host={folder}", autocommit=True) as connection:
                yield connection
        finally:
            run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")


def said(base, engine, rows, *, probabilities, number):
    """What the query answers over a table whose columns of numbers have some type; missing values are NULL."""
    dialect = dialect_of("postgres")
    kinds = {"x": number, "c": "text"}
    listed = ",".join(f"{dialect.quoted(name)} {kinds[kind]}" for name, (kind, _) in engine.columns.items())
    columns = [rows[kind][:, place].tolist() for kind, place in engine.columns.values()]
    base.execute("DROP TABLE IF EXISTS stored CASCADE")
    base.execute(f"CREATE TABLE stored ({listed}, b serial)")
    base.execute("CREATE VIEW data AS SELECT * FROM stored ORDER BY b")  # a table alone keeps no order
    names = ",".join(map(dialect.quoted, engine.columns))
    with base.cursor() as cursor:
        with cursor.copy(f"COPY stored ({names}) FROM STDIN") as copy:
            for row in zip(*columns, strict=True):
                copy.write_row([None if value == "" or value != value else value for value in row])
        cursor.execute(to_sql(engine, dialect="postgres", probabilities=probabilities))
        found = [column.name for column in cursor.description]
        told = dict(zip(found, zip(*cursor.fetchall(), strict=True), strict=True))
    if not engine.classes:
        return Answers(np.array(told[ANSWER], float)[:, None], None)
    number_of = {name: place for place, name in enumerate(engine.classes)} | {None: -1}
    decisions = np.array([number_of[name] for name in told[ANSWER]])
    if not probabilities:
        return Answers(None, decisions)
    return Answers(np.array([told[probability_name(name)] for name in engine.classes], float).T, decisions)


def check(base, engine, inputs=None):
    rows = proof_rows(engine, inputs)
    for probabilities, number in ((True, "real"), (False, "double precision")):

        def answer(rows, probabilities=probabilities, number=number):
            return said(base, engine, rows, probabilities=probabilities, number=number)

        assert prove(engine, answer, rows, form="PostgreSQL").rows >= 1000


@pytest.mark.parametrize("seed", range(0, 36, 3))
def test_random_rule_sets_answer_alike(base, seed):
    check(base, random_rule_set(seed))


@pytest.mark.parametrize("generator", ["score", "tree", "list", "set", "sum"])
def test_learned_rule_sets_answer_alike(base, generator):
    x, y = load_breast_cancer(return_X_y=True, as_frame=True)
    model = RuleClassifier(generator=generator, max_rules=8, random_state=0).fit(x, y)
    check(base, model.ruleset_, {"x": x.to_numpy(np.float32)})


def test_ends_of_float32_and_odd_names(base):
    ends = (0.1, 1 / 3, 1e-45, 3.4028235e38, -math.inf)
    rules = [Rule(f"at most {end}", Condition((Numbers("Ratio", high=end),)), Points((1.25,))) for end in ends]
    rules += [Rule(f"above {end}", Condition((Numbers('a "b"', low=end, low_open=True),)), Points((-0.5,)))
              for end in ends]  # fmt: skip
    towns = Condition((Categories("order", ("O'Hara", "-- \\", "K\u00f6ln")), Numbers("Ratio", 0.1, 0.1, missing=True)))
    rules.append(Rule("towns", towns, Points((-3.75,))))
    rules.append(Rule("hard", Condition((Categories("order", (), missing=True),)), Label("y'es"), stage="before"))
    check(base, RuleSet(tuple(rules), "sum", Points((0.5,)), ("n", "y'es"), ("Ratio", 'a "b"'), ("order",)))


@pytest.mark.parametrize("size", [2000.0, 1e-7])
def test_points_of_any_size(base, size):
    rules = tuple(
        Rule(f"r{place}", Condition((Numbers("a", low=place),)), Points((sign * size, size / 3, -size)))
        for place, sign in enumerate((1, -1, -1))
    )
    check(base, RuleSet(rules, "sum", Points((0.0, size / 7, 0.0)), ("k", "l", "m"), ("a",)))
    two = tuple(Rule(rule.id, rule.condition, Points(rule.output.values[:1])) for rule in rules)
    check(base, RuleSet(two, "sum", Points((size / 9,)), ("n", "y"), ("a",)))
