"""RuleClassifier and RuleRegressor keep scikit-learn's contract, explain and export."""

import sqlite3

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.utils.estimator_checks import parametrize_with_checks

from engine.artifact import Artifact
from engine.errors import SettingsError
from rules.estimators import RuleClassifier, RuleRegressor

MODELS = [
    RuleClassifier(generator="score", max_rules=5, genes={"depth": 2}),
    RuleRegressor(generator="score", max_rules=5, genes={"depth": 2}),
]
WEIGHTS = "conditions are counted in rows, whatever their weight"
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": WEIGHTS,
    "check_sample_weight_equivalence_on_sparse_data": WEIGHTS,
}


@parametrize_with_checks(MODELS, expected_failed_checks=lambda _model: EXPECTED)
def test_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


def cancer():
    return load_breast_cancer(return_X_y=True, as_frame=True)


@pytest.mark.parametrize("generator", ["score", "tree", "list", "set", "sum"])
def test_every_generator_is_accurate_within_its_number_of_rules(generator):
    x, y = cancer()
    model = RuleClassifier(generator=generator, max_rules=6).fit(x[::2], y[::2])
    assert len(model.ruleset_.rules) <= 6
    assert model.score(x[1::2], y[1::2]) > 0.88
    sizes = [len(made.rules) for made in model.path_]
    assert sizes == sorted(sizes)


def test_auto_takes_the_generator_that_errs_least():
    grid = np.array(np.meshgrid(*[["x", "o", "b"]] * 5)).reshape(5, -1).T
    y = ((grid[:, 0] == "x") & (grid[:, 1] == "x")) | ((grid[:, 2] == "o") & (grid[:, 3] == "o") & (grid[:, 4] == "b"))
    frame = pd.DataFrame(np.tile(grid, (2, 1)), columns=list("abcde"))
    model = RuleClassifier(max_rules=4).fit(frame, np.tile(y, 2))
    assert model.score(frame, np.tile(y, 2)) == 1.0


def test_a_table_with_text_and_gaps():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"age": rng.integers(18, 80, 400).astype(float), "town": rng.choice(["Ulm", "Bonn", "Kiel"], 400)}
    )
    y = np.where((frame.age > 50) | (frame.town == "Ulm"), "yes", "no")
    frame.loc[::7, "age"] = np.nan
    frame.loc[::11, "town"] = None
    model = RuleClassifier(generator="score", max_rules=6, genes={"depth": 2}).fit(frame, y)
    assert model.score(frame, y) > 0.9
    shuffled = frame[["age", "town"]].assign(town=lambda table: table.town.astype("category"))
    assert np.array_equal(model.predict(shuffled), model.predict(frame))


def test_explain_names_the_rules_that_decided():
    x, y = cancer()
    model = RuleClassifier(generator="score", max_rules=4).fit(x, y)
    told = model.explain(x.iloc[:20])
    held = model.ruleset_.matches(model._inputs(x.iloc[:20]))
    for row, entry in enumerate(told):
        named = {rule.id for rule, is_held in zip(model.ruleset_.rules, held[row], strict=True) if is_held}
        assert set(entry.rules) == named
        total = sum(reason.points[0] for reason in entry.reasons) + model.ruleset_.default.values[0]
        assert entry.values[1] == pytest.approx(1 / (1 + np.exp(-total)), abs=1e-5)
    listed = RuleClassifier(generator="tree", max_rules=4).fit(x, y).explain(x.iloc[:5])
    assert all(len(entry.rules) == 1 for entry in listed)


@pytest.mark.parametrize("ending", ["onnx", "sql", "py", "json", "txt"])
def test_exports_answer_alike(ending, tmp_path):
    x, y = load_iris(return_X_y=True, as_frame=True)
    model = RuleClassifier(generator="score", max_rules=6).fit(x, y)
    path = model.export(tmp_path / f"iris.{ending}", x)
    assert path.stat().st_size > 100
    if ending == "onnx":
        outputs = Artifact.load(path).outputs({"x": x.to_numpy(np.float32)})
        assert np.abs(outputs - model.predict_proba(x)).max() < 1e-6


def test_sql_is_written_in_the_dialect_that_is_named(tmp_path):
    x, y = load_iris(return_X_y=True, as_frame=True)
    x.columns = ["a", "b", "c", "d"]
    model = RuleClassifier(generator="score", max_rules=6).fit(x, y)
    query = model.export(tmp_path / "iris.sql", x, dialect="sqlite").read_text()
    with sqlite3.connect(":memory:") as database:
        x.astype(np.float32).to_sql("data", database, index=False)
        answers = [row[0] for row in database.execute(query)]
    assert answers == [str(label) for label in model.predict(x)]
    with pytest.raises(SettingsError, match="dialect"):
        model.export(tmp_path / "iris.sql", x, dialect="sqlight")


def test_an_unknown_ending_is_refused(tmp_path):
    x, y = load_iris(return_X_y=True)
    model = RuleClassifier(generator="score", max_rules=2).fit(x, y)
    with pytest.raises(SettingsError, match="must name a form"):
        model.export(tmp_path / "iris.docx")


def test_directions_hold_for_every_generator():
    x, y = load_diabetes(return_X_y=True, as_frame=True)
    wanted = {"bmi": 1, "bp": 1}
    grid = np.linspace(x.bmi.min(), x.bmi.max(), 40)
    for generator in ("score", "tree", "list", "sum"):
        model = RuleRegressor(generator=generator, max_rules=8, monotone=wanted).fit(x, y)
        for _, row in x.iloc[::60].iterrows():
            swept = pd.DataFrame([row] * len(grid)).assign(bmi=grid)
            assert (np.diff(model.predict(swept)) >= -1e-4).all(), generator


def test_forbidden_columns_and_limits_are_kept():
    x, y = cancer()
    free = RuleClassifier(generator="score", max_rules=5).fit(x, y)
    used = {atom.column for rule in free.ruleset_.rules for atom in rule.condition.atoms}
    banned = RuleClassifier(generator="score", max_rules=9, max_conditions=4, forbidden=tuple(used)).fit(x, y)
    atoms = [atom for rule in banned.ruleset_.rules for atom in rule.condition.atoms]
    assert not used & {atom.column for atom in atoms}
    assert 0 < len(atoms) <= 4


def test_mistakes_are_told_at_once():
    x, y = cancer()
    model = RuleClassifier(monotone={"mean raduis": 1, "mean area": 2}, forbidden=("nothing",), max_conditions=0)
    with pytest.raises(SettingsError) as error:
        model.fit(x, y)
    text = str(error.value)
    assert "did you mean 'mean radius'" in text
    for part in (
        "direction of 'mean area' must be 1 or -1",
        "no column 'nothing'",
        "max_conditions must be at least 1",
    ):
        assert part in text


def test_the_same_seed_gives_the_same_rules():
    x, y = load_diabetes(return_X_y=True, as_frame=True)
    model = RuleRegressor(generator="sum", max_rules=6, teach=0.5, random_state=3)
    assert model.fit(x, y).ruleset_ == clone(model).fit(x, y).ruleset_
