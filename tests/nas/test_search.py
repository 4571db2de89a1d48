"""The whole command: in process as notebooks call it, and as a command line."""

import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import yaml

from engine.backends.settings import BackendSettings
from engine.errors import EngineError, RecordError, SettingsError
from engine.load import DataSettings, load
from engine.search_settings import Named
from engine.winners import FinishSettings
from nas import search
from nas.cells import CellsSettings
from nas.settings import Settings, TrainSettings

ROOT = Path(__file__).parents[2]
QUICK = (
    *("backend=serial", "train.steps=10", "train.epochs=0.1", "space.stages=2", "space.widths=[4,8]"),
    *("finish.members=1", "quiet=true"),
)
POLL_SECONDS, PATIENCE_SECONDS = 0.02, 250


def settings_of(folder, **given):
    return Settings(
        **{
            "budget": 3,
            "train": TrainSettings(steps=10, epochs=0.1),
            "space": CellsSettings(stages=2, widths=(4, 8)),
            "backend": BackendSettings("serial"),
            "finish": FinishSettings(members=2, refit=False),
            "run": str(folder),
            "quiet": True,
            **given,
        }
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One run that tests only read; those that go on with it copy the folder."""
    return search.run(settings_of(tmp_path_factory.mktemp("search") / "run"))


@pytest.fixture
def copied(finished, tmp_path):
    return Path(shutil.copytree(finished.folder, tmp_path / "copy"))


def members_of(folder):
    """Card, plain ONNX Runtime session and size of each member, in order."""
    for place in sorted((folder / "front").iterdir()):
        path = place / "model.onnx"
        card = json.loads((place / "card.json").read_text())
        yield card, onnxruntime.InferenceSession(str(path)), path.stat().st_size


def rescored(opened, rows, metric="accuracy"):
    outputs = opened.run(None, {"x": rows.x})[0]
    if metric == "accuracy":
        return (outputs.argmax(1) != rows.y).mean()
    return -np.log(np.clip(outputs[np.arange(len(rows)), rows.y], 1e-7, 1)).mean()


def trials_in(folder):
    return [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]


def test_the_run_folder_is_complete(finished):
    folder = finished.folder
    assert {"settings.yaml", "trials.jsonl", "front.csv", "front", "report.html", "front.png"} <= {
        path.name for path in folder.iterdir()
    }
    assert not list(folder.rglob("*.part"))
    assert not (folder / "data").exists()
    settings = yaml.safe_load((folder / "settings.yaml").read_text())
    assert settings["budget"] == 3
    assert settings["train"]["steps"] == 10
    assert len(settings["digest"]) == 64
    assert sum(trial["state"] in ("complete", "failed") for trial in trials_in(folder)) == 3
    assert len(finished.members) == len(list((folder / "front").iterdir())) > 0
    assert len((folder / "front.csv").read_text().splitlines()) == 1 + len(finished.members)
    for number, member in enumerate(finished.members):
        place = folder / "front" / f"{number:02d}"
        assert sorted(path.name for path in place.iterdir()) == ["card.json", "model.onnx"]
        assert (place / "model.onnx").read_bytes() == member.artifact.model
    assert (folder / "report.html").read_text().lstrip().lower().startswith("<!doctype html")
    assert (folder / "front.png").read_bytes().startswith(b"\x89PNG")
    assert not finished.is_interrupted
    assert finished.study.stopped == "the budget is used up"


def test_every_file_opens_plainly_and_has_the_errors_of_its_card(finished):
    loaded = load(DataSettings(), seed=0)
    valid, test = loaded.dataset.valid(0), loaded.test
    assert len(test) == 540
    for card, opened, size in members_of(finished.folder):
        assert card["bytes"] == size
        assert card["validation"]["error"] == pytest.approx(rescored(opened, valid))
        assert card["test"]["error"] == pytest.approx(rescored(opened, test))
        assert (card["validation"]["rows"], card["test"]["rows"]) == (len(valid), len(test))
        assert card["split"]["train_rows"] == len(loaded.dataset.splits[0].train)


def test_another_metric_is_that_of_search_finish_and_cards(tmp_path):
    run = search.run(settings_of(tmp_path / "run", metric="log_loss", budget=1))
    loaded = load(DataSettings(), seed=0)
    for card, opened, _ in members_of(run.folder):
        assert card["metric"] == "log_loss"
        assert card["validation"]["error"] == pytest.approx(rescored(opened, loaded.dataset.valid(0), "log_loss"), 1e-4)
        assert card["test"]["error"] == pytest.approx(rescored(opened, loaded.test, "log_loss"), 1e-4)
        assert card["validation"]["low"] is None


def test_a_card_tells_the_multiply_accumulates_of_its_file(tmp_path):
    space = CellsSettings(stages=1, widths=(8,), depths=(0,), keeps=(0.5,))
    run = search.run(settings_of(tmp_path / "run", space=space, budget=1, finish=FinishSettings(members=0)))
    [(card, _, _)] = members_of(run.folder)
    kept, positions = 4, 64 // card["candidate"]["stage0.stride"] ** 2
    assert card["parameters"] == 9 * kept + kept + 10 * kept + 10
    assert card["macs"] == positions * 9 * kept + 10 * kept


@pytest.mark.parametrize("cost", ["macs", "latency_us"])
def test_other_costs_are_searched_too(tmp_path, cost):
    run = search.run(settings_of(tmp_path / "run", cost=cost, budget=2, finish=FinishSettings(members=0)))
    assert run.members
    assert all(math.isfinite(point.values[cost]) and point.values[cost] > 0 for point in run.study.front)


def test_the_same_search_writes_the_same_files(finished, tmp_path):
    again = search.run(settings_of(tmp_path / "run", backend=BackendSettings("processes"), workers=2))
    assert [m.artifact.sha256 for m in again.members] == [m.artifact.sha256 for m in finished.members]


def test_a_larger_budget_goes_on(finished, copied):
    before = (copied / "trials.jsonl").read_text()
    longer = search.run(settings_of(copied, budget=5))
    assert (copied / "trials.jsonl").read_text().startswith(before)
    assert sum(trial["state"] in ("complete", "failed") for trial in trials_in(copied)) == 5
    assert len(list(members_of(copied))) == len(longer.members)
    assert yaml.safe_load((copied / "settings.yaml").read_text())["budget"] == 5
    hypervolumes = [run.study.front.hypervolume(cost=1e6) for run in (finished, longer)]
    assert hypervolumes[1] >= hypervolumes[0]


def test_a_finished_run_is_run_again_without_training(copied, monkeypatch):
    for module in ("nas.family", "nas.finish"):
        monkeypatch.setattr(f"{module}.train", lambda *_given, **_options: pytest.fail("it was trained"))
    before = {path: path.read_bytes() for path in copied.glob("front/*/model.onnx")}
    search.run(settings_of(copied))
    assert before
    assert {path: path.read_bytes() for path in copied.glob("front/*/model.onnx")} == before


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"seed": 1}, r"seed: 0 in the run, 1 now"),
        ({"train": TrainSettings(steps=11, epochs=0.1)}, r"train\.steps: 10 in the run, 11 now"),
        ({"sampler": Named("random")}, r"sampler\.name: pareto in the run, random now"),
    ],
)
def test_another_search_in_the_same_folder_is_refused(copied, changes, text):
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    with pytest.raises(RecordError, match=text):
        search.run(settings_of(copied, **changes))
    assert {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"max_bytes": 10}, r"max_bytes=10 cannot be met: the smallest candidate of this space has \d+ bytes\."),
        ({"min_bytes": 70_000}, r"min_bytes must be less than max_bytes=65536, got 70000\."),
        ({"min_bytes": 0}, r"min_bytes must be at least 1, got 0\."),
        ({"min_bytes": 9, "cost": "macs"}, r"min_bytes is for bytes as the second axis, but cost=macs; leave one"),
        ({"max_macs": 1}, r"max_macs=1 cannot be met: the smallest candidate of this space has \d+ multiply-acc"),
        ({"metric": "acuracy"}, r"metric must be one of .*, got 'acuracy'; did you mean 'accuracy'\?"),
        ({"teacher": "none.onnx"}, r"none\.onnx cannot be read: No such file or directory\."),
        ({"data": DataSettings(name="wine")}, r"The space cells classifies images .*, got a table for classification"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_a_folder_is_made(tmp_path, changes, text):
    with pytest.raises(EngineError, match=text):
        search.run(settings_of(tmp_path / "run", **changes))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "changes",
    [{"sampler": Named("paretto")}, {"backend": BackendSettings("serail")}, {"storage": "nowhere"}],
    ids=["sampler", "backend", "storage"],
)
def test_a_mistyped_choice_is_refused_before_a_folder_is_made(tmp_path, changes):
    with pytest.raises(EngineError):
        search.run(settings_of(tmp_path / "run", **changes))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "values",
    [
        {"steps": -5},
        {"steps": 0},
        {"epochs": -1.0},
        {"batch_rows": 0},
        {"learning_rate": -0.1},
        {"smoothing": 2.0},
        {"shift": -1},
        {"teacher_share": 3.0},
    ],
    ids=lambda values: next(iter(values)),
)
def test_settings_of_training_out_of_range_are_refused(values):
    with pytest.raises(SettingsError, match=next(iter(values))):
        TrainSettings(**values)


@pytest.mark.parametrize("values", [{"members": -1}, {"effort": 0.0}, {"effort": -1.0}])
def test_settings_of_finishing_out_of_range_are_refused(values):
    with pytest.raises(SettingsError, match=next(iter(values))):
        FinishSettings(**values)


def test_a_user_without_validation_refit_gets_the_refit_file(tmp_path):
    """By default small data are refit: test errors are those of the file, validation errors those before the refit."""
    run = search.run(settings_of(tmp_path / "run", budget=2, finish=FinishSettings(members=1)))
    loaded = load(DataSettings(), seed=0)
    cards = [card for card, _, _ in members_of(run.folder)]
    assert any(card.get("refit") for card in cards)
    for card, opened, _ in members_of(run.folder):
        assert card["test"]["error"] == pytest.approx(rescored(opened, loaded.test))


# The command line, in process where it can be.


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run `nas.search.main` in an empty folder; return exit code, lines of stdout and of stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["nas.search"])

    def run(*arguments):
        code = search.main(list(arguments))
        told = capsys.readouterr()
        return code, told.out.splitlines(), told.err.splitlines()

    return run


def digits_like(**changes):
    rng = np.random.default_rng(0)
    arrays = {"x": rng.integers(0, 17, (60, 8, 8)).astype(np.float32), "y": np.arange(60) % 3}
    return {**arrays, **changes}


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        (digits_like(x=np.full((60, 8, 8), np.nan, np.float32)), r"NaN|not finite|finite"),
        (digits_like(y=np.zeros(60, np.int64)), r"must hold at least two classes, all rows are '0'\."),
        (digits_like(x=np.zeros((0, 8, 8)), y=np.zeros(0)), r"x must hold rows with values, got shape 0 x 8 x 8\."),
        (digits_like(y=np.arange(59)), r"y must have one value for each of the 60 rows of x, got shape 59\."),
        ({}, r"must hold arrays x and y, or x_train, y_train, x_test, y_test; it holds nothing\."),
        ({"x": np.zeros((60, 8, 8))}, r"must hold an array y; it holds x\."),
        (digits_like(x=np.zeros((60, 4))), r"The space cells classifies images"),
        (digits_like(y=np.linspace(0, 1, 60)), r"The space cells classifies images .* for regression"),
    ],
    ids=["nan", "one-class", "no-rows", "uneven", "empty", "no-y", "table", "regression"],
)
def test_data_that_cannot_be_used_are_one_clear_line(command, tmp_path, arrays, text):
    np.savez(tmp_path / "x.npz", **arrays)
    code, out, err = command("data=npz", "data.path=x.npz", "budget=2", *QUICK)
    assert code == 2
    assert out == []
    assert len(err) == 1
    assert err[0].startswith("error: ")
    assert re.search(text, err[0])
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "error: data.path: x.npz does not exist."),
        (b"", "error: data.path: x.npz is empty."),
        (b"no archive", "error: x.npz must be a readable npz or npy file: "),
    ],
    ids=["missing", "empty", "text"],
)
def test_a_file_that_is_none_is_one_clear_line(command, tmp_path, content, text):
    if content is not None:
        (tmp_path / "x.npz").write_bytes(content)
    before = sorted(tmp_path.iterdir())
    code, out, err = command("data=npz", "data.path=x.npz", "budget=2", *QUICK)
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].startswith(text)
    assert sorted(tmp_path.iterdir()) == before


def test_a_command_ends_with_the_front_and_how_to_search_on(command, tmp_path):
    code, out, err = command("budget=2", "run=my run", *QUICK)
    assert (code, err) == (0, [])
    assert out[-1] == f"Search on with: python -m nas.search {shlex.join(QUICK)} 'run=my run' budget=4"
    assert "Files: my run/front   Report: my run/report.html" in out
    assert any(line.startswith("Trials: 2 complete") for line in out)
    assert [path.name for path in tmp_path.iterdir()] == ["my run"]
    code, _, _ = command(*shlex.split(out[-1].removeprefix("Search on with: "))[3:-1], "budget=3")
    assert code == 0
    assert sum(trial["state"] == "complete" for trial in trials_in(tmp_path / "my run")) == 3


def spawned(arguments, cwd):
    return subprocess.Popen(
        [sys.executable, "-m", "nas.search", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background ignore Ctrl-C
    )


def test_everything_that_is_mistyped_is_told_at_once(tmp_path):
    arguments = ["bugdet=3", "seed=abc", "train.stepz=4", "workers=1.5", "data.pth=x", "run=out", "metric=[a]"]
    process = spawned(arguments, tmp_path)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 2
    assert out == ""
    lines = err.splitlines()
    assert all(line.startswith("error: ") for line in lines)
    assert "Traceback" not in err
    for part in (
        "Unknown key bugdet; did you mean budget?",
        "seed must be an integer, got 'abc'.",
        "Unknown key train.stepz; did you mean train.steps?",
        "workers must be an integer, got 1.5.",
        "Unknown key data.pth; did you mean data.path?",
        "metric must be a text, got ['a'].",
    ):
        assert sum(part in line for line in lines) == 1, part
    assert len(lines) == 6
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("backend", ["serial", pytest.param("processes", marks=pytest.mark.slow)])
def test_interrupted_it_writes_the_front_and_goes_on_later(command, tmp_path, backend):
    arguments = [f"backend={backend}", "workers=1", *QUICK[1:]]
    process = spawned([*arguments, "budget=1000", "run=out"], tmp_path)
    record, until = tmp_path / "out" / "trials.jsonl", time.monotonic() + PATIENCE_SECONDS
    try:
        while not record.exists() or record.read_bytes().count(b"\n") < 2:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(POLL_SECONDS)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    last = out.splitlines()[-1]
    assert last == f"Go on with: python -m nas.search {shlex.join(arguments)} run=out budget=1000"
    folder = tmp_path / "out"
    for name in ("front.csv", "report.html", "front.png"):
        assert (folder / name).exists(), name
    written = list(members_of(folder))
    assert written
    assert all(card["finished"] is False and card["test"] for card, _, _ in written)
    before = trials_in(folder)
    paid = sum(trial["state"] in ("complete", "failed") for trial in before)
    if backend == "processes":
        return  # going on is the same for all backends, and workers take seconds to start
    code, out, err = command(*shlex.split(last.removeprefix("Go on with: "))[3:-1], f"budget={paid + 1}")
    assert (code, err) == (0, [])
    after = trials_in(folder)
    assert after[: len(before)] == before
    assert sum(trial["state"] in ("complete", "failed") for trial in after) == paid + 1
    assert [trial["number"] for trial in sorted(after, key=lambda trial: trial["number"])] == list(range(len(after)))
