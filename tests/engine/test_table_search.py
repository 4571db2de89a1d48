"""From a file as people have it to a finished model that takes such rows: dates, codes, groups, thresholds."""

import json

import numpy as np
import pandas as pd
import pytest
from toy import Toy

from engine import evaluate, predict
from engine.artifact import Artifact
from engine.errors import DataError
from engine.launch import search
from engine.load import DataSettings, load_frame
from engine.search_settings import Named, SearchSettings
from engine.threshold import ThresholdSettings
from engine.winners import FinishSettings

ROWS = 300


def people(seed=0):
    """Rows whose four inputs are an age and three parts of a date."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.integers(1, 9, ROWS),
            "visit": pd.Timestamp("1970-01-01") + pd.to_timedelta(rng.integers(0, 31, ROWS), unit="D"),
            "sex": rng.choice(["f", "m"], ROWS),
            "secret": rng.normal(size=ROWS),
        }
    )
    frame["high"] = np.where(frame.age + rng.normal(size=ROWS) > 6, 1, 0)
    return frame


def settings(**given):
    made = {"finish": FinishSettings(members=1), "budget": 3, "workers": 1, "backend": "serial", "quiet": True} | given
    backend = SearchSettings().backend
    return SearchSettings(**made | {"backend": type(backend)("serial"), "sampler": Named("random")})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    path = folder / "people.csv"
    people().to_csv(path, index=False)
    data = DataSettings("csv", path=str(path), target="high", forbid=["secret"], protect=["sex"], missing_codes=[-9])
    given = settings(run=str(folder / "run"), data=data, metric="auc", threshold=ThresholdSettings(metric="f1"))
    run = search(given, lambda loaded: (given, Toy()), name="toy")
    return run, path


def test_the_card_tells_columns_decision_and_groups(finished):
    run, _ = finished
    card = json.loads((run.folder / "front/00/card.json").read_text())
    assert card["columns"] == [
        {"name": "age", "kind": "number", "missing_codes": ["-9"]},
        {"name": "visit", "kind": "date", "missing_codes": ["-9"]},
    ]
    assert card["numeric_columns"] == ["age", "visit:days", "visit:day", "visit:weekday"]
    assert (card["forbidden_columns"], card["protected_columns"]) == (["secret"], ["sex"])
    assert card["decision"]["by"] == "f1"
    assert 0 <= card["decision"]["threshold"] <= 1
    assert sum(entry["rows"] for entry in card["groups"]["sex"]) == card["test"]["rows"]


def test_a_table_is_predicted_as_the_file_was_read(finished):
    run, path = finished
    artifact = Artifact.load(run.folder / "front/00")
    frame = pd.read_csv(path)
    outputs = artifact.outputs(frame)
    typed = frame.assign(visit=pd.to_datetime(frame.visit))[["visit", "age"]]
    assert np.array_equal(artifact.outputs(typed), outputs)
    assert np.array_equal(artifact.outputs(artifact.inputs_of(frame)), outputs)
    threshold = artifact.card["decision"]["threshold"]
    assert artifact.predict(frame).tolist() == np.where(outputs[:, 1] >= threshold, "1", "0").tolist()
    with pytest.raises(DataError, match=r"The table must have the columns of the model, it lacks visit\."):
        artifact.predict(frame[["age"]])


def test_commands_answer_by_threshold_and_groups(finished, tmp_path, capsys):
    run, path = finished
    model, out = run.folder / "front/00", tmp_path / "scored.csv"
    assert predict.main([f"model={model}", f"data={path}", f"out={out}"]) == 0
    scored, frame = pd.read_csv(out), pd.read_csv(path)
    threshold = Artifact.load(model).card["decision"]["threshold"]
    assert ((scored.p_1 >= threshold) == (scored.label == 1)).all()
    capsys.readouterr()
    assert evaluate.main([f"model={model}", f"data={path}", "target=high", "group=age", "metric=f1", "json=true"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["error"] == pytest.approx((scored.label != frame.high).mean())
    assert set(result["groups"]) == {"age", "sex"}
    women = next(entry for entry in result["groups"]["sex"] if entry["group"] == "f")
    assert women["rows"] == (frame.sex == "f").sum()
    assert women["positive_rate"] == pytest.approx((scored.label[frame.sex == "f"] == 1).mean())
    assert evaluate.main([f"model={model}", f"data={path}", "target=high"]) == 0
    text = capsys.readouterr().out
    assert "error by auc: " in text
    assert "true positive rate" in text


def test_a_frame_in_memory_is_searched_as_a_file(finished, tmp_path):
    run, _ = finished
    frame = people()
    data = DataSettings("frame", forbid=["secret"], protect=["sex"], missing_codes=[-9])
    given = settings(run=str(tmp_path / "run"), data=data, metric="auc", threshold=ThresholdSettings(metric="f1"))
    loaded = load_frame(frame.drop(columns="high"), frame.high, settings=data)
    again = search(given, lambda loaded: (given, Toy()), name="toy", loaded=loaded)
    assert [member.artifact.sha256 for member in again.members] == [member.artifact.sha256 for member in run.members]


def test_without_test_rows_nothing_is_measured_on_them(tmp_path):
    frame = people()
    data = DataSettings("frame", drop=["secret", "sex"], test_share=0)
    given = settings(run=str(tmp_path / "run"), data=data)
    loaded = load_frame(frame.drop(columns="high"), frame.high, settings=data)
    run = search(given, lambda loaded: (given, Toy()), name="toy", loaded=loaded)
    assert run.members[0].artifact.card["test"] is None
