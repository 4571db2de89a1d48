import logging
import os
import threading

import optuna
import pytest
import sqlalchemy

from engine.errors import SettingsError
from engine.objective import Objective, Problem
from engine.space import Candidate, Choice, Condition, Float, Int, Space
from engine.storage import Mirror, without_password
from engine.trial import Point, State, Trial

SPACE = Space(
    {"kind": Choice(("a", "b")), "width": Int(1, 64, log=True), "rate": Float(0.1, 1.0)},
    {"rate": Condition("kind", ("b",))},
)
PROBLEM = Problem(SPACE, Objective("error"), Objective("bytes"), lambda c: c, lambda c: None, 10)
A = Candidate.of({"kind": "a", "width": 8})
B = Candidate.of({"kind": "b", "width": 8, "rate": 0.5})


def complete(number, *candidates, error=0.25):
    points = tuple(
        Point(candidate, {"error": error, "bytes": 100.0 + place, "latency_us": 7.0}, f"digest{place}")
        for place, candidate in enumerate(candidates)
    )
    return Trial(number, candidates[0], State.COMPLETE, points, seconds=1.5, seed=11)


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    monkeypatch.setattr("engine.storage.STALL_SECONDS", 120.0)  # however busy this machine is


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'study.db'}"


def stored(url, name="digits"):
    storage = optuna.storages.RDBStorage(url)
    try:
        study = optuna.load_study(study_name=name, storage=storage)
        return study.trials, study.metric_names
    finally:
        storage.remove_session()
        storage.engine.dispose()


def mirrored(url, *trials, name="digits"):
    mirror = Mirror(url, name, PROBLEM)
    for trial in trials:
        mirror.record(trial)
    mirror.close()


def test_every_point_becomes_a_trial_with_all_that_was_measured(url):
    mirrored(url, complete(0, A, B))
    trials, names = stored(url)
    assert names == ["error", "bytes"]
    assert [trial.params for trial in trials] == [A.genes, B.genes]
    assert [trial.values for trial in trials] == [[0.25, 100.0], [0.25, 101.0]]
    wanted = {"number": 0, "point": 1, "state": "complete", "seconds": 1.5, "seed": 11}
    assert trials[1].user_attrs == {**wanted, "sha256": "digest1", "bytes": 101.0, "latency_us": 7.0}
    assert trials[1].duration.total_seconds() == pytest.approx(1.5)


def test_failures_carry_their_text_and_twins_their_points(url):
    twin = Trial(2, A, State.CACHED, complete(0, A).points, twin=0)
    bad = complete(4, A, error=float("nan"))
    mirrored(url, complete(0, A), Trial(1, B, State.FAILED, error="no memory"), twin, Trial(3, B, State.OVERSIZED), bad)
    trials, _ = stored(url)
    assert [trial.state.name for trial in trials] == ["COMPLETE", "FAIL", "COMPLETE", "FAIL", "FAIL"]
    assert trials[1].user_attrs["error"] == "no memory"
    assert trials[2].user_attrs["twin"] == 0
    assert trials[3].user_attrs["state"] == "oversized"


def test_a_resumed_study_gets_only_what_it_lacks(url):
    mirrored(url, complete(0, A), complete(1, A, B))
    mirrored(url, complete(0, A), complete(1, A, B), complete(2, B))
    trials, _ = stored(url)
    assert [(trial.user_attrs["number"], trial.user_attrs["point"]) for trial in trials] == [
        (0, 0), (1, 0), (1, 1), (2, 0)
    ]  # fmt: skip


@pytest.fixture
def broken(monkeypatch):
    """Let every attempt to write fail, and tell of each; `set()` on the second event mends it."""
    failed, mended = threading.Event(), threading.Event()
    add_trial = optuna.Study.add_trial

    def fails(study, trial):
        if not mended.is_set():
            failed.set()
            raise sqlalchemy.exc.OperationalError("insert", {}, Exception("disk is full"))
        add_trial(study, trial)

    monkeypatch.setattr(optuna.Study, "add_trial", fails)
    return failed, mended


def test_a_database_that_fails_is_told_once_and_caught_up_with(url, caplog, broken, monkeypatch):
    monkeypatch.setattr("engine.storage.RETRY_SECONDS", (0.01,))
    monkeypatch.setattr("engine.storage.MAX_REFUSALS", 10**9)
    failed, mended = broken
    mirror = Mirror(url, "digits", PROBLEM)
    with caplog.at_level(logging.WARNING, "lilliput"):
        for number in (0, 1):
            mirror.record(complete(number, A))
            assert failed.wait(60)
            failed.clear()
        assert failed.wait(60)
        mended.set()
        mirror.record(complete(2, B))
        mirror.close()
    assert len(caplog.records) == 1
    assert "disk is full" in caplog.text
    assert [trial.user_attrs["number"] for trial in stored(url)[0]] == [0, 1, 2]


def test_a_database_that_never_returns_is_told_at_the_end(url, caplog, broken):
    mirror = Mirror(url, "digits", PROBLEM)
    with caplog.at_level(logging.WARNING, "lilliput"):
        mirror.record(complete(0, A))
        mirror.close()
    assert "1 trials did not reach the storage" in caplog.text
    assert stored(url)[0] == []


def test_a_trial_that_a_database_in_service_does_not_take_is_left_out(url, caplog, broken, monkeypatch):
    monkeypatch.setattr("engine.storage.RETRY_SECONDS", (0.0,))
    _, mended = broken
    left_out = threading.Event()

    class Told(logging.Handler):
        def emit(self, record):
            if "is left out" in record.getMessage():
                mended.set()
                left_out.set()

    handler = Told()
    logging.getLogger("lilliput").addHandler(handler)
    try:
        mirror = Mirror(url, "digits", PROBLEM)
        mirror.record(complete(0, A))
        assert left_out.wait(60)
        mirror.record(complete(1, B))
        mirror.close()
    finally:
        logging.getLogger("lilliput").removeHandler(handler)
    assert "does not take trial 0" in caplog.text
    assert [trial.user_attrs["number"] for trial in stored(url)[0]] == [1]


def test_a_database_that_comes_back_empty_is_filled_again(url, tmp_path, monkeypatch):
    monkeypatch.setattr("engine.storage.RETRY_SECONDS", (0.0,))
    add_trial, are_lost = optuna.Study.add_trial, threading.Event()

    def loses_everything_once(study, trial):
        if not are_lost.is_set():
            os.remove(tmp_path / "study.db")
            are_lost.set()
            raise sqlalchemy.exc.OperationalError("insert", {}, Exception("no such table"))
        add_trial(study, trial)

    monkeypatch.setattr(optuna.Study, "add_trial", loses_everything_once)
    mirrored(url, complete(0, A), complete(1, B))
    assert [trial.user_attrs["number"] for trial in stored(url)[0]] == [0, 1]


def test_a_search_never_waits_for_its_database(url, monkeypatch):
    is_asked, may_answer = threading.Event(), threading.Event()
    add_trial = optuna.Study.add_trial

    def hangs(study, trial):
        is_asked.set()
        may_answer.wait()
        add_trial(study, trial)

    monkeypatch.setattr(optuna.Study, "add_trial", hangs)
    mirror = Mirror(url, "digits", PROBLEM)
    mirror.record(complete(0, A))
    assert is_asked.wait(60)
    for number in range(1, 8):
        mirror.record(complete(number, A))
    may_answer.set()
    mirror.close()
    assert len(stored(url)[0]) == 8


def test_a_journal_file_serves_as_well(tmp_path):
    path = str(tmp_path / "study.journal")
    mirrored(path, complete(0, A), complete(1, A, B))
    mirrored(path, complete(0, A), complete(1, A, B), complete(2, B))
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(path))
    study = optuna.load_study(study_name="digits", storage=storage)
    assert [(trial.user_attrs["number"], trial.user_attrs["point"]) for trial in study.trials] == [
        (0, 0), (1, 0), (1, 1), (2, 0)
    ]  # fmt: skip
    assert study.metric_names == ["error", "bytes"]


def test_passwords_are_shown_to_nobody():
    with pytest.raises(SettingsError) as caught:
        Mirror("nosuchdialect://me:secret@host/name", "digits", PROBLEM)
    assert "secret" not in str(caught.value)
    assert "nosuchdialect://me:***@host/name" in str(caught.value)
    assert without_password("sqlite:///a:b@c.db") == "sqlite:///a:b@c.db"


@pytest.mark.parametrize("bad", ["nonsense", "sqlite:////no/such/folder/x.db", "nosuchdialect://x/y"])
def test_an_impossible_address_is_a_setting_to_correct(bad):
    with pytest.raises(
        SettingsError, match=r"storage must be the URL of an Optuna storage, or a journal file that ends with .* got"
    ):
        Mirror(bad, "digits", PROBLEM)


def test_a_study_of_something_else_is_left_alone(url):
    mirrored(url, complete(0, A))
    other = Problem(SPACE, Objective("error"), Objective("latency_us"), lambda c: c, lambda c: None, 10)
    with pytest.raises(SettingsError, match=r"other objectives \(error, bytes, not error, latency_us\)"):
        Mirror(url, "digits", other)
    mirror = Mirror(url, "other name", other)
    mirror.close()
