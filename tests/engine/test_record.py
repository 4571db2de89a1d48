"""Run folders: what was recorded stays, what differs is named."""

import json
import subprocess
import sys

import pytest
import yaml
from toy import candidate

from engine.artifact import Artifact
from engine.errors import RecordError, StudyError
from engine.record import RunFolder
from engine.trial import Point, State, Trial

SETTINGS = {
    "data": {"name": "npz", "path": "/old/x.npz", "test_share": 0.3},
    "backend": {"name": "serial"},
    "budget": 10,
    "seed": 1,
    "workers": 2,
    "run": "runs/a",
    "metric": "accuracy",
    "max_bytes": 1000,
    "train": {"steps": 10, "epochs": 2.0},
    "space": {"name": "cells", "widths": [4, 8]},
    "finish": {"members": 2, "effort": 3.0},
    "lag": 4,
    "digest": "d" * 64,
}


def trial_of(number, *, state=State.COMPLETE, error=""):
    points = (Point(candidate(number + 1), {"error": 1 / (number + 1), "bytes": 100.0}, "ab" * 32),)
    return Trial(number, candidate(number + 1), state, points, 0.5, 7, error)


@pytest.fixture
def folder(tmp_path):
    made = RunFolder(tmp_path / "run")
    made.open(SETTINGS)
    return made


def changed(**given):
    made = json.loads(json.dumps(SETTINGS))
    for name, value in given.items():
        place, *inner = name.split("__")
        if inner:
            made[place][inner[0]] = value
        else:
            made[place] = value
    return made


def filled(folder, count=3):
    for number in range(count):
        folder.append(trial_of(number))
    return [trial_of(number) for number in range(count)]


def test_a_new_folder_holds_its_settings(tmp_path):
    path = tmp_path / "deep" / "run"
    settings, recorded = RunFolder(path).open(SETTINGS)
    assert settings == SETTINGS
    assert recorded == {}
    assert yaml.safe_load((path / "settings.yaml").read_text()) == SETTINGS
    assert [entry.name for entry in path.iterdir()] == ["settings.yaml"]


def test_an_empty_folder_is_a_new_one(tmp_path):
    (tmp_path / "run").mkdir()
    assert RunFolder(tmp_path / "run").open(SETTINGS)[1] == {}


def test_trials_come_back_as_they_were_recorded(folder):
    trials = [
        trial_of(0),
        trial_of(1, state=State.FAILED, error="Zeile 1\nline 2 \N{LINE SEPARATOR} \N{SNOWMAN}"),
        Trial(2, candidate(1), State.CACHED, trial_of(0).points, twin=0),
        Trial(3, candidate(2), State.OVERSIZED),
    ]
    for trial in trials:
        folder.append(trial)
    assert folder.load() == {trial.number: trial for trial in trials}
    assert len(folder.trials_path.read_bytes().splitlines()) == len(trials)
    assert folder.open(SETTINGS)[1] == folder.load()


def test_errors_that_are_not_finite_survive(folder):
    folder.append(Trial(0, candidate(1), State.COMPLETE, (Point(candidate(1), {"error": float("inf")}),)))
    assert folder.load()[0].points[0].values["error"] == float("inf")


@pytest.mark.parametrize("torn", ['{"number": 3, "sta', "{", '{"number":3}', "\0\0\0\0"])
def test_a_torn_last_line_is_cut_off(folder, torn):
    trials = filled(folder)
    whole = folder.trials_path.read_bytes()
    with folder.trials_path.open("a") as record:
        record.write(torn)
    assert list(folder.load().values()) == trials
    assert folder.trials_path.read_bytes() == whole
    folder.append(trial_of(3))
    assert sorted(folder.load()) == [0, 1, 2, 3]


def test_a_record_of_one_torn_line_is_empty(folder):
    folder.trials_path.write_text('{"number": 0')
    assert folder.load() == {}
    assert folder.trials_path.read_bytes() == b""


@pytest.mark.parametrize(
    "line", ["{", "3", "null", "[]", "", "{}", '{"number": 1}', '"text"', '{"number":1,"state":"odd"}']
)
def test_a_damaged_line_in_the_middle_is_named_with_the_remedy(folder, line):
    filled(folder)
    lines = folder.trials_path.read_text().splitlines()
    lines[1] = line
    folder.trials_path.write_text("\n".join(lines) + "\n")
    with pytest.raises(
        RecordError, match=r"trials\.jsonl, line 2 is damaged \(.*\)\. Delete the line: its trial runs again\."
    ):
        folder.open(SETTINGS)


def test_bytes_that_are_no_text_are_a_damaged_line(folder):
    filled(folder)
    folder.trials_path.write_bytes(b"\xff\xfe\n" + folder.trials_path.read_bytes())
    with pytest.raises(RecordError, match=r"line 1 is damaged"):
        folder.load()


def test_a_line_nested_without_end_is_a_damaged_line(folder):
    folder.trials_path.write_text("[" * 100_000 + "\n")
    with pytest.raises(RecordError, match=r"line 1 is damaged"):
        folder.load()


def test_the_remedy_works(folder):
    trials = filled(folder)
    lines = folder.trials_path.read_text().splitlines(keepends=True)
    folder.trials_path.write_text(lines[0] + lines[2])
    assert folder.load() == {0: trials[0], 2: trials[2]}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"seed": 2}, r"  seed: 1 in the run, 2 now"),
        ({"metric": "auc"}, r"  metric: accuracy in the run, auc now"),
        ({"max_bytes": None}, r"  max_bytes: 1000 in the run, None now"),
        ({"train__steps": 11}, r"  train\.steps: 10 in the run, 11 now"),
        ({"space__widths": [4]}, r"  space\.widths: \[4, 8\] in the run, \[4\] now"),
        ({"digest": "e" * 64}, r"  the data \(its digest\): d{37}\.\.\. in the run, e{37}\.\.\. now"),
        ({"new": 3}, r"  new: None in the run, 3 now"),
        ({"train": None}, r"  train: \{'steps': 10, 'epochs': 2\.0\} in the run, None now"),
    ],
)
def test_a_setting_that_decides_the_trials_and_differs_is_named(folder, changes, text):
    before = (folder.path / "settings.yaml").read_text()
    with pytest.raises(RecordError, match=text) as caught:
        folder.open(changed(**changes))
    assert str(caught.value).startswith(
        f"run={folder.path} holds another search. Use its settings to go on with it, or another folder for a new one. "
        "These differ:\n  "
    )
    assert (folder.path / "settings.yaml").read_text() == before


def test_all_that_differs_is_told_at_once(folder):
    with pytest.raises(RecordError) as caught:
        folder.open(changed(seed=3, train__epochs=1.0, metric="auc", budget=99, data__test_share=0.5, digest="0"))
    lines = [line for line in str(caught.value).splitlines() if line.startswith("  ")]
    assert [line.split(":")[0].strip() for line in lines] == [
        "data.test_share", "seed", "metric", "train.epochs", "the data (its digest)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"budget": 50},
        {"workers": 8},
        {"seconds": 60},
        {"backend__name": "processes"},
        {"run": "elsewhere"},
        {"quiet": True},
        {"storage": "sqlite:///x.db"},
        {"finish__members": 9},
        {"teacher": "t.onnx"},
    ],
)
def test_how_long_how_fast_and_how_shown_may_differ(folder, changes):
    settings, _ = folder.open(changed(**changes))
    assert settings == changed(**changes)
    assert yaml.safe_load((folder.path / "settings.yaml").read_text()) == settings


def test_equal_data_may_have_moved_and_other_data_may_not(folder):
    folder.open(changed(data__path="/new/x.npz"))
    with pytest.raises(RecordError, match=r"data\.path: /new/x\.npz in the run, /old/x\.npz now"):
        folder.open(changed(digest="e"))


def test_the_lag_of_a_run_stays(folder):
    settings, _ = folder.open(changed(lag=16, workers=8))
    assert settings["lag"] == 4
    assert yaml.safe_load((folder.path / "settings.yaml").read_text())["lag"] == 4


def test_a_folder_of_other_things_is_refused_untouched(tmp_path):
    (tmp_path / "thesis.tex").write_text("text")
    with pytest.raises(RecordError, match=r"is not a run folder: it has no settings\.yaml\. Name a new folder"):
        RunFolder(tmp_path).open(SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_run_folder(tmp_path):
    (tmp_path / "run").write_text("text")
    with pytest.raises(RecordError, match=r"is not a run folder"):
        RunFolder(tmp_path / "run").open(SETTINGS)


def test_a_folder_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "run").write_text("text")
    with pytest.raises(StudyError, match=r"cannot be written: Not a directory\."):
        RunFolder(tmp_path / "run" / "inner").open(SETTINGS)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a: [\n", r"settings\.yaml is damaged: "),
        ("", r"settings\.yaml is not the settings file of a run\."),
        ("- 1\n", r"settings\.yaml is not the settings file of a run\."),
        ("seed: 1\n", r"settings\.yaml is not the settings file of a run\."),
        ("!!python/object:os.system 1\n", r"settings\.yaml is damaged: "),
    ],
)
def test_settings_that_are_none_are_named(folder, content, text):
    (folder.path / "settings.yaml").write_text(content)
    with pytest.raises(RecordError, match=text):
        folder.open(SETTINGS)


def test_settings_that_are_no_text_are_named(folder):
    (folder.path / "settings.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(RecordError, match=r"settings\.yaml is damaged"):
        folder.open(SETTINGS)


def test_kept_files_are_verified(folder):
    artifact, other = Artifact(b"some model", {"parity": 0}), Artifact(b"another one")
    folder.keep(artifact)
    folder.keep(artifact)
    kept = folder.kept(artifact.sha256)
    assert kept is not None
    assert (kept.model, kept.card) == (b"some model", {"parity": 0})
    assert folder.kept(other.sha256) is None
    place = folder.path / "files" / f"{artifact.sha256}.onnx"
    for content in (b"some mode", b"", b"Some model"):
        place.write_bytes(content)
        assert folder.kept(artifact.sha256) is None


@pytest.mark.parametrize("content", [b"{", b"3", b"\xff"])
def test_a_kept_file_whose_card_is_damaged_is_gone(folder, content):
    artifact = Artifact(b"some model", {"parity": 0})
    folder.keep(artifact)
    (folder.path / "files" / f"{artifact.sha256}.json").write_bytes(content)
    assert folder.kept(artifact.sha256) is None


def test_a_changed_file_is_kept_anew(folder):
    artifact = Artifact(b"some model")
    folder.keep(artifact)
    (folder.path / "files" / f"{artifact.sha256}.onnx").write_bytes(b"torn")
    folder.keep(artifact)
    assert folder.kept(artifact.sha256) is not None


def test_files_that_left_the_front_are_forgotten(folder):
    first, second = Artifact(b"one"), Artifact(b"two")
    folder.keep(first)
    folder.keep(second)
    folder.forget({second.sha256})
    assert {path.stem for path in (folder.path / "files").iterdir()} == {second.sha256}
    assert folder.kept(first.sha256) is None
    assert folder.kept(second.sha256) is not None


def test_texts_are_written_whole(folder):
    folder.write_text("report.html", "long" * 100)
    folder.write_text("report.html", "\N{SNOWMAN}")
    assert (folder.path / "report.html").read_text() == "\N{SNOWMAN}"
    assert not list(folder.path.glob(".*"))


FULL_DISK = """
import resource, sys
from pathlib import Path
sys.path[:0] = [{tests!r}, {root!r}]
from engine.artifact import Artifact
from engine.errors import StudyError
from engine.record import RunFolder
from toy import candidate
from engine.trial import State, Trial

folder = RunFolder(Path({path!r}))
folder.open({{"lag": 1, "text": "short"}})
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
written = 0
try:
    for number in range(1000):
        folder.append(Trial(number, candidate(1), State.COMPLETE))
        written += 1
except StudyError as error:
    print(written)
    print(error)
for write in (
    lambda: folder.keep(Artifact(b"x" * 3000)),
    lambda: folder.write_text("report.html", "x" * 3000),
    lambda: folder.open({{"lag": 1, "text": "short", "teacher": "x" * 3000}}),
):
    try:
        write()
    except StudyError as error:
        print(error)
"""


def test_a_full_disk_stops_the_study_with_the_record_whole(tmp_path, request):
    """A limit on the size of files is met in the middle of a line, as a full disk is."""
    path, root = tmp_path / "run", request.config.rootpath
    code = FULL_DISK.format(tests=str(root / "tests"), root=str(root), path=str(path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    written, *messages = done.stdout.splitlines()
    wanted = (
        f"{path} cannot be written: the disk is full. What was recorded before is safe; "
        f"mend that and go on with run={path}."
    )
    assert messages == [wanted] * 4
    folder = RunFolder(path)
    assert int(written) > 5
    assert folder.trials_path.stat().st_size == 2000  # the last line is torn
    assert sorted(folder.load()) == list(range(int(written)))
    assert folder.open({"lag": 1, "text": "short"})[0] == {"lag": 1, "text": "short"}
    assert not (path / "report.html").exists()
    folder.append(trial_of(int(written)))
    assert sorted(folder.load()) == list(range(int(written) + 1))


def test_a_folder_that_is_closed_to_this_account_is_told(folder, monkeypatch):
    def closed(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.exists", closed)
    with pytest.raises(
        RecordError, match=r"cannot be read: Permission denied\. Name a folder that is open to this acc"
    ):
        folder.verify(SETTINGS)
