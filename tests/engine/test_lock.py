import errno
import os
import signal
import subprocess
import sys

import pytest

from engine.errors import RecordError, StudyError
from engine.lock import LOCK_NAME, locked
from engine.record import RunFolder

HOLDER = """
import os, sys
from pathlib import Path
from engine.lock import locked
with locked(Path(sys.argv[1])):
    print(os.getpid(), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path, request):
    """Another process that holds the folder, until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(request.config.rootpath)},
    )
    assert process.stdout.readline().strip() == str(process.pid)
    yield process
    process.kill()
    process.communicate()


def test_a_folder_has_one_driver_and_a_killed_one_holds_nothing(tmp_path, holder):
    with pytest.raises(RecordError, match=rf"in use by process {holder.pid} on .* wait until that one ends or end it"):
        locked(tmp_path).__enter__()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with locked(tmp_path):
        assert (tmp_path / LOCK_NAME).read_text().startswith(f"process {os.getpid()} on ")


def test_one_process_is_kept_from_itself(tmp_path):
    with locked(tmp_path), pytest.raises(RecordError, match=f"process {os.getpid()}"):
        locked(tmp_path).__enter__()
    with locked(tmp_path):
        pass


def test_an_error_inside_lets_go(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    with locked(tmp_path):
        pass


def test_a_folder_with_nothing_but_a_lock_is_a_new_one(tmp_path):
    with locked(tmp_path):
        assert RunFolder(tmp_path).open({"lag": 1}) == ({"lag": 1}, {})


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("text")
    with (
        pytest.raises(StudyError, match=r"cannot be written: Not a directory"),
        RunFolder(tmp_path / "file" / "run").held(),
    ):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="locks are others there")
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_and_worked_on(tmp_path, monkeypatch, caplog, code):
    def refuses(descriptor, operation):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", refuses)
    with locked(tmp_path):
        assert "lies on a file system without locks" in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="locks are others there")
def test_any_other_failure_of_a_lock_is_an_error(tmp_path, monkeypatch):
    def breaks(descriptor, operation):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("fcntl.flock", breaks)
    with pytest.raises(StudyError, match="cannot be written: Input/output error"), RunFolder(tmp_path).held():
        pass
