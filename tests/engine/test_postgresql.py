"""The mirror in a real PostgreSQL server, which these tests start, stop and throw away."""

import logging
import os
import pwd
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import optuna
import pytest

from engine.errors import MissingExtraError
from engine.objective import Objective, Problem
from engine.space import Candidate, Int, Space
from engine.storage import Mirror
from engine.trial import Point, State, Trial

pytest.importorskip("psycopg", reason="psycopg is not installed")

PROBLEM = Problem(Space({"w": Int(1, 64)}), Objective("error"), Objective("bytes"), lambda c: c, lambda c: None, 10)
ROOT_REFUSED = "postgres"  # a server refuses to run as root, and runs as this account


def trial_of(number):
    candidate = Candidate.of({"w": number % 64 + 1})
    point = Point(candidate, {"error": 0.5, "bytes": 100.0 + number}, f"digest{number}")
    return Trial(number, candidate, State.COMPLETE, (point,), seconds=1.0)


class Server:
    """One server in a folder of its own, reached through a socket there."""

    def __init__(self, place, account):
        self.place, self.account = place, account

    def run(self, *command):
        as_account = [
            "setpriv",
            f"--reuid={self.account}",
            "--regid",
            str(pwd.getpwnam(self.account).pw_gid),
            "--clear-groups",
        ]
        words = [*as_account, *command] if self.account else command
        done = subprocess.run(words, cwd=self.place, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode:
            raise RuntimeError(f"{command[0]}: {done.stdout}{done.stderr}")

    def create(self):
        self.run("initdb", "-D", str(self.place / "data"), "-A", "trust", "-U", "mirror", "-N", "-E", "UTF8")

    def start(self):
        options = f"-k {self.place} -c listen_addresses= -c fsync=off -c max_connections=20"
        log = str(self.place / "log")
        self.run("pg_ctl", "-D", str(self.place / "data"), "-w", "-t", "90", "-l", log, "-o", options, "start")

    def stop(self):
        self.run("pg_ctl", "-D", str(self.place / "data"), "-w", "-m", "immediate", "stop")

    @property
    def url(self):
        return f"postgresql://mirror@/postgres?host={self.place}"


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    monkeypatch.setattr("engine.storage.STALL_SECONDS", 120.0)  # however busy this machine is


@pytest.fixture(scope="module")
def created():
    missing = [name for name in ("initdb", "pg_ctl") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no PostgreSQL server here: {' and '.join(missing)} not found")
    account = None
    if os.getuid() == 0:
        if shutil.which("setpriv") is None or ROOT_REFUSED not in {entry.pw_name for entry in pwd.getpwall()}:
            pytest.skip(f"PostgreSQL refuses to run as root, and there is no account {ROOT_REFUSED}")
        account = ROOT_REFUSED
    # The name of a socket may have about a hundred characters.
    with tempfile.TemporaryDirectory(prefix="pg") as place:
        if account:
            shutil.chown(place, account)
        server = Server(Path(place), account)
        try:
            server.create()
        except RuntimeError as error:
            pytest.skip(f"initdb does not work here: {error}")
        yield server


@pytest.fixture
def server(created):
    created.start()
    yield created
    created.stop()


def numbers(url, name):
    storage = optuna.storages.RDBStorage(url.replace("postgresql:", "postgresql+psycopg:"))
    try:
        study = optuna.load_study(study_name=name, storage=storage)
        return [trial.user_attrs["number"] for trial in study.trials], study.metric_names
    finally:
        storage.remove_session()
        storage.engine.dispose()


def test_a_study_is_mirrored_while_it_runs_and_gone_on_with(server):
    mirror = Mirror(server.url, "runs", PROBLEM)
    mirror.record(trial_of(0))
    mirror.close()
    again = Mirror(server.url, "runs", PROBLEM)
    for number in range(3):
        again.record(trial_of(number))
    again.close()
    assert numbers(server.url, "runs") == ([0, 1, 2], ["error", "bytes"])


def test_a_server_that_goes_away_for_a_while_slows_nothing_and_is_caught_up_with(server, caplog, monkeypatch):
    monkeypatch.setattr("engine.storage.RETRY_SECONDS", (0.05,))
    is_told = threading.Event()

    class Told(logging.Handler):
        def emit(self, record):
            is_told.set()

    handler = Told(logging.WARNING)
    logging.getLogger("lilliput").addHandler(handler)
    try:
        mirror = Mirror(server.url, "outage", PROBLEM)
        mirror.record(trial_of(0))
        server.stop()
        for number in range(1, 40):
            mirror.record(trial_of(number))  # returns at once, as there is nothing that it could wait for
        assert is_told.wait(60)
        server.start()
        mirror.close()
    finally:
        logging.getLogger("lilliput").removeHandler(handler)
    found, _ = numbers(server.url, "outage")
    assert sorted(found) == list(range(40))
    assert len([record for record in caplog.records if "does not answer" in record.getMessage()]) == 1


def test_without_its_driver_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"needs psycopg: pip install 'lilliput\[postgresql\]'"):
        Mirror("postgresql://host/name", "runs", PROBLEM)
