"""Data in folds: what a trial's mean over them means for its finished file."""

import pytest
from finishing import Search, folds_of, wrong_share
from toy import Toy, candidate, toy_data, toy_test

from engine.work import Build, Work


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
