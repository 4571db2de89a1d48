"""Which answers are kept: the best of each length, whatever the order."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.answers import OCTAVE_MEMBERS, Answers
from engine.artifact import Artifact
from engine.space import Candidate
from engine.trial import Point


def point_of(number, error, size):
    artifact = Artifact(f"file {number}".encode(), {"coding": "int8"})
    return Point(Candidate.of({"n": number}), {"error": error, "bytes": float(size)}, artifact.sha256), artifact


def told(number):
    return np.full((3, 2), number, np.float32)


@given(st.permutations(range(24)), st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4]), min_size=24, max_size=24))
@settings(max_examples=25)
def test_what_is_kept_does_not_depend_on_the_order(tmp_path_factory, order, errors):
    kept = []
    for sequence in (range(24), order):
        answers = Answers(tmp_path_factory.mktemp("answers"))
        for number in sequence:
            point, artifact = point_of(number, errors[number], 1000 if number % 2 else 3000)
            answers.keep(point, told(number), artifact)
        kept.append(answers.points)
        files = {path.stem for path in answers.folder.glob("*.npy")}
        assert files == {point.candidate.key for point in answers.points}
        assert len(list(answers.folder.iterdir())) == 3 * len(files)  # answers, model and card of each, nothing else
    assert kept[0] == kept[1]
    for size in (1000.0, 3000.0):
        best = sorted(errors[number] for number in range(24) if (1000 if number % 2 else 3000) == size)
        found = sorted(point.values["error"] for point in kept[0] if point.values["bytes"] == size)
        assert found == best[:OCTAVE_MEMBERS]


def test_answers_and_files_come_back_after_a_restart(tmp_path):
    first = Answers(tmp_path)
    points = [point_of(number, 0.1 * number, 1000) for number in range(1, 4)]
    for number, (point, artifact) in enumerate(points):
        first.keep(point, told(number), artifact)
    (tmp_path / f"{points[2][0].candidate.key}.onnx").write_bytes(b"another file")
    (tmp_path / f"{points[0][0].candidate.key}.npy").unlink()
    second = Answers(tmp_path)
    for point, _ in points:
        second.recall(point)
    assert second.points == [points[1][0]]  # one has no answers any more, the file of one was changed
    assert (second.of(points[1][0]) == told(1)).all()
    assert second.file(points[1][0]).sha256 == points[1][0].sha256
    assert second.file(points[1][0]).card == {"coding": "int8"}


@pytest.mark.parametrize("error", [np.inf, np.nan])
def test_an_error_that_is_no_number_is_not_kept(tmp_path, error):
    answers = Answers(tmp_path)
    for number, (value, size) in enumerate(itertools.product((error, 0.5), (100, 5000))):
        point, artifact = point_of(number, value, size)
        answers.keep(point, told(number), artifact)
    assert sorted(point.values["error"] for point in answers.points) == [0.5, 0.5]
