"""The whole command: in process as notebooks call it, as a command line, and several at once."""

import json

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from sklearn.datasets import load_iris

from automl import search
from automl.settings import Settings
from automl.space import TabularSettings
from engine.backends.settings import BackendSettings
from engine.errors import SettingsError
from engine.load import DataSettings, load
from engine.winners import FinishSettings

FAMILIES = ["constant", "linear", "tree", "additive"]
QUICK = ("backend=serial", "budget=3", "quiet=true", f"space.families=[{','.join(FAMILIES)}]")


def settings_of(folder, **given):
    return Settings(
        **{
            "data": DataSettings(name="wine"),
            "budget": 4,
            "workers": 1,
            "backend": BackendSettings(name="serial"),
            "space": TabularSettings(families=FAMILIES),
            "finish": FinishSettings(members=3, effort=1.0, refit=True),
            "run": str(folder),
            "quiet": True,
            **given,
        }
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return search.run(settings_of(tmp_path_factory.mktemp("automl") / "run"))


def test_a_front_of_files_from_the_constant_on(finished):
    sizes = [member.artifact.size for member in finished.members]
    assert sizes == sorted(sizes, reverse=True)
    assert finished.members[-1].artifact.card["family"] == "constant"
    best = finished.members[0]
    assert best.artifact.card["metric"] == "log_loss"
    assert best.point.values["error"] < 0.3 < finished.members[-1].point.values["error"]
    test = load(DataSettings(name="wine"), seed=0).test
    for member in finished.members:
        opened = onnxruntime.InferenceSession(member.artifact.model)
        outputs = opened.run(None, {"x": test.x})[0]
        loss = -np.log(np.clip(outputs[np.arange(len(test)), test.y], 1e-7, 1)).mean()
        assert member.artifact.card["test"]["error"] == pytest.approx(loss, abs=1e-6)
        assert np.isfinite(opened.run(None, {"x": np.full((1, 13), np.nan, np.float32)})[0]).all()


def test_the_report_shows_what_was_measured_of_files(finished):
    page = (finished.folder / "report.html").read_text()
    for text in ("importance: how much", "calibration: what was said", "confusion: rows by class"):
        assert text in page


def test_the_same_budget_gives_the_same_files(finished, tmp_path):
    again = search.run(settings_of(tmp_path / "again"))
    assert [m.artifact.sha256 for m in again.members] == [m.artifact.sha256 for m in finished.members]


def test_seconds_end_a_search_with_files(tmp_path):
    run = search.run(settings_of(tmp_path / "run", budget=1000, seconds=4))
    assert run.members
    assert any("time is up" in note for note in run.notes)


def test_directions_are_kept_and_told(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.integers(18, 80, 300), "town": rng.choice(["Ulm", "Oslo"], 300)})
    frame["paid"] = np.where(frame.age + 15 * rng.normal(size=300) > 45, "yes", "no")
    frame.to_csv(tmp_path / "loans.csv", index=False)
    data = DataSettings(name="csv", path=str(tmp_path / "loans.csv"), target="paid")
    space = TabularSettings(families=["constant", "linear", "additive", "prototypes"])
    run = search.run(settings_of(tmp_path / "run", data=data, monotone={"age": 1}, space=space))
    told = [member.artifact.card["monotone"]["age"] for member in run.members if member.artifact.card["finished"]]
    assert told
    assert all(entry["direction"] == 1 and entry["largest_step_against"] <= 1e-6 for entry in told)
    assert any("Left out" in note and "prototypes" in note for note in run.notes)
    assert {trial.candidate["family"] for trial in run.study.ended()} <= {"constant", "linear", "additive"}


def test_what_says_nothing_here_is_refused():
    with pytest.raises(SettingsError, match="trains its own"):
        Settings(teacher="x.onnx")
    with pytest.raises(SettingsError, match="max_macs says nothing here"):
        Settings(max_macs=10)


def test_the_command_sweeps_over_data_sets_and_ends_with_one_table(tmp_path, monkeypatch, capsys):
    x, y = load_iris(return_X_y=True, as_frame=True)
    x.assign(kind=y.map({0: "a", 1: "b", 2: "c"})).to_csv(tmp_path / "iris.csv", index=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["automl.search"])
    assert search.main(["--multirun", "+space=tabular", "data=wine,iris", *QUICK]) == 0
    printed = capsys.readouterr().out
    last = printed[printed.rindex("best <= 5 kB") :]
    assert "data=wine" in last
    assert "data=iris" in last
    cards = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/front/00/card.json")]
    assert len(cards) == 2
    assert all(card["finished"] for card in cards)


def test_a_mistake_is_one_clear_error(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["automl.search"])
    assert search.main(["+space=tabular", "data=wine", "monotone={alcohool: 1}", *QUICK]) == 2
    assert "did you mean 'alcohol'" in capsys.readouterr().err
