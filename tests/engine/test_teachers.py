"""Who teaches the winners, and when the teacher itself is trained."""

from dataclasses import replace

import pytest
from finishing import Pupil, Search
from toy import Toy

from engine.backends.processes import Processes
from engine.deadline import Deadline


def test_the_winners_learn_from_the_best_within_their_own_size(tmp_path):
    search = Search(tmp_path / "run")
    search.finish()
    best = search.study.front.points[0]
    assert {teachers for _, teachers, _ in search.family.finished} == {(best.sha256,)}
    sizes = {point.candidate: point.values["bytes"] for point in search.study.front}
    assert {found: size for found, _, size in search.family.finished} == sizes


def test_a_teacher_of_the_users_is_taken(tmp_path):
    search = Search(tmp_path / "run")
    teacher = search.folder.kept(search.study.front.points[-1].sha256)
    search.finish(teacher=teacher)
    assert {teachers for _, teachers, _ in search.family.finished} == {(teacher.sha256,)}


def test_another_refit_or_teacher_is_trained_anew(tmp_path):
    search = Search(tmp_path / "run")
    search.finish()
    count = len(search.family.finished)
    search.finish(refit=True)
    assert len(search.family.finished) == 2 * count
    search.finish(teacher=search.folder.kept(search.study.front.points[-1].sha256))
    assert len(search.family.finished) == 3 * count


def test_the_best_member_is_trained_first_and_teaches_all(tmp_path):
    search = Search(tmp_path / "run")
    members = search.finish(teachers=2, refit=True)
    best = search.study.front.points[0]
    first, second, *others = search.family.finished
    assert first == second == (best.candidate, (), None), "of any length"
    assert {found for found, _, _ in others} == {point.candidate for point in search.study.front}
    (teachers,) = {teachers for _, teachers, _ in others}
    assert len(set(teachers)) == 2
    assert best.sha256 not in teachers, "not the trial's own file"
    assert all(member.artifact.card["finished"] for member in members)


def test_the_teacher_never_learns_from_the_rows_that_choose(tmp_path, monkeypatch):
    told = []
    plain = Toy.finish

    def finish(family, candidate, data, *, teachers, refit, **given):
        told.append((len(teachers), refit))
        return plain(family, candidate, data, teachers=teachers, refit=refit, **given)

    monkeypatch.setattr(Toy, "finish", finish)
    search = Search(tmp_path / "run")
    search.finish(teachers=2, refit=True)
    assert told[:2] == [(0, False)] * 2
    assert set(told[2:]) == {(2, True)}


def test_a_teacher_of_the_users_leaves_nothing_to_train_first(tmp_path):
    search = Search(tmp_path / "run")
    teacher = search.folder.kept(search.study.front.points[-1].sha256)
    search.finish(teacher=teacher, teachers=2)
    assert {teachers for _, teachers, _ in search.family.finished} == {(teacher.sha256,)}
    assert len(search.family.finished) == len(search.study.front)


def test_a_second_run_takes_the_teachers_over(tmp_path):
    search, told = Search(tmp_path / "run"), []
    first = search.finish(teachers=2, watch=lambda finished, of, _left: told.append((finished, of)))
    count = len(search.family.finished)
    assert count == len(search.study.front) + 2
    assert told[0] == (0, count - 2)
    assert {of for _, of in told} == {count - 2}, "members, not trainings"
    second = search.finish(teachers=2)
    assert len(search.family.finished) == count
    assert [m.artifact.sha256 for m in second] == [m.artifact.sha256 for m in first]


def test_a_teacher_that_cannot_be_trained_leaves_the_trials_own_file_to_teach(tmp_path):
    whole = Search(tmp_path / "whole", family=Pupil()).finish()
    members = Search(tmp_path / "run", family=Pupil("fails")).finish(teachers=2)
    assert [m.artifact.sha256 for m in members] == [m.artifact.sha256 for m in whole]
    assert all(member.artifact.card["finished"] for member in members)


@pytest.mark.parametrize(("seconds", "teaches"), [(420.0, False), (440.0, True)])
def test_where_the_time_is_short_nobody_is_trained_to_teach(tmp_path, monkeypatch, seconds, teaches):
    search = Search(tmp_path / "run")
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    front = search.study.front
    trials = [replace(trial, seconds=100.0 / len(front)) for trial in search.study.ended()]
    search.finisher(teachers=2, deadline=Deadline(1000.0 + seconds)).run(front, trials)
    assert (search.family.finished[0][1] == ()) is teaches  # all winners take 300 seconds, two teachers 1.5 times 86
    assert len(search.family.finished) == len(front) + 2 * teaches  # the winners turn out to be quicker than that


@pytest.mark.parametrize("after", [0, 1, 2, 4])
def test_a_run_that_was_interrupted_ends_with_the_same_files(tmp_path, monkeypatch, after):
    whole = Search(tmp_path / "whole", family=Pupil()).finish(teachers=2)
    search, plain = Search(tmp_path / "run", family=Pupil()), Pupil.finish
    calls, strikes = [], []

    def finish(family, candidate, *given, **named):
        calls.append(candidate)
        if len(calls) == after + 1 and not strikes:
            strikes.append(candidate)
            raise KeyboardInterrupt
        return plain(family, candidate, *given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(Pupil, "finish", finish)
        with pytest.raises(KeyboardInterrupt):
            search.finish(teachers=2)
        now = search.finish(teachers=2, is_training=False)
        assert sum(member.artifact.card["finished"] for member in now) == max(0, after - 2)
        calls.clear()
        search.finish(teachers=2)
        assert len(calls) == len(whole) + 2 - after
    assert [place.sha256 for place in search.written()] == [member.artifact.sha256 for member in whole]


def test_workers_at_once_wait_for_the_teacher(tmp_path):
    whole = Search(tmp_path / "whole", family=Pupil()).finish(teachers=2)
    search = Search(tmp_path / "run", family=Pupil())
    finisher = search.finisher(teachers=2, backend=search.backend(Processes(2)))
    members = finisher.run(search.study.front, search.study.ended())
    finisher.backend.close()
    assert [m.artifact.sha256 for m in members] == [m.artifact.sha256 for m in whole]
