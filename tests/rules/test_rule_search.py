"""The family of rule models keeps its laws; a search delivers files, rules in every form, and reports."""

import json

import numpy as np
import pytest

from engine.artifact import Artifact
from engine.backends.settings import BackendSettings
from engine.checks.families import family_checks
from engine.data import Dataset, Rows, Signature, Split
from engine.errors import DataError, SettingsError
from engine.load import DataSettings, load
from engine.settings import build
from engine.show import describe_run
from engine.tables import read_cards, size_of
from engine.winners import FinishSettings
from rules.demands import demands_of
from rules.family import RuleModels
from rules.generators.constraints import Constraints
from rules.generators.space import RulesSettings
from rules.ruleset import RuleSet
from rules.search import run
from rules.settings import Settings

SMALL = RulesSettings(rules=4, solvers=["greedy"], lengths=[1, 2], depths=[1, 2], teaches=[0.0])


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(160, 2)).astype(np.float32).round(1)
    c = rng.choice(["u", "v", ""], size=(160, 1))
    y = ((x[:, 0] > 0) & (c[:, 0] != "u")).astype(np.int64)
    signature = Signature("table", "classification", (2,), "float32", ("no", "yes"), 0.0, 1.0, ("a", "b"), ("k",))
    return Dataset(signature, Rows(y, x, c), (Split(np.arange(110), np.arange(110, 160)),))


CHECKS = dict(family_checks())


@pytest.mark.parametrize("name", CHECKS)
def test_the_laws_of_families(name, data):
    CHECKS[name](RuleModels(SMALL, data.signature), data)


def test_the_portfolio_has_every_generator(data):
    family = RuleModels(RulesSettings(), data.signature)
    assert {candidate["generator"] for candidate in family.portfolio} == {"score", "tree", "list", "set", "sum"}


def test_a_path_names_the_candidates_that_build_its_files_alone(data):
    family = RuleModels(SMALL, data.signature)
    candidate = family.portfolio[1]

    def files(asked):
        return {
            owner: artifact.sha256
            for owner, artifact in family.build(asked, data, fold=0, fidelity=1.0, seed=1, report=lambda _s, _e: True)
        }

    path = files(candidate)
    assert len(path) > 1
    for owner, sha256 in path.items():
        assert files(owner)[owner] == sha256


def test_a_search_from_data_to_files_and_reports(tmp_path):
    rules = tmp_path / "mine.yaml"
    rules.write_text(
        "rules:\n"
        "- {id: huge, when: '\"worst area\" > 3000', then: malignant, stage: before}\n"
        "demands:\n"
        "  forbid: {columns: [mean area]}\n"
        "  monotone: {worst area: decreasing, worst texture: decreasing}\n"
    )
    settings = Settings(
        data=DataSettings("breast_cancer", folds=2),
        space=RulesSettings(rules=3, generators=["score", "tree"], solvers=["greedy"], teaches=[0.0]),
        rules=build(type(Settings().rules), {"file": str(rules)}),
        budget=2,
        workers=1,
        backend=BackendSettings("serial"),
        finish=FinishSettings(members=1),
        run=str(tmp_path / "run"),
        quiet=True,
    )
    loaded = load(settings.data, seed=0)
    classes = loaded.dataset.signature.classes
    if classes[0] != "malignant":
        rules.write_text(rules.read_text().replace("decreasing", "increasing"))
    found = run(settings)
    assert found.members
    for number, member in enumerate(found.members):
        folder = found.folder / "front" / f"{number:02d}"
        engine = RuleSet.from_json(json.loads((folder / "rules.json").read_text()))
        assert engine.rules[0].id == "huge"
        assert not any(atom.column == "mean area" for rule in engine.rules for atom in rule.condition.atoms)
        inputs = loaded.test.inputs()
        outputs = Artifact.load(folder).outputs(inputs)
        assert np.abs(outputs - engine.values(inputs)).max() < 1e-6
        report = json.loads((folder / "rules_report.json").read_text())
        assert len(report["rules"]) == len(engine.rules)
        assert {entry["column"] for entry in report["monotone"]} == {"worst area", "worst texture"}
        assert len(report["front"]) == len(found.members)
        assert "<h2>The rules</h2>" in (folder / "rules_report.html").read_text()
        for form in ("rules.txt", "rules.sql", "rules.py"):
            assert (folder / form).stat().st_size
        assert member.artifact.card["conditions"] >= 0


def test_the_form_whose_bytes_count_is_named(tmp_path):
    settings = Settings(
        data=DataSettings("iris", folds=2),
        space=RulesSettings(rules=2, generators=["list"], teaches=[0.0]),
        budget=1,
        workers=1,
        backend=BackendSettings("serial"),
        finish=FinishSettings(members=1),
        run=str(tmp_path / "run"),
        bytes_of="sql",
        max_bytes=1200,
        quiet=True,
    )
    found = run(settings)
    assert found.members
    told = []
    for number in range(len(found.members)):
        folder = found.folder / "front" / f"{number:02d}"
        card = json.loads((folder / "card.json").read_text())
        assert card["sql_bytes"] == (folder / "rules.sql").stat().st_size <= 1200
        assert card["bytes"] == (folder / "model.onnx").stat().st_size
        told.append(card["sql_bytes"])
    assert found.study.front.cost == "sql_bytes"
    assert found.study.front.points[0].values["sql_bytes"] <= 1200
    report = json.loads((found.folder / "front" / "00" / "rules_report.json").read_text())
    assert report["front"][0]["sql_bytes"] == told[0]
    cards = read_cards(found.folder)
    assert [size_of(card) for card in cards] == told
    assert f"{told[0]:,} B of sql" in "\n".join(describe_run(cards))
    assert "sql bytes" in (found.folder / "report.html").read_text(encoding="utf-8")
    assert (found.folder / "front.csv").read_text().splitlines()[1].endswith(f",{told[0]}")


def test_bytes_are_one_axis_alone():
    with pytest.raises(SettingsError, match="bytes_of=sql names the bytes that are the second axis, but cost=macs"):
        build(Settings, {"bytes_of": "sql", "cost": "macs"})
    with pytest.raises(SettingsError, match="bytes_of must be one of onnx, sql, python, json, yaml, text"):
        build(Settings, {"bytes_of": "sqll"})


def test_rules_need_a_table():
    images = Signature("images", "classification", (1, 8, 8), "uint8", ("0", "1"))
    with pytest.raises(DataError, match="got images"):
        RuleModels(RulesSettings(), images)


def test_settings_of_the_space_are_checked_all_at_once():
    with pytest.raises(SettingsError) as error:
        build(Settings, {"space": {"generators": ["scores"], "depths": [0], "rules": 0, "ridges": []}})
    for part in (
        "did you mean 'score'",
        "space.depths must lie in",
        "space.rules must lie in",
        "space.ridges must hold",
    ):
        assert part in str(error.value)


def test_regression_has_no_sets():
    signature = Signature("table", "regression", (1,), "float32", (), 0.0, 1.0, ("a",))
    assert "set" not in RuleModels(RulesSettings(), signature).space.domains["generator"].options
    with pytest.raises(SettingsError, match="must hold one of"):
        _ = RuleModels(RulesSettings(generators=["set"]), signature).space


def test_a_file_of_rules_becomes_demands(tmp_path, data):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "rules:\n- {id: first, when: a > 1, then: no, stage: before}\n"
        "demands:\n  max_rules: 3\n  min_support: 0.1\n  monotone: {b: increasing}\n  costs: {a: 4}\n"
        "  thresholds: {a: [0, 1]}\n"
    )
    made = demands_of(path, data)
    assert isinstance(made, Constraints)
    assert (made.max_rules, made.min_support, dict(made.monotone)) == (3, 0.1, {"b": 1})
    assert made.preferred["a"] == 0.25
    assert made.thresholds["a"] == (0.0, 1.0)
    assert made.hard[0].id == "first"
