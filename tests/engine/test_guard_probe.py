"""Files from outside are opened in another process first; what happens there is told, and happens there only."""

import multiprocessing
import sys

import numpy as np
import pytest
from model_mutations import hostile_models, sound_models

from engine import probe
from engine.artifact import Artifact
from engine.errors import ArtifactError

SOUND = sound_models()


@pytest.fixture
def anew(monkeypatch):
    """A process that knows no file yet."""
    monkeypatch.setattr(probe, "_admitted", set())


@pytest.fixture
def children(monkeypatch):
    """The commands of the processes that are started."""
    started, real = [], probe.subprocess.run

    def run(command, **options):
        started.append(command)
        return real(command, **options)

    monkeypatch.setattr(probe.subprocess, "run", run)
    return started


def ended_by(monkeypatch, code):
    """Let the child run this code instead of its own."""
    monkeypatch.setattr(probe, "CHILD", code)


@pytest.mark.usefixtures("anew")
def test_a_file_is_tried_once(tmp_path, children):
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / name).write_bytes(SOUND[0])
        assert Artifact.load(tmp_path / name).outputs({"x": np.zeros((2, 4), np.float32)}).shape == (2, 3)
    assert len(children) == 1


@pytest.mark.usefixtures("anew")
def test_a_file_that_this_process_wrote_is_not_tried(tmp_path, children):
    Artifact(SOUND[0]).save(tmp_path)
    assert Artifact.load(tmp_path).model == SOUND[0]
    assert not children


@pytest.mark.usefixtures("anew")
def test_a_refused_file_is_refused_again_and_by_its_name(tmp_path, children):
    (tmp_path / "bomb.onnx").write_bytes(hostile_models()["filled"])
    for _ in range(2):
        with pytest.raises(ArtifactError, match=r"bomb\.onnx is refused: value w would have 268435456 elements"):
            Artifact.load(tmp_path / "bomb.onnx")
    assert len(children) == 2


@pytest.mark.usefixtures("anew")
def test_what_onnx_runtime_refuses_is_told():
    broken = SOUND[7].replace(b"keys_strings", b"kezs_strings")
    with pytest.raises(ArtifactError, match=r"f is refused: "):
        probe.admit(broken, name="f")


@pytest.mark.skipif(sys.platform == "win32", reason="no signals there")
@pytest.mark.parametrize(
    ("code", "text"),
    [
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
            r"f is refused: it crashes ONNX Runtime \(SIGSEGV\)",
        ),
        ("import os; os.abort()", r"f is refused: it crashes ONNX Runtime \(SIGABRT\), or needs more memory"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", r"took more than 20 s of processor time"),
        ("raise SystemExit(3)", r"f is refused: the process that opened it ended with code 3"),
    ],
)
def test_a_process_that_dies_is_told_as_an_error(monkeypatch, code, text):
    ended_by(monkeypatch, code)
    with pytest.raises(ArtifactError, match=text):
        probe.admit(b"never read", name="f")


def test_a_process_that_hangs_is_ended(monkeypatch):
    ended_by(monkeypatch, "import time; time.sleep(60)")
    monkeypatch.setattr(probe, "WALL_SECONDS", 0.5)
    with pytest.raises(ArtifactError, match=r"f is refused: opening it and running one row took more than 0.5 s\."):
        probe.admit(b"never read", name="f")


def test_where_no_process_starts_the_file_is_not_opened(monkeypatch):
    monkeypatch.setattr(probe.sys, "executable", "/no/such/python")
    with pytest.raises(ArtifactError, match=r"f cannot be tried in a process of its own: No such file"):
        probe.admit(b"never read", name="f")


LIMITED = """
import sys; sys.path.insert(0, sys.argv[1]); import engine; del sys.path[0]
from engine import probe; import engine.guard, numpy
{change}
probe._main(sys.argv[2])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only there memory is limited")
def test_memory_is_limited_where_the_guard_saw_nothing(monkeypatch, anew):
    """The bomb of 194 bytes reaches ONNX Runtime, and takes neither this process nor the machine."""
    ended_by(monkeypatch, LIMITED.format(change="probe.checked_model = lambda content, name: None"))
    with pytest.raises(ArtifactError, match=r"f is refused: opening it and running one row takes more than 1024 MiB"):
        probe.admit(hostile_models()["filled"], name="f")


@pytest.mark.skipif(sys.platform == "win32", reason="no limits there")
def test_processor_time_is_limited(monkeypatch, anew):
    change = "probe.CPU_SECONDS = 1\ndef spin(content, name):\n    while True: pass\nprobe.checked_model = spin"
    ended_by(monkeypatch, LIMITED.format(change=change))
    with pytest.raises(ArtifactError, match=r"took more than \d+ s of processor time"):
        probe.admit(SOUND[0], name="f")


def admitted_elsewhere(pipe):
    try:
        probe.admit(SOUND[1], name="f")
        pipe.send("admitted")
    except ArtifactError as error:
        pipe.send(str(error))


def test_a_daemonic_worker_can_try_a_file():
    context = multiprocessing.get_context("fork" if sys.platform.startswith("linux") else "spawn")
    ours, theirs = context.Pipe()
    worker = context.Process(target=admitted_elsewhere, args=(theirs,), daemon=True)
    worker.start()
    assert ours.poll(60)
    assert ours.recv() == "admitted"
    worker.join(10)


@pytest.mark.usefixtures("anew")
def test_the_current_folder_is_not_imported_from(tmp_path, monkeypatch):
    for name in ("json", "numpy", "engine", "onnx"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the current folder')")
    monkeypatch.chdir(tmp_path)
    probe.admit(SOUND[0], name="f")


@pytest.mark.usefixtures("anew")
def test_links_and_external_data_beside_the_file_are_not_followed(tmp_path):
    (tmp_path / "secret").write_bytes(b"0" * 16)
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    for name, content in hostile_models().items():
        if name in ("outside link", "sparse outside link"):
            (tmp_path / "model.onnx").write_bytes(content)
            with pytest.raises(ArtifactError, match=r"model\.onnx is refused: tensor w lies in another file\."):
                Artifact.load(tmp_path)
