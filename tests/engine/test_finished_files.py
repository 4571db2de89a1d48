"""What a finisher finds in the run folder: results of an earlier run, files of trials, the front before."""

import shutil
from dataclasses import replace

import pytest
from finishing import Search
from toy import toy_test

from engine.artifact import Artifact
from engine.errors import ArtifactError
from engine.front import Front


def test_finished_files_are_taken_over_by_a_second_run(tmp_path):
    search = Search(tmp_path / "run")
    first = search.finish(test=toy_test())
    count = len(search.family.finished)
    assert count == len(search.study.front)
    told = []
    second = search.finish(test=toy_test(), watch=lambda *status: told.append(status))
    assert len(search.family.finished) == count
    assert [m.artifact.sha256 for m in second] == [m.artifact.sha256 for m in first]
    assert told == [(count, count, 0.0)]


def test_half_written_results_are_not_taken_over(tmp_path):
    search = Search(tmp_path / "run")
    search.finish()
    count = len(search.family.finished)
    next(iter((search.folder.path / "finished").iterdir())).joinpath("card.json").unlink()
    search.finish()
    assert len(search.family.finished) == count + 1


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
