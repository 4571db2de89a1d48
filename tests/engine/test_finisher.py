"""From the front of a search to finished files: what is written, and what chooses."""

import csv
import json
import shutil
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from toy import Toy, candidate, toy_data, toy_test

from engine.artifact import Artifact
from engine.backends.serial import Serial
from engine.data import Dataset, Rows, Split
from engine.deadline import Deadline
from engine.errors import ArtifactError
from engine.finisher import Finisher, FinishSettings, _spread
from engine.front import Front
from engine.objective import Objective, Problem
from engine.record import RunFolder
from engine.samplers.random import RandomSampler
from engine.study import Study
from engine.trial import Point
from engine.work import Build, Finish, Work

SEED = 3
CARD_KEYS = {
    "bytes", "candidate", "categorical_columns", "classes", "description", "finished", "key", "latency_us", "macs",
    "finish_seconds", "metric", "numeric_columns", "parameters", "seeds", "selected_on", "sha256", "split", "steps",
    "task", "test", "trial", "validation", "versions",
}  # fmt: skip


class Counting(Toy):
    """A toy that counts, and whose long training can be made worse, failing or too long."""

    def __init__(self, way="", **given):
        super().__init__(**given)
        for name, value in (("way", way), ("built", []), ("finished", [])):
            object.__setattr__(self, name, value)

    def build(self, candidate, data, **given):
        self.built.append(candidate)
        return super().build(candidate, data, **given)

    def finish(self, candidate, data, *, teacher, max_bytes, **given):
        self.finished.append((candidate, teacher.sha256, max_bytes))
        if self.way == "fails":
            raise ZeroDivisionError("the long training broke")
        artifact = super().finish(candidate, data, teacher=teacher, max_bytes=max_bytes, **given)
        if self.way == "worse":
            validation = {"error": 0.9, "rows": artifact.card["validation"]["rows"]}
            return replace(artifact, card={**artifact.card, "validation": validation})
        if self.way == "better" and candidate["size"] >= self.largest // 3:
            validation = {"error": 0.0, "rows": artifact.card["validation"]["rows"]}
            return replace(artifact, card={**artifact.card, "validation": validation})
        return artifact


def folds_of(data, count):
    rows = np.arange(len(data.rows))
    splits = tuple(Split(rows[rows % count != fold], rows[rows % count == fold]) for fold in range(count))
    return Dataset(data.signature, data.rows, splits)


class Search:
    """A searched run, ready to be finished as often as a test wants."""

    def __init__(self, path, *, family=None, data=None, budget=14):
        self.family, self.data = family or Counting(), data or toy_data()
        self.folder = RunFolder(path)
        _, recorded = self.folder.open({"lag": 2})
        self.stored = self.data.save(path.with_name(f"{path.name}-data"))
        backend = self.backend()
        problem = Problem(
            self.family.space, Objective("error"), Objective("bytes"), self.family.canonical, self.family.bytes, budget
        )
        self.study = Study(problem, RandomSampler(), backend, self.folder, SEED, 2, recorded)
        self.study.run()
        backend.close()

    def backend(self):
        backend = Serial()
        backend.start(Work(self.family, self.stored.folder, "accuracy"))
        return backend

    def finisher(self, *, members=16, test=None, refit=False, validation_rows=None, **given):
        rows = validation_rows or len(self.data.splits[0].valid)
        return Finisher(
            family=self.family,
            backend=self.backend(),
            folder=self.folder,
            signature=self.data.signature,
            test=test,
            metric="accuracy",
            seed=SEED,
            settings=FinishSettings(members=members),
            refit=refit,
            told={"split": {"seed": SEED, "validation_rows": rows}},
            **given,
        )

    def finish(self, *, is_training=True, front=None, **given):
        front = self.study.front if front is None else front
        return self.finisher(**given).run(front, self.study.ended(), is_training=is_training)

    def written(self):
        """Artifacts of `front/`, in order."""
        return [Artifact.load(place) for place in sorted((self.folder.path / "front").iterdir())]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Shared by tests that change nothing but what is finished."""
    search = Search(tmp_path_factory.mktemp("finisher") / "run")
    assert len(search.study.front) >= 4
    return search


def points_of(*pairs):
    return [
        Point(candidate(1 + n), {"error": error, "bytes": size}, f"{n:064d}") for n, (error, size) in enumerate(pairs)
    ]


def wrong_share(artifact, rows):
    return float((artifact.outputs({"x": np.asarray(rows.x)}).argmax(1) != rows.y).mean())


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
        finisher = search.finisher()
        member = finisher._member(point, own, Artifact(own.model, card))
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


def test_without_training_the_trials_own_files_are_shipped(tmp_path):
    search = Search(tmp_path / "run")
    for options in ({"is_training": False}, {"members": 0}):
        members = search.finish(test=toy_test(), **options)
        assert [m.point for m in members] == list(search.study.front)
        assert not search.family.finished
        assert all(member.artifact.card["finished"] is False for member in members)
        assert [a.card["test"]["rows"] for a in search.written()] == [200] * len(members)


def test_without_training_what_is_finished_already_is_shipped(tmp_path):
    search = Search(tmp_path / "run")
    whole = search.finish()
    shutil.rmtree(next(iter(sorted((search.folder.path / "finished").iterdir()))))
    count = len(search.family.finished)
    members = search.finish(is_training=False)
    assert len(search.family.finished) == count
    assert len(members) == len(whole)
    assert sorted(member.artifact.card["finished"] for member in members) == [False] + [True] * (len(whole) - 1)


def test_when_the_time_is_up_nothing_is_trained(tmp_path):
    search = Search(tmp_path / "run")
    members = search.finish(deadline=Deadline(0.0))
    assert not search.family.finished
    assert [m.point for m in members] == list(search.study.front)


def test_quick_winners_come_first_when_the_time_is_short(tmp_path, monkeypatch):
    search = Search(tmp_path / "run")
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    keys = [point.candidate.key for point in search.study.front]
    trials = [
        replace(trial, seconds=1.0 if trial.candidate.key in keys[:2] else 100.0) for trial in search.study.ended()
    ]
    search.finisher(deadline=Deadline(1007.0)).run(search.study.front, trials)
    assert {found.key for found, _, _ in search.family.finished} == set(keys[:2])  # 2 trials x effort 3 = 6 seconds
    search.family.finished.clear()
    search.finisher(deadline=Deadline(1007.0), refit=True).run(search.study.front, trials)
    assert len(search.family.finished) == 1  # a refit takes as long again


def test_those_that_are_not_trained_long_ship_as_they_are(tmp_path):
    search = Search(tmp_path / "run")
    members = search.finish(members=2)
    chosen = {found for found, _, _ in search.family.finished}
    assert chosen == {search.study.front.points[0].candidate, search.study.front.points[-1].candidate}
    assert [m.point.candidate for m in members] == [point.candidate for point in search.study.front]
    assert {m.point.candidate for m in members if m.artifact.card["finished"]} == chosen


def test_the_winners_learn_from_the_best_within_their_own_size(tmp_path):
    search = Search(tmp_path / "run")
    search.finish()
    best = search.study.front.points[0]
    assert {teacher for _, teacher, _ in search.family.finished} == {best.sha256}
    sizes = {point.candidate: point.values["bytes"] for point in search.study.front}
    assert {found: size for found, _, size in search.family.finished} == sizes


def test_a_teacher_of_the_users_is_taken(tmp_path):
    search = Search(tmp_path / "run")
    teacher = search.folder.kept(search.study.front.points[-1].sha256)
    search.finish(teacher=teacher)
    assert {sha256 for _, sha256, _ in search.family.finished} == {teacher.sha256}


def test_finished_files_are_taken_over_by_a_second_run(tmp_path):
    search = Search(tmp_path / "run")
    first = search.finish(test=toy_test())
    count = len(search.family.finished)
    assert count == len(search.study.front)
    told = []
    second = search.finish(test=toy_test(), watch=lambda finished, of: told.append((finished, of)))
    assert len(search.family.finished) == count
    assert [m.artifact.sha256 for m in second] == [m.artifact.sha256 for m in first]
    assert told == [(count, count)]


def test_another_refit_or_teacher_is_trained_anew(tmp_path):
    search = Search(tmp_path / "run")
    search.finish()
    count = len(search.family.finished)
    search.finish(refit=True)
    assert len(search.family.finished) == 2 * count
    search.finish(teacher=search.folder.kept(search.study.front.points[-1].sha256))
    assert len(search.family.finished) == 3 * count


def test_half_written_results_are_not_taken_over(tmp_path):
    search = Search(tmp_path / "run")
    search.finish()
    count = len(search.family.finished)
    next(iter((search.folder.path / "finished").iterdir())).joinpath("card.json").unlink()
    search.finish()
    assert len(search.family.finished) == count + 1


@pytest.mark.parametrize("way", ["deleted", "changed"])
def test_a_kept_file_that_is_gone_is_built_again(tmp_path, way):
    search = Search(tmp_path / "run")
    point = search.study.front.points[1]
    place = search.folder.path / "files" / f"{point.sha256}.onnx"
    if way == "deleted":
        place.unlink()
    else:
        place.write_bytes(b"other")
    search.family.built.clear()
    without = search.finish(is_training=False)
    assert [m.point for m in without] == [p for p in search.study.front if p is not point]
    assert not search.family.built
    members = search.finish(members=0)
    assert search.family.built == [point.candidate]
    assert point.sha256 in {member.artifact.sha256 for member in members}
    if way == "deleted":
        assert search.folder.kept(point.sha256) is not None


def test_a_kept_file_that_is_built_differently_is_an_error(tmp_path):
    search = Search(tmp_path / "run")
    point = search.study.front.points[1]
    front = Front(tuple(replace(p, sha256="0" * 64) if p is point else p for p in search.study.front))
    with pytest.raises(
        ArtifactError, match=r"are gone from .*files \(000000000000\), and building them again gave other files"
    ):
        search.finish(front=front)


def test_files_that_are_not_on_the_front_are_deleted(tmp_path):
    search = Search(tmp_path / "run")
    search.folder.keep(Artifact(b"dominated long ago"))
    search.finish()
    kept = {path.stem for path in (search.folder.path / "files").iterdir()}
    assert kept == {point.sha256 for point in search.study.front}


def test_the_front_before_is_replaced_whole(tmp_path):
    search = Search(tmp_path / "run")
    search.finish()
    search.finish(front=Front(search.study.front.points[:1]))
    assert [path.name for path in (search.folder.path / "front").iterdir()] == ["00"]


def test_an_empty_front_leaves_the_files_that_are_there(tmp_path):
    search = Search(tmp_path / "run")
    search.finish()
    before = sorted((search.folder.path / "front").rglob("*"))
    assert search.finish(front=Front(()), test=toy_test()) == []
    assert sorted((search.folder.path / "front").rglob("*")) == before


def test_progress_is_told(tmp_path):
    search, told = Search(tmp_path / "run"), []
    search.finish(members=3, watch=lambda finished, of: told.append((finished, of)))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_data_in_folds_is_finished(tmp_path):
    search = Search(tmp_path / "run", data=folds_of(toy_data(), 5))
    assert all("error_se" in point.values for point in search.study.front)
    members = search.finish(test=toy_test())
    valid = search.data.valid(0)
    assert any(member.artifact.card["finished"] for member in members)
    for member in members:
        if member.artifact.card["finished"]:
            moved = wrong_share(member.artifact, valid) - member.searched.values["last_fold_error"]
            assert member.point.values["error"] == pytest.approx(max(0.0, member.searched.values["error"] + moved))
        assert member.artifact.card["validation"]["error"] == member.point.values["error"]


def test_the_interval_is_that_of_the_rows_on_which_the_error_was_measured(tmp_path):
    search = Search(tmp_path / "run", data=folds_of(toy_data(), 5))
    finished = search.finish(validation_rows=len(search.data.rows))  # as engine.launch tells it for folds
    assert finished
    for member in (member for member in finished if member.artifact.card["finished"]):
        told = member.artifact.card["validation"]
        assert told["rows"] == len(search.data.rows)
        assert told["low"] <= told["error"] <= told["high"]


def test_members_are_spread_over_the_sizes():
    front = Front.of(points_of(*((0.5 - n / 100, 100 * 1.1**n) for n in range(20))))
    for count in range(2, 20):
        chosen = _spread(front, count)
        assert len(chosen) == count
        assert chosen[0] is front.points[0]
        assert chosen[-1] is front.points[-1]
        assert [front.points.index(point) for point in chosen] == sorted({front.points.index(p) for p in chosen})


def test_the_middle_is_where_the_gap_in_ratio_is_widest():
    front = Front.of(points_of((0.4, 100), (0.3, 1000), (0.2, 5000), (0.1, 10_000)))
    assert [point.values["bytes"] for point in _spread(front, 3)] == [10_000, 1000, 100]


def test_a_small_front_is_finished_whole_and_one_member_is_the_best():
    front = Front.of(points_of((0.4, 100), (0.3, 1000)))
    assert _spread(front, 2) == list(front.points)
    assert _spread(front, 16) == list(front.points)
    assert _spread(front, 1) == [front.points[0]]


def test_a_finished_file_longer_than_its_trial_is_a_failure_of_the_family(tmp_path):
    search = Search(tmp_path / "run")
    teacher = search.folder.kept(search.study.front.points[0].sha256)
    done = Work(search.family, search.stored.folder, "accuracy")(Finish(0, candidate(5), 0, 10, False, teacher))
    assert done.error == f"finish must give at most 10 bytes, got {search.family.bytes(candidate(5))}."
    assert not done.artifacts


class Ladder(Toy):
    """Yields a file more in its first fold than in the others."""

    def build(self, candidate, data, *, fold, fidelity, seed, report):
        for size in (20, 21, 22)[: 3 if fold == 0 else 2]:
            yield from super().build(
                candidate.replace(size=size), data, fold=fold, fidelity=1, seed=seed, report=report
            )


def test_the_end_of_a_path_that_not_every_fold_has_is_no_point(tmp_path):
    data = folds_of(toy_data(), 5).save(tmp_path / "data")
    done = Work(Ladder(), data.folder, "accuracy")(Build(0, candidate(20), 0))
    assert [point.candidate["size"] for point in done.points] == [20, 21]
    assert all("error_se" in point.values for point in done.points)
