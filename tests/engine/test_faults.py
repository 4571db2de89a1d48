"""Nothing that happens to a search loses what was recorded. Faults strike after a recorded trial, not by the clock."""

import json
import os
import random
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from toy_search import searched

from engine.errors import RecordError
from engine.lock import LOCK_NAME, locked
from engine.record import RunFolder

SCRIPT = Path(__file__).parents[1] / "toy_search.py"
PATIENCE_SECONDS = 240


def command(**given):
    """Run the toy search in a process group of its own."""
    arguments = [f"{key}={value}" for key, value in given.items()]
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])},
    )


def recorded(folder):
    lines = (folder / "trials.jsonl").read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def untimed(folder):
    return sorted(({**trial, "seconds": 0} for trial in recorded(folder)), key=lambda trial: trial["number"])


def files(folder):
    return [path.read_bytes() for path in sorted(folder.glob("front/*/model.onnx"))]


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calm") / "run"
    searched(folder)
    return folder


def is_as_calm(folder, calm):
    searched(folder)
    assert untimed(folder) == untimed(calm)
    assert files(folder) == files(calm)


@pytest.mark.parametrize("backend", ["serial", pytest.param("processes", marks=pytest.mark.slow)])
def test_a_killed_driver_loses_nothing(tmp_path, calm, backend):
    done = command(run=tmp_path / "run", fault="kill", after=5, backend=backend)
    assert done.returncode == -9
    before = recorded(tmp_path / "run")
    assert len(before) == 5
    is_as_calm(tmp_path / "run", calm)  # its lock ended with it
    assert recorded(tmp_path / "run")[:5] == before


@pytest.mark.parametrize("backend", ["serial", pytest.param("processes", marks=pytest.mark.slow)])
def test_a_scheduler_that_terminates_gets_the_front_so_far_and_the_command_that_goes_on(tmp_path, calm, backend):
    done = command(run=tmp_path / "run", fault="terminate", after=6, backend=backend)
    assert done.returncode == 128 + 15, done.stderr
    assert "Traceback" not in done.stderr
    last = shlex.split(done.stdout.splitlines()[-1])
    assert last[:6] == ["Go", "on", "with:", "python", "-m", "toy.search"]
    assert f"run={tmp_path / 'run'}" in last
    folder = tmp_path / "run"
    assert len(recorded(folder)) == 6
    assert files(folder)
    assert (folder / "report.html").exists()
    assert all(json.loads(card.read_text())["test"] is None for card in folder.glob("front/*/card.json"))
    is_as_calm(folder, calm)
    assert all(json.loads(card.read_text())["test"] for card in folder.glob("front/*/card.json"))


@pytest.mark.slow
def test_a_full_disk_is_told_and_mended(tmp_path, calm):
    done = command(run=tmp_path / "run", fault="full", after=4)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {tmp_path / 'run'} cannot be written: the disk is full. What was recorded before is safe; "
        f"mend that and go on with run={tmp_path / 'run'}.\n"
    )
    assert len(recorded(tmp_path / "run")) == 4
    is_as_calm(tmp_path / "run", calm)


@pytest.fixture
def open_path():
    """A folder that other accounts may read; pytest closes its own to them."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        yield Path(place)


READ_ONLY = """
import os, sys
sys.path.insert(0, {tests!r})
from toy_search import main
if os.getuid() == 0:  # whom no folder is closed to
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
sys.exit(main(["run=" + {run!r}]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="folders are closed in other ways there")
@pytest.mark.parametrize("is_started", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["before", "later"])
def test_a_folder_that_cannot_be_written_is_told(open_path, calm, is_started):
    place = open_path / "closed"
    place.mkdir()
    if is_started:
        for name in ("settings.yaml", "trials.jsonl"):
            (place / name).write_bytes((calm / name).read_bytes())
    place.chmod(0o555)
    run = place if is_started else place / "run"
    code = READ_ONLY.format(tests=str(SCRIPT.parent), run=str(run))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr == (
        f"error: {run} cannot be written: Permission denied. What was recorded before is safe; "
        f"mend that and go on with run={run}.\n"
    )


def test_a_second_driver_is_refused_and_the_first_one_goes_on(tmp_path, calm):
    folder = tmp_path / "run"
    searched(folder, budget=6)
    before = {path: path.read_bytes() for path in folder.glob("*.*")}
    with (
        locked(folder),
        pytest.raises(RecordError, match=rf"run={folder} is in use by process {os.getpid()} on .*, since"),
    ):
        searched(folder)
    assert {path: path.read_bytes() for path in folder.glob("*.*")} == before | {
        folder / LOCK_NAME: (folder / LOCK_NAME).read_bytes()
    }
    is_as_calm(folder, calm)


def test_a_clock_that_jumps_decides_nothing(tmp_path, calm, monkeypatch):
    draws, clock = random.Random(3), time.time
    monkeypatch.setattr(time, "time", lambda: clock() + draws.uniform(-1e6, 1e6))
    run = searched(tmp_path / "run", seconds=3600.0)
    assert run.study.stopped == "the budget is used up"
    assert [trial["number"] for trial in untimed(tmp_path / "run")] == [trial["number"] for trial in untimed(calm)]


def test_a_record_that_was_damaged_by_hand_is_named_and_its_trials_run_again(tmp_path, calm):
    folder = tmp_path / "run"
    searched(folder)
    path = folder / "trials.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], "#" + lines[1], *lines[2:5], lines[3], *lines[5:]]))
    with pytest.raises(RecordError) as caught:
        searched(folder)
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        f"{path}, line 2 is damaged (Expecting value",
        f"{path}, line 6 tells of trial {json.loads(lines[3])['number']} again. Delete the line.",
    ]
    path.write_text("".join([lines[0], *lines[2:]]))
    is_as_calm(folder, calm)


def test_a_record_of_thousands_of_damaged_lines_is_told_in_few(tmp_path):
    folder = RunFolder(tmp_path)
    folder.trials_path.write_text("#\n" * 4000)
    with pytest.raises(RecordError) as caught:
        folder.load()
    assert len(str(caught.value).splitlines()) == 6
    assert str(caught.value).endswith("and 3995 more lines.")
