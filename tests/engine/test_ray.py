"""Ray on this machine: what a user without a cluster sees. Clusters are in test_ray_cluster.py."""

import importlib.util
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from ray_nodes import files, left_when_it_runs, living_workers, outcome, recorded, search
from toy_search import searched

from engine.backends.ray import Ray
from engine.backends.registry import backend_for
from engine.backends.serial import Serial
from engine.backends.settings import BackendSettings
from engine.deadline import Deadline
from engine.errors import BackendError, MissingExtraError, SettingsError
from engine.space import Candidate
from engine.work import Build

LOCAL = BackendSettings(name="ray")


def places():
    """Return the folders of runs that are under way on this machine."""
    return set(Path("/tmp").glob("lilliput-*"))


def processes_that_name(word):
    listed = subprocess.run(["ps", "-eo", "args="], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if word in line]


def files_of(folder):
    return [path.read_bytes() for path in sorted(folder.glob("front/*/model.onnx"))]


def test_a_search_on_ray_is_the_search_that_serial_runs(tmp_path, capfd, monkeypatch):
    backend, before, used = Ray(LOCAL, workers=2), places(), set()

    def watch(study, marks):
        used.add(backend._place)
        if len(recorded(tmp_path / "ray")) == 6:
            os.kill(living_workers(marks)[0], signal.SIGKILL)

    study, error = search(backend, tmp_path / "ray", seconds=0.0, budget=16, watch=watch)
    assert error is None
    printed = capfd.readouterr()
    assert printed.out == printed.err == ""
    calm, _ = search(Serial(), tmp_path / "serial", seconds=0.0, budget=16)
    assert outcome(study) == outcome(calm)
    assert sorted(recorded(tmp_path / "ray")) == list(range(16))
    assert files(tmp_path / "ray", study) == files(tmp_path / "serial", calm)
    (place,) = used
    assert not place.exists()
    assert processes_that_name(place.name) == []
    assert places() <= before | (places() - used)


def test_the_driver_process_never_connects_to_ray():
    code = "import sys, engine.launch, engine.backends.ray; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else find(name))
    with pytest.raises(MissingExtraError, match=r"Backend 'ray' needs the package ray: pip install 'lilliput\[ray\]'"):
        backend_for(LOCAL, workers=1)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "grpc" else find(name))
    with pytest.raises(MissingExtraError, match=r"backend.address=ray://... needs the package grpcio"):
        backend_for(BackendSettings(name="ray", address="ray://head:10001"), workers=1)


def test_settings_are_checked_all_at_once():
    with pytest.raises(SettingsError) as caught:
        BackendSettings(name="processes", address="auto", cpus=0.0, gpus=1.5, data="path")
    assert str(caught.value).splitlines() == [
        "backend.cpus must be above 0, got 0.0.",
        "backend.gpus must be in [0, 1] or a whole number, got 1.5.",
        "backend.address needs backend=ray, got backend=processes.",
        "backend.cpus needs backend=ray, got backend=processes.",
        "backend.gpus needs backend=ray, got backend=processes.",
        "backend.data needs backend=ray, got backend=processes.",
    ]
    assert BackendSettings(name="ray", gpus=0.25).gpus == 0.25
    assert BackendSettings(name="ray", gpus=2).gpus == 2


def test_misuse_is_an_error():
    with pytest.raises(SettingsError, match="workers must be at least 1, got 0"):
        Ray(LOCAL, workers=0)
    backend = Ray(LOCAL, workers=1)
    with pytest.raises(BackendError, match=r"call start\(work\) before submit"):
        backend.submit(1)
    with pytest.raises(BackendError, match="Nothing is under way"):
        backend.wait()
    with pytest.raises(BackendError, match="cannot be sent to a worker process"):
        backend.start(threading.Lock().acquire)
    backend.close()


def test_a_cluster_that_is_not_there_is_told_at_the_start():
    backend, before = Ray(BackendSettings(name="ray", address="127.0.0.1:1"), workers=1), places()
    with pytest.raises(
        BackendError, match=r"^backend=ray on 127\.0\.0\.1:1: Nothing answers there \(Connection refused\)\.$"
    ):
        backend.start(abs)
    backend.close()
    assert places() <= before


@pytest.mark.slow
def test_the_time_a_trial_waits_for_its_slot_is_taken_from_what_it_has_left():
    backend = Ray(LOCAL, workers=1)
    backend.start(left_when_it_runs)
    for number in range(4):
        backend.submit(Build(number, Candidate.of({}), 0, Deadline.after(1000.0)))
    left = [backend.wait().result for _ in range(4)]
    backend.close()
    for earlier, later in itertools.pairwise(left):
        assert later <= earlier - 0.5
    assert left[0] > 900


@pytest.mark.slow
def test_a_killed_driver_loses_nothing_and_its_ray_ends_with_it(tmp_path):
    before = places()
    script = Path(__file__).parents[1] / "toy_search.py"
    arguments = [f"run={tmp_path / 'run'}", "backend=ray"]
    environment = {**os.environ, "PYTHONPATH": str(script.parents[1])}
    killed = subprocess.run(
        [sys.executable, str(script), *arguments, "fault=kill", "after=5"], env=environment, check=False,
        capture_output=True,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    lines = (tmp_path / "run" / "trials.jsonl").read_text().splitlines()
    assert len(lines) == 5
    for place in places() - before:
        while processes_that_name(place.name):
            time.sleep(0.1)  # a Ray that is left over would keep this test waiting for ever
    done = subprocess.run(
        [sys.executable, str(script), *arguments], env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    again = (tmp_path / "run" / "trials.jsonl").read_text().splitlines()
    assert again[:5] == lines
    calm = searched(tmp_path / "calm")
    assert files_of(tmp_path / "run") == files_of(tmp_path / "calm")
    assert sorted(json.loads(line)["number"] for line in again) == sorted(t.number for t in calm.study.ended())


@pytest.mark.slow
def test_a_gpu_that_is_not_there_is_told_at_the_start():
    backend = Ray(BackendSettings(name="ray", gpus=4), workers=1)
    with pytest.raises(BackendError, match="A slot needs 1 CPU and 4 GPU; Ray finds 0 GPU on this machine"):
        backend.start(abs)


@pytest.mark.slow
def test_the_command_writes_the_same_files_on_ray(tmp_path):
    command = [
        sys.executable, "-m", "nas.search", "+space=cells", "budget=3", "train.steps=12", "max_macs=60000",
        "finish.members=1", "finish.effort=0.5", "workers=1",
    ]  # fmt: skip
    shown = {}
    for name in ("serial", "ray"):
        options = [f"backend={name}", f"run={tmp_path / name}"]
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        shown[name] = done.stderr
    fronts = [[p.read_bytes() for p in sorted((tmp_path / name).glob("front/*/model.onnx"))] for name in shown]
    assert fronts[0] == fronts[1]
    assert "(raylet)" not in shown["ray"]
    assert "Ray" not in shown["ray"]
    assert len(shown["ray"].splitlines()) <= len(shown["serial"].splitlines()) + 3
