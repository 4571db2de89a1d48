"""From the front of a search to finished files: what is written, and what chooses."""

import csv
import json
from itertools import pairwise

import numpy as np
import pytest
from finishing import Counting, Search, wrong_share
from toy import candidate, toy_test

from engine.artifact import Artifact
from engine.data import Rows
from engine.member import shipped
from engine.winners import FinishSettings
from engine.work import Finish, Work

CARD_KEYS = {
    "bytes", "candidate", "categorical_columns", "classes", "description", "finished", "key", "latency_us", "macs",
    "finish_seconds", "metric", "numeric_columns", "parameters", "seeds", "selected_on", "sha256", "split", "steps",
    "task", "test", "trial", "validation", "versions",
}  # fmt: skip


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Shared by tests that change nothing but what is finished."""
    search = Search(tmp_path_factory.mktemp("finisher") / "run")
    assert len(search.study.front) >= 4
    return search


def test_the_front_is_written_most_accurate_first(searched):
    members = searched.finish(test=toy_test())
    written = searched.written()
    assert [artifact.sha256 for artifact in written] == [member.artifact.sha256 for member in members]
    errors = [artifact.card["validation"]["error"] for artifact in written]
    sizes = [artifact.size for artifact in written]
    assert errors == sorted(set(errors))
    assert sizes == sorted(set(sizes), reverse=True)
    assert sorted(path.name for path in (searched.folder.path / "front").iterdir()) == [
        f"{number:02d}" for number in range(len(members))
    ]
    assert not (searched.folder.path / ".front.part").exists()


def test_cards_are_complete_and_true(searched):
    test = toy_test()
    searched.finish(test=test)
    valid = searched.data.valid(0)
    for artifact in searched.written():
        card = artifact.card
        assert set(card) == CARD_KEYS
        assert card["bytes"] == artifact.size
        assert card["sha256"] == artifact.sha256
        assert card["selected_on"] == "validation"
        assert card["finished"] is True
        assert card["validation"]["error"] == pytest.approx(wrong_share(artifact, valid))
        assert card["validation"]["rows"] == len(valid)
        assert card["test"]["error"] == pytest.approx(wrong_share(artifact, test))
        assert card["test"]["rows"] == len(test)
        assert card["test"]["low"] < card["test"]["error"] < card["test"]["high"]
        trial = searched.study.trials[card["trial"]]
        assert trial.points[0].candidate.key == card["key"]
        assert card["seeds"] == [trial.seed]
        assert set(card["versions"]) == {"lilliput", "torch", "onnx", "onnxruntime", "numpy", "python"}
        json.dumps(card, allow_nan=False)


def test_the_table_tells_what_the_cards_tell(searched):
    searched.finish(test=toy_test())
    with (searched.folder.path / "front.csv").open() as file:
        rows = list(csv.DictReader(file))
    cards = [artifact.card for artifact in searched.written()]
    assert len(rows) == len(cards)
    for row, card in zip(rows, cards, strict=True):
        assert float(row["error"]) == pytest.approx(card["validation"]["error"], abs=1e-4)
        assert float(row["test_error"]) == pytest.approx(card["test"]["error"], abs=1e-4)
        assert int(row["bytes"]) == card["bytes"]


def test_without_test_rows_there_is_no_test_error(searched):
    for test in (None, toy_test().take(np.arange(0))):
        searched.finish(test=test)
        for artifact in searched.written():
            assert artifact.card["test"] is None
            assert "latency_us" not in artifact.card


def test_test_rows_fill_columns_and_choose_nothing(searched):
    honest = searched.finish(test=toy_test())
    told = toy_test()
    permuted = Rows(np.random.default_rng(0).permutation(told.y), told.x)
    misled = searched.finish(test=permuted)
    assert [m.artifact.sha256 for m in misled] == [m.artifact.sha256 for m in honest]
    assert [m.point for m in misled] == [m.point for m in honest]
    for here, there in zip(honest, misled, strict=True):
        differing = {key for key in here.artifact.card if here.artifact.card[key] != there.artifact.card[key]}
        assert "test" in differing
        assert differing <= {"test", "latency_us"}


def test_test_rows_are_used_once_a_member(searched, monkeypatch):
    asked = []
    plain = Artifact.outputs

    def outputs(artifact, inputs):
        asked.append(len(inputs["x"]))
        return plain(artifact, inputs)

    test = toy_test(77)
    monkeypatch.setattr(Artifact, "outputs", outputs)
    members = searched.finish(test=test)
    assert asked.count(77) == len(members)


def test_worse_files_are_not_shipped(tmp_path):
    search = Search(tmp_path / "run", family=Counting("worse"))
    members = search.finish()
    own = {point.sha256 for point in search.study.front}
    assert {member.artifact.sha256 for member in members} == own
    for member in members:
        card = member.artifact.card
        assert card["finished"] is False
        assert card["why_not_finished"].startswith("trained long it had 0.9000, worse than the trial's 0.")
        assert card["validation"]["error"] == pytest.approx(wrong_share(member.artifact, search.data.valid(0)))


def test_files_only_a_little_worse_are_shipped(tmp_path):
    search = Search(tmp_path / "run")
    point = search.study.front.points[-1]
    own = search.folder.kept(point.sha256)
    rows, error = 75, point.values["error"]
    spread = (error * (1 - error) / rows) ** 0.5
    for extra, is_finished in ((0.9 * spread, True), (1.1 * spread, False)):
        card = {"validation": {"error": error + extra, "rows": rows}}
        member = shipped(point, own, Artifact(own.model, card), cost="bytes", metric="accuracy")
        assert member.artifact.card["finished"] is is_finished


def test_members_that_finished_files_dominate_leave_the_front(tmp_path):
    search = Search(tmp_path / "run", family=Counting("better"))
    members = search.finish()
    pairs = [(member.point.values["error"], member.point.values["bytes"]) for member in members]
    perfect = [point for point in search.study.front if point.candidate["size"] >= search.family.largest // 3]
    assert len(perfect) > 1
    assert pairs[0] == (0.0, min(point.values["bytes"] for point in perfect))
    assert len(members) == len(search.study.front) - len(perfect) + 1
    assert all(a[0] < b[0] and a[1] > b[1] for a, b in pairwise(pairs))


def test_a_long_training_that_fails_leaves_the_trials_file(tmp_path):
    search = Search(tmp_path / "run", family=Counting("fails"))
    members = search.finish()
    assert {m.artifact.sha256 for m in members} == {point.sha256 for point in search.study.front}
    assert all(member.artifact.card["finished"] is False for member in members)


def test_a_long_training_that_fails_is_told_in_the_card(tmp_path):
    members = Search(tmp_path / "run", family=Counting("fails")).finish()
    assert "the long training broke" in members[0].artifact.card["why_not_finished"]


def test_those_that_are_not_trained_long_ship_as_they_are(tmp_path):
    search = Search(tmp_path / "run")
    members = search.finish(members=2)
    chosen = {found for found, _, _ in search.family.finished}
    assert chosen == {search.study.front.points[0].candidate, search.study.front.points[-1].candidate}
    assert [m.point.candidate for m in members] == [point.candidate for point in search.study.front]
    assert {m.point.candidate for m in members if m.artifact.card["finished"]} == chosen


def test_progress_is_told(tmp_path):
    search, told = Search(tmp_path / "run"), []
    search.finish(members=3, watch=lambda *status: told.append(status))
    assert [status[:2] for status in told] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    took = {trial.candidate.key: trial.seconds for trial in search.study.ended() if trial.is_paid}
    expected = [FinishSettings().effort * took[found.key] for found, _, _ in search.family.finished]
    assert told[0][2] == pytest.approx(sum(expected))
    assert told[-1][2] == 0


def test_a_finished_file_longer_than_its_trial_is_a_failure_of_the_family(tmp_path):
    search = Search(tmp_path / "run")
    teacher = search.folder.kept(search.study.front.points[0].sha256)
    done = Work(search.family, search.stored.folder, "accuracy")(Finish(0, candidate(5), 0, 10, False, (teacher,)))
    assert done.error == f"finish must give at most 10 bytes, got {search.family.bytes(candidate(5))}."
    assert not done.artifacts
