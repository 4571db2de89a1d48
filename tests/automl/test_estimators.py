"""The estimators: what users of scikit-learn expect of them, and the files."""

import pickle  # noqa: TID251
import tempfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score

import automl.search
from automl import CompactClassifier, CompactRegressor
from engine.artifact import Artifact
from engine.errors import DataError, SettingsError, StudyError
from engine.inputs import table_inputs


def loans(rows=240):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "income": rng.normal(50, 15, rows).round(1),
            "town": rng.choice(["Ulm", "Bonn", "Köln"], rows),
            "owner": rng.random(rows) < 0.5,
            "age": rng.integers(18, 80, rows),
        }
    )
    score = frame.income / 15 + 2 * (frame.town == "Ulm") + rng.normal(0, 0.5, rows)
    frame.loc[::17, "income"] = np.nan
    frame.loc[::23, "town"] = None
    return frame, np.where(score > 4, "paid", "lost")


@pytest.fixture(scope="module")
def data():
    return loans()


@pytest.fixture(scope="module")
def fitted(data):
    return CompactClassifier(budget=3).fit(*data)


def test_labels_and_probabilities_are_those_of_the_classes(fitted, data):
    frame, y = data
    shares = fitted.predict_proba(frame)
    assert fitted.classes_.tolist() == ["lost", "paid"]
    assert np.allclose(shares.sum(axis=1), 1)
    assert (fitted.predict(frame) == fitted.classes_[shares.argmax(axis=1)]).all()
    assert fitted.score(frame, y) > 0.8
    assert fitted.metric_ == "auc"


def test_columns_are_found_by_name_and_strange_values_are_answered(fitted, data):
    frame, _ = data
    strange = frame.assign(town="Paris", income=np.nan)
    assert np.isfinite(fitted.predict_proba(strange)).all()
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(frame.drop(columns="town"))


def test_few_rows_are_answered_as_many(fitted, data):
    frame, _ = data
    whole = fitted.predict_proba(frame)
    assert np.array_equal(whole[:9], np.concatenate([fitted.predict_proba(frame.iloc[[row]]) for row in range(9)]))
    assert np.array_equal(whole[:9], fitted.predict_proba(frame[list(frame)[::-1]].iloc[:9][list(frame)]))
    assert np.array_equal(whole[:1], fitted.predict_proba(frame.iloc[:1].assign(income=str(frame.income[0]))))


def test_the_leaderboard_tells_the_files(fitted):
    board = fitted.leaderboard()
    assert list(board.columns) == ["error", "bytes", "latency_us", "coding", "description", "is_chosen"]
    assert board["error"].is_monotonic_increasing
    assert board["is_chosen"].sum() == 1
    assert (board["latency_us"] > 0).all()
    assert board["bytes"].tolist() == [member.artifact.size for member in fitted.members_]


def test_members_are_chosen_by_size_and_by_error(fitted, data):
    frame, _ = data
    smallest = int(min(fitted.leaderboard()["bytes"]))
    small = fitted.best_under(bytes=smallest)
    assert small.artifact_.size == smallest
    assert small.predict(frame).shape == (len(frame),)
    assert fitted.smallest_within(error=1.0).artifact_.size == smallest
    best = fitted.front_.points[0].values["error"]
    assert fitted.smallest_within(error=best).artifact_.sha256 == fitted.front_.points[0].sha256
    with pytest.raises(StudyError, match=f"the smallest has {smallest}"):
        fitted.best_under(bytes=10)


def test_an_exported_file_answers_as_the_estimator(fitted, data, tmp_path):
    frame, _ = data
    path = fitted.export(tmp_path / "deep" / "model.onnx")
    assert path == tmp_path / "deep" / "model.onnx"
    assert (tmp_path / "deep" / "model.card.json").exists()
    loaded = Artifact.load(path)
    assert loaded.classes == ("lost", "paid")
    assert np.array_equal(loaded.predict(table_inputs(loaded, frame)), fitted.predict(frame))
    assert Artifact.load(fitted.export(tmp_path / "folder")).sha256 == fitted.artifact_.sha256


def test_nothing_is_left_on_disk_unless_a_run_is_named(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    CompactClassifier(budget=1).fit(*data)
    assert not list(tmp_path.iterdir())
    CompactClassifier(budget=1, run="kept").fit(*data)
    assert (tmp_path / "kept" / "trials.jsonl").exists()


def test_the_same_seed_gives_the_same_files(fitted, data):
    again = CompactClassifier(budget=3).fit(*data)
    assert [m.artifact.sha256 for m in again.members_] == [m.artifact.sha256 for m in fitted.members_]


def test_it_can_be_pickled(fitted, data):
    frame, _ = data
    copied = pickle.loads(pickle.dumps(fitted))  # scikit-learn's users do so with every estimator
    assert np.array_equal(copied.predict_proba(frame), fitted.predict_proba(frame))


def test_regression_on_arrays_with_weights_and_groups():
    x, y = load_diabetes(return_X_y=True)
    groups = np.arange(len(y)) // 4
    model = CompactRegressor(budget=2, metric="mae").fit(x, y, sample_weight=np.ones(len(y)), groups=groups)
    assert model.score(x, y) > 0.35
    assert model.metric_ == "mae"
    assert model.n_features_in_ == 10


def test_the_last_rows_in_time_validate():
    rng = np.random.default_rng(0)
    x, times = rng.normal(size=(400, 2)), pd.date_range("2026-01-01", periods=400, freq="h")
    y = x[:, 0] + 100 * (np.arange(400) >= 320)  # only what comes last is far from what a model can know
    model = CompactRegressor(budget=2).fit(x, y, times=times)
    assert model.leaderboard()["error"].min() > 50


def test_directions_are_kept(data):
    frame, y = data
    model = CompactClassifier(budget=2, monotone={"income": 1}).fit(frame, y)
    row = frame.iloc[[1]]
    rising = pd.concat([row.assign(income=float(value)) for value in range(0, 120, 5)])
    for member in model.members_:
        shares = model.best_under(bytes=member.artifact.size).predict_proba(rising)[:, 1]
        assert (np.diff(shares) >= -1e-6).all()


def test_what_is_said_of_columns_reaches_the_file(data):
    frame, y = data
    coded = frame.assign(income=frame.income.fillna(-9), zip=np.arange(len(frame)) % 3)
    model = CompactClassifier(
        budget=3,
        families=["linear", "additive"],
        types={"zip": "category"},
        missing_codes={"income": [-9]},
        forbid=["age"],
    ).fit(coded, y)
    card = model.artifact_.card
    assert {column["name"]: column["kind"] for column in card["columns"]} == {
        "income": "number",
        "town": "category",
        "owner": "boolean",
        "zip": "category",
    }
    assert card["forbidden_columns"] == ["age"]
    assert all(member.point.candidate["family"] in ("linear", "additive") for member in model.members_)
    missing = coded.assign(income=np.nan)
    assert np.array_equal(model.predict_proba(coded.assign(income=-9)), model.predict_proba(missing))
    assert np.array_equal(model.predict_proba(coded.assign(age=0)), model.predict_proba(coded))


def test_costs_move_the_labels_and_are_in_the_order_of_the_classes(data):
    frame, y = data
    labels = np.where(y == "paid", 2, 10)  # as text 10 comes before 2
    dear = CompactClassifier(budget=2, costs=[[0, 1], [50, 0]]).fit(frame, labels)  # a 10 that is called 2 is dear
    cheap = CompactClassifier(budget=2, costs=[[0, 50], [1, 0]]).fit(frame, labels)
    assert dear.classes_.tolist() == [2, 10]
    assert (dear.predict(frame) == 10).mean() > (labels == 10).mean() > (cheap.predict(frame) == 10).mean()
    assert ((dear.predict(frame) == 2) & (labels == 10)).sum() <= 2


def test_costs_of_three_classes_decide_row_by_row():
    frame, _ = loans(300)
    labels = np.array(["b", "a", "c"])[np.digitize(frame.income.fillna(50) + 8 * np.sin(np.arange(300)), [42, 58])]
    costs = [[0, 1, 1], [9, 0, 9], [1, 1, 0]]
    model = CompactClassifier(budget=2, costs=costs).fit(frame, labels)
    expected = model.predict_proba(frame) @ np.array(costs)
    assert (model.predict(frame) == model.classes_[expected.argmin(axis=1)]).all()
    assert (model.predict(frame) == "b").sum() > (model.predict_proba(frame).argmax(axis=1) == 1).sum()


def test_a_threshold_is_chosen_by_a_metric_of_labels(data):
    frame, y = data
    model = CompactClassifier(budget=2, threshold="balanced_accuracy").fit(frame, y)
    threshold = model.artifact_.card["decision"]["threshold"]
    assert ((model.predict(frame) == "paid") == (model.predict_proba(frame)[:, 1] >= threshold)).all()
    chosen = model.best_under(bytes=100_000)
    assert set(chosen.predict(frame)) == {"lost", "paid"}


def test_it_works_in_cross_validation(data):
    frame, y = data
    assert cross_val_score(CompactClassifier(budget=2), frame, y, cv=2, scoring="roc_auc").min() > 0.75


@pytest.mark.parametrize("kind", [CompactClassifier, CompactRegressor])
def test_what_was_found_before_ctrl_c_predicts(data, monkeypatch, kind):
    searched = automl.search.run

    def interrupted(*given, **named):
        return replace(searched(*given, **named), stop=KeyboardInterrupt())

    monkeypatch.setattr("automl.search.run", interrupted)
    x, y = data
    target = y if kind is CompactClassifier else np.arange(len(x)) + 0.5
    model = kind(budget=2)
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, target)
    assert len(model.predict(x)) == len(x)


def test_errors_say_what_to_do(data):
    frame, y = data
    with pytest.raises(NotFittedError):
        CompactClassifier().predict(frame)
    with pytest.raises(NotFittedError):
        CompactClassifier().leaderboard()
    with pytest.raises(SettingsError, match="budget must be at least 1, got 0"):
        CompactClassifier(budget=0).fit(frame, y)
    with pytest.raises(SettingsError, match="monotone has no column 'incme'; did you mean 'income'"):
        CompactClassifier(monotone={"incme": 1}).fit(frame, y)
    with pytest.raises(SettingsError, match="metric must be one of"):
        CompactClassifier(metric="rmse").fit(frame, y)
    with pytest.raises(SettingsError, match="has no 'linaer'; did you mean 'linear'"):
        CompactClassifier(families=["linaer"]).fit(frame, y)
    with pytest.raises(SettingsError, match="costs must be 2 rows of 2 numbers"):
        CompactClassifier(costs=[[0, 1, 1], [1, 0, 1]]).fit(frame, y)
    with pytest.raises(SettingsError, match="exclude each other"):
        CompactClassifier(threshold="f1", costs=[[0, 1], [1, 0]]).fit(frame, y)
    with pytest.raises(DataError, match="agee"):
        CompactClassifier(forbid=["agee"]).fit(frame, y)
    with pytest.raises(AttributeError, match="Compactor"):
        _ = automl.Compactor
