"""Mistakes in files of rules: each is told with file, line, rule and remedy, before anything is fitted."""

# ruff: noqa: E501  one mistake a line

import numpy as np
import pytest

from engine.errors import SettingsError
from rules.language.read import declared_table, read_rules
from rules.language.table import Table
from rules.language.user_rules import Demands

INPUTS = {
    "x": np.array([[15, 100, 0], [20, 2000, 1], [30, 3000, 1], [44, np.nan, 0], [70, 9000, 1]], np.float32),
    "c": np.array([["Ulm", "True"], ["Bonn", "False"], ["Ulm", "False"], ["", "True"], ["Bonn", "True"]]),
}
COLUMNS = ("age", "income", "debt"), ("town", "member")
TABLE = Table(*COLUMNS, ("no", "yes"), INPUTS, np.array([0, 1, 1, 0, 1]))
THREE = Table(*COLUMNS, ("a", "b", "c"))
NUMBERS = Table(*COLUMNS, ())

RULE = "rules:\n- id: r\n  when: {when}\n  then: yes\n"
ONE = "rules:\n- {{id: r, {rest}}}\n"
CONDITIONS = {
    "syntax": ("age <", "line 3: rule r, when: character 5: this is no SQL condition near '<'"),
    "open quote": ("town = 'Ulm", "is a quote or a parenthesis left open"),
    "two conditions": ("age < 3; age > 5", "without semicolons"),
    "unknown column": (
        "agee < 3",
        "there is no column agee (columns: age, income, debt, town, member; the target is none); did you mean 'age'?",
    ),
    "qualified column": ("t.age < 3", "one table only; write age in place of t.age"),
    "unknown value": (
        "town = 'Ulmm'",
        "column town never has the value 'Ulmm' in the data (values: Bonn, Ulm); did you mean 'Ulm'?",
    ),
    "text for a number": ("age > '18'", "column age holds numbers; compare it with a number, without quotes"),
    "order of texts": ("town < 'Ulm'", "column town holds texts, which < does not order; use =, <> or IN"),
    "between texts": ("town BETWEEN 'A' AND 'B'", "column town holds texts, which BETWEEN does not order"),
    "double quotes": ('town = "Ulm"', "write a text as 'Ulm', in single quotes"),
    "two columns": ("age = income", "columns age and income are compared with each other; derive their difference"),
    "function": ("LOWER(town) = 'ulm'", "function LOWER is not understood; derive a column"),
    "unknown function": ("evil('rm') = 1", "function evil is not understood"),
    "arithmetic": ("age + 1 > 3", "'age + 1' calculates; derive a column for it"),
    "query": ("age IN (SELECT age FROM t)", "a query inside a condition is not understood; list the values with IN"),
    "like": ("town LIKE 'U%'", "LIKE is not understood; list the values with IN"),
    "case": ("CASE WHEN age < 3 THEN TRUE END", "CASE is not understood; write one rule for each branch"),
    "cast": ("age > DATE '2020-01-01'", "casts and dates are not understood"),
    "equals null": ("age = NULL", "'age = NULL' is never true; write age IS NULL"),
    "null in a list": ("town IN ('Ulm', NULL)", "write OR town IS NULL"),
    "empty list": ("town IN ()", "IN of column town has no values; list at least one"),
    "empty text": ("town = ''", "an empty text is a missing value; write town IS NULL"),
    "chain": ("18 <= age < 30", "chains comparisons; write BETWEEN"),
    "reversed between": ("age BETWEEN 30 AND 18", "holds for no number; write the lower end first"),
    "column alone": ("age < 3 AND member", "column member alone is no comparison"),
    "constant": ("'TRUE'", "alone is no condition"),
    "no column": ("1 = 1", "'1 = 1' compares no column"),
    "is true": ("age IS TRUE", "IS NULL and IS NOT NULL are"),
    "boolean for a number": ("age = TRUE", "compare it with 1 or 0 in place of TRUE"),
    "placeholder": ("age < :limit", "placeholders are not understood; write the value itself"),
    "null-safe": ("age IS DISTINCT FROM 3", "use <>, or IS NOT NULL"),
    "contradiction": ("age < 18 AND age > 30", "no row can satisfy the condition: it contradicts itself"),
    "always true": ("age < 18 OR age >= 18 OR age IS NULL", "every row satisfies the condition; use `default`"),
    "beyond 32 bits": ("age < 1e39", "1e39 is beyond the numbers of 32 bits"),
    "not told apart": ("income = 16777217", "16777217 is not told from 16777216 in 32 bits"),
    "too many alternatives": (
        " OR ".join(f"(age = {n} AND income = {n})" for n in range(65)),
        "more than 64 alternatives; split it",
    ),
    "too deep": ("(" * 900 + "age < 3" + ")" * 900, "nested too deeply; split it"),
    "too long": ("age < 3 OR " * 600 + "age < 3", "at most 5000 characters"),
}
FILES = {
    "empty": ("", "the file is empty; write at least `rules:`"),
    "yaml": ("rules:\n- id: [r\n  when: x", "line 3, column"),
    "tab": ("rules:\n\t- id: r", "line 2, column 1: YAML: found character '\\t'"),
    "two documents": ("rules: []\n---\nrules: []", "line 2: there must be one YAML document; remove what follows"),
    "alias": ("rules:\n- &a {id: r, when: age < 3, then: yes}\n- *a", "line 2: anchors and aliases are not read"),
    "tag": ("rules: !!python/object:os.system {}", "line 1: the tag tag:yaml.org,2002:python/object:os.system"),
    "no mapping": ("- id: r", "line 1: there must be a mapping with the keys"),
    "unknown key": ("rulse: []", "line 1: unknown key rulse; did you mean 'rules'?"),
    "repeated key": ("default: no\ndefault: yes", "line 2: the key default is given twice; keep one"),
    "rules no list": ("rules: {id: r}", "rules: there must be a list of rules"),
    "rule no mapping": ("rules:\n- age < 3", "line 2: rule 1: there must be a mapping"),
    "unknown key of a rule": (ONE.format(rest="when: age < 3, than: yes"), "rule r: unknown key than; did you mean 'then'?"),
    "no id": ("rules:\n- {when: age < 3, then: yes}", "rule 1: it must have an id, a short name; add `id: ...`"),
    "repeated id": ("rules:\n- {id: r, when: age < 3, then: yes}\n- {id: r, when: age > 30, then: yes}",
                    "line 3: rule r: the rule of line 2 has this id too; rename one"),
    "no condition": (ONE.format(rest="then: yes"), "rule r: it must have a condition; add `when: ...`"),
    "condition no text": (ONE.format(rest="when: [a, b], then: yes"), "there must be one SQL condition as a text"),
    "no output": (ONE.format(rest="when: age < 3"), "rule r: it must say one thing, then, probability, abstain; got none"),
    "two outputs": (ONE.format(rest="when: age < 3, then: yes, abstain: true"), "got then and abstain"),
    "unknown class": (ONE.format(rest="when: age < 3, then: yess"), "there is no class yess; did you mean 'yes'? Classes: no, yes"),
    "points in a list": (ONE.format(rest="when: age < 3, points: 2"), "points does not fit `policy: first`; write then"),
    "class in a sum": ("policy: sum\n" + ONE.format(rest="when: age < 3, then: yes"), "then does not fit `policy: sum`; write points"),
    "points no number": ("policy: sum\n" + ONE.format(rest="when: age < 3, points: many"), "there must be a number, got 'many'"),
    "probabilities": (ONE.format(rest="when: age < 3, probability: {no: 0.5, yes: 0.7}"), "must sum up to 1, got 1.2"),
    "probability above 1": (ONE.format(rest="when: age < 3, probability: {yes: 1.5}"), "a number from 0 to 1, got '1.5'"),
    "probability of nobody": (ONE.format(rest="when: age < 3, probability: {yep: 0.5}"), "there is no class yep; did you mean 'yes'?"),
    "abstain false": (ONE.format(rest="when: age < 3, abstain: false"), "there must be one of true, got false"),
    "stage": (ONE.format(rest="when: age < 3, then: yes, stage: befor"), "one of before, model, after, got befor; did you mean 'before'?"),
    "weight": (ONE.format(rest="when: age < 3, then: yes, weight: -1"), "rule r, weight: there must be a number from 1e-06 on"),
    "weight of a hard rule": (ONE.format(rest="when: age < 3, then: yes, stage: before, weight: 2"), "decides alone; remove its weight"),
    "policy": ("policy: best", "policy: there must be one of first, sum, vote, unique, got best"),
    "default": ("default: maybe", "default: there is no class maybe"),
    "default of a sum": ("policy: sum\ndefault: yes", "write `{points: 0}`"),
    "band reversed": ("abstain: {low: 0.7, high: 0.3}", "low must not be above high, got 0.7 and 0.3; exchange them"),
    "band beyond": ("abstain: {low: 0.7, high: 30}", "abstain.high: there must be a number from 0 to 1, got '30'"),
    "band half": ("abstain: {low: 0.7}", "abstain: high must be given"),
    "band of nobody": ("abstain: {low: 0.3, high: 0.7, class: y}", "abstain: there is no class y"),
    "declared column": ("columns: {agee: number}", "columns.agee: remove it: the data have no such column; did you mean 'age'?"),
    "declared kind": ("columns: {age: text}", "columns.age: the data hold a number there, not a text"),
    "declared classes": ("classes: [no, maybe]", "classes: they must be those of the data, no, yes; got no, maybe"),
    "unreachable": ("rules:\n- {id: a, when: age < 30, then: no, stage: before}\n- {id: b, when: age < 18, then: yes, stage: before}",
                    "line 3: rule b: it never decides: a (line 2) take all its rows; move it up, or remove it"),
    "unreachable by two": ("rules:\n- {id: a, when: age < 30, then: no}\n- {id: b, when: age >= 30, then: no}\n"
                           "- {id: c, when: age BETWEEN 20 AND 40, then: yes}", "rule c: it never decides: a (line 2), b (line 3)"),
    "disagreement": ("rules:\n- {id: a, when: age < 30, then: no, stage: before}\n"
                     "- {id: b, when: income > 1000, then: yes, stage: before}",
                     "line 3: rule b: it and rule a (line 2) say different things where age = 20 and income = 2000 (row 2 of the data)"),
    "disagreement without rows": ("rules:\n- {id: a, when: age < 30, then: no, stage: after}\n"
                                  "- {id: b, when: income < 50, then: yes, stage: after}",
                                  "say different things where age = 0 and income = 0 (no such row in the data)"),
    "not unique": ("policy: unique\nrules:\n- {id: a, when: age < 30, then: no}\n- {id: b, when: age > 18, then: no}",
                   "it and rule a (line 3) both hold where age = 20 (row 2 of the data); `policy: unique` allows one"),
    "forbidden column": ("rules:\n- {id: a, when: age < 30, then: no}\ndemands: {forbid: {columns: [age]}}",
                         "rule a: it uses column age, which demands.forbid forbids; drop one"),
    "forbidden condition": ("rules:\n- {id: a, when: age < 20, then: no}\ndemands: {forbid: {conditions: [age < 30]}}",
                            "rule a: demands.forbid forbids its condition"),
    "forbidden unknown": ("demands: {forbid: {columns: [agee]}}", "demands.forbid.columns: there is no column agee"),
    "everything forbidden": ("demands: {forbid: {columns: [age, income, debt, town, member]}}", "every column is forbidden"),
    "forbidden and preferred": ("demands: {forbid: {columns: [age]}, prefer: {columns: [age]}}", "column age is forbidden and preferred"),
    "preferred condition": ("demands: {prefer: {conditions: [agee < 3]}}", "demands.prefer, conditions: there is no column agee"),
    "direction": ("demands: {monotone: {age: up}}", "one of increasing, decreasing, got up"),
    "direction of a text": ("demands: {monotone: {town: increasing}}", "column town holds texts, which have no direction"),
    "direction unknown": ("demands: {monotone: {agee: increasing}}", "demands.monotone: there is no column agee"),
    "thresholds": ("demands: {thresholds: {age: [ten]}}", "demands.thresholds.age: there must be a number, got 'ten'"),
    "no thresholds": ("demands: {thresholds: {age: []}}", "there must be one threshold at least"),
    "steps": ("demands: {thresholds: {age: {from: 0, step: 5}}}", "to must be given"),
    "steps backwards": ("demands: {thresholds: {age: {from: 9, to: 0, step: 5}}}", "must give 1 to 10000 thresholds"),
    "thresholds of a text": ("demands: {thresholds: {town: [1]}}", "column town holds texts, which have no thresholds"),
    "threshold of a rule": ("rules:\n- {id: a, when: age < 20, then: no}\ndemands: {thresholds: {age: [18, 30]}}",
                            "rule a: age may not be cut at 20; the nearest allowed is 18"),
    "cost": ("demands: {costs: {age: 0}}", "demands.costs.age: there must be a number from 1e-06 on, got '0'"),
    "max_rules": ("demands: {max_rules: 2.5}", "demands.max_rules: there must be a whole number from 1 on, got '2.5'"),
    "too few rules": ("rules:\n- {id: a, when: age < 20, then: no}\n- {id: b, when: age > 60, then: no}\ndemands: {max_rules: 1}",
                      "it is 1, but there are 2 must-have rules (a, b); raise it to 2"),
    "too few conditions": ("rules:\n- {id: a, when: age < 20 AND income > 3, then: no}\ndemands: {max_conditions: 1}",
                           "the must-have rules have 2 comparisons; raise it to 2"),
    "support": ("demands: {min_support: 30}", "demands.min_support: there must be a number from 0 to 1, got '30'"),
    "support of a rule": ("rules:\n- {id: a, when: age > 60, then: yes}\ndemands: {min_support: 0.5}",
                          "rule a: it holds for 0.2 of the rows, less than demands.min_support 0.5; widen it"),
    "precision of a rule": ("rules:\n- {id: a, when: age > 40, then: yes}\ndemands: {min_precision: 0.9}",
                            "rule a: 0.5 of its rows are yes, less than demands.min_precision 0.9; narrow it"),
    "direction of two hard rules": (
        "demands: {monotone: {age: increasing}}\nrules:\n- {id: a, when: age < 18 AND town = 'Ulm', then: yes, stage: before}\n"
        "- {id: b, when: age > 15 AND income > 60, then: no, stage: after}",
        "line 4: rule b: it and rule a (line 3) break demands.monotone, age: increasing; at age = 0 rule a gives more than rule b at "
        "100, where town = 'Ulm' and income = 300; change one"),
    "direction of a sure rule": ("demands: {monotone: {age: increasing}}\nrules:\n- {id: a, when: age < 18, then: yes}",
                                 "rule a: it is sure of yes, so demands.monotone, age: increasing, asks the same of all larger values of age"),
    "direction of an interval": ("policy: sum\ndemands: {monotone: {age: increasing}}\nrules:\n- {id: a, when: age BETWEEN 18 AND 60, points: 1}",
                                 "rule a: what it says breaks demands.monotone, age: increasing; let it ask for one end"),
    "direction of points": ("policy: sum\ndemands: {monotone: {age: decreasing}}\nrules:\n- {id: a, when: age > 60, points: 1}",
                            "rule a: what it says breaks demands.monotone, age: decreasing"),
    "unknown demand": ("demands: {max_rule: 3}", "demands: unknown key max_rule; did you mean 'max_rules'?"),
}  # fmt: skip


def told(tmp_path, text, table=TABLE, **options):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        read_rules(path, table, **options)
    return str(caught.value)


@pytest.mark.parametrize("kind", CONDITIONS)
def test_conditions(tmp_path, kind):
    condition, message = CONDITIONS[kind]
    found = told(tmp_path, RULE.format(when=f'"{condition}"' if '"' not in condition else f"'{condition}'"))
    assert message in found
    assert found.startswith("mine.yaml: line 3: rule r, when: ")


@pytest.mark.parametrize("kind", FILES)
def test_files(tmp_path, kind):
    text, message = FILES[kind]
    found = told(tmp_path, text)
    assert message in found
    assert found.startswith("mine.yaml: ")


def test_other_tasks(tmp_path):
    assert "then does not fit a regression; write value" in told(tmp_path, RULE.format(when="age < 3"), NUMBERS)
    assert "a regression has no probabilities to abstain at" in told(tmp_path, "abstain: {low: 0, high: 1}", NUMBERS)
    assert "a direction needs two classes or a value" in told(tmp_path, "demands: {monotone: {age: increasing}}", THREE)


def test_no_learned_rules_need_a_default(tmp_path):
    message = told(tmp_path, RULE.format(when="age < 3"), is_whole=True)
    assert "default: it must be given where no rules are learned" in message


def test_no_such_file_and_no_utf8(tmp_path):
    with pytest.raises(SettingsError, match="the file of rules cannot be read"):
        read_rules(tmp_path / "absent.yaml", TABLE)
    path = tmp_path / "latin.yaml"
    path.write_bytes("rules:\n- id: Köln".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"latin.yaml: line 2: the file must be UTF-8"):
        read_rules(path, TABLE)
    path.write_bytes(b"#" * 1_000_001)
    with pytest.raises(SettingsError, match="at most 1000000 bytes"):
        read_rules(path, TABLE)


def test_columns_must_be_declared_where_there_are_no_data(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("classes: [no]\nrules: []")
    with pytest.raises(SettingsError) as caught:
        declared_table(path)
    assert "columns: they must be declared where there are no data" in str(caught.value)
    assert "there must be two names or more, all different, got no" in str(caught.value)


def test_all_problems_are_told_at_once_in_order_of_lines(tmp_path):
    text = "rules:\n- {id: a, when: agee < 3, then: yess}\n- {id: b, when: town = 'x'}\ndefault: maybe\n"
    lines = told(tmp_path, text).splitlines()
    assert [line.split(":")[1] for line in lines] == [" line 2", " line 2", " line 3", " line 3", " line 4"]


KEPT = {
    "hard rules on the right sides": "- {id: a, when: age < 18, then: no, stage: before}\n- {id: b, when: age > 60, then: yes, stage: after}",
    "one hard rule may override": "- {id: a, when: age < 18, then: yes, stage: before}",
    "a list that rises": "- {id: a, when: age < 18, then: no}\n- {id: b, when: age < 60, then: yes}\n- {id: c, when: age >= 60, then: yes}",
    "missing values have no direction": "- {id: a, when: age IS NULL, then: yes, stage: before}\n- {id: b, when: age > 60, then: yes}",
    "a hard rule about something else": "- {id: a, when: age < 18, then: yes, stage: before}\n- {id: b, when: income > 60, then: no, stage: after}",
    "other rows": "- {id: a, when: age < 18 AND town = 'Ulm', then: yes, stage: before}\n- {id: b, when: age > 60 AND town = 'Bonn', then: no, stage: before}",
}  # fmt: skip


@pytest.mark.parametrize("kind", KEPT)
def test_rules_that_keep_a_direction_are_taken(tmp_path, kind):
    path = tmp_path / "mine.yaml"
    path.write_text(f"demands: {{monotone: {{age: increasing}}}}\nrules:\n{KEPT[kind]}")
    assert read_rules(path, TABLE).demands.monotone == {"age": 1}


def test_demands_beside_the_file_are_held_against_its_rules(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("demands: {max_rules: 3, min_support: 0.1}\nrules:\n- {id: a, when: age < 18, then: yes}")
    assert read_rules(path, TABLE, also=Demands(max_rules=2)).demands == Demands(max_rules=2, min_support=0.1)
    with pytest.raises(SettingsError, match=r"it is sure of yes, so demands\.monotone, age: increasing"):
        read_rules(path, TABLE, also=Demands(monotone={"age": 1}))
    with pytest.raises(SettingsError, match=r"it uses column age, which demands\.forbid forbids"):
        read_rules(path, TABLE, also=Demands(forbidden_columns=("age",)))


def test_there_are_forty_kinds_of_mistake():
    assert len(CONDITIONS) + len(FILES) >= 40


def test_a_row_of_the_data_is_shown_however_its_texts_are_held(tmp_path):
    held = {"x": INPUTS["x"], "c": INPUTS["c"].astype(object)}
    table = Table(*COLUMNS, ("no", "yes"), held, np.array([0, 1, 1, 0, 1]))
    text = (
        "default: no\nrules:\n- {id: a, when: age < 20, then: no, stage: before}\n"
        "- {id: b, when: age < 25 AND town = 'Ulm', then: yes, stage: before}\n"
    )
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"age = 15.*town = 'Ulm'.*row 1 of the data"):
        read_rules(path, table)
