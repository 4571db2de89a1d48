"""Means of finished files: chosen where these did not learn from validation rows."""

import math

import numpy as np
import pytest
from finishing import Counting, Search

from compression.mean import mean_file, pieces
from engine.artifact import Artifact
from engine.blends import Blends
from engine.member import Members
from engine.score import error_of
from engine.shares import is_blend, shares_of
from engine.trial import Point


class Averaging(Counting):
    """A toy that makes means of finished files; even large ones have noise, which means take away."""

    means_of = "finished"

    def _weights(self, candidate, seed):
        noise = np.random.default_rng(seed).normal(size=4) * 2 / math.log(2 + candidate["size"])
        direction = np.array([1.0, -1.0, 0.5, 0.0]) + noise
        return np.stack([-direction, direction], 1).astype(np.float32)

    def macs(self, candidate):
        return sum(map(super().macs, shares_of(candidate))) if is_blend(candidate) else super().macs(candidate)

    def describe(self, point, trials):
        return {"description": "mean", "steps": []} if is_blend(point.candidate) else super().describe(point, trials)

    def pieces(self, file):
        return pieces(file.model)

    def opinions(self, data, points, *, trains):
        return None

    def join(self, blend, data, *, files, answers):
        error = error_of(answers, data.valid(0), metric="accuracy", task="classification")
        told = {"validation": {"error": error, "rows": len(data.valid(0))}}
        return Artifact(mean_file([file.model for file in files], list(shares_of(blend).values())), told)


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    return Search(tmp_path_factory.mktemp("searched") / "run", family=Averaging(largest=90), budget=20)


def blends(search, **limits):
    return Blends(search.family, Members((), {}), search.data, "accuracy", limits.pop("max_bytes", None), **limits)


def means(members):
    return [member for member in members if "mean_of" in member.artifact.card]


def test_means_err_less_than_single_files_of_their_size_and_say_of_what_they_are(search):
    members = search.finish(blend_finished=blends(search))
    assert means(members)
    files = {member.point.candidate.key: member.artifact for member in search.finish(blend_finished=None)}
    valid, compared = search.data.valid(0), 0
    for mean in means(members):
        shares = mean.artifact.card["mean_of"]
        assert len(shares) >= 2
        if set(shares) <= set(files):
            compared += 1
            expected = sum(share * files[key].outputs(valid.inputs()) for key, share in shares.items())
            assert mean.artifact.outputs(valid.inputs()) == pytest.approx(expected, abs=1e-6)
        wrong = error_of(mean.artifact.outputs(valid.inputs()), valid, metric="accuracy", task="classification")
        assert mean.point.values["error"] == mean.artifact.card["validation"]["error"] == wrong
    assert compared
    sizes = [member.point.values["bytes"] for member in members]
    assert sizes == sorted(sizes, reverse=True)


def test_a_mean_keeps_the_limits(search):
    assert means(search.finish(blend_finished=blends(search)))
    found = 0
    for limit in (4500, 6000, 7500, 9000):
        for member in means(search.finish(blend_finished=blends(search, max_bytes=limit))):
            assert member.point.values["bytes"] <= limit
            found += 1
    assert found
    assert not means(search.finish(blend_finished=blends(search, max_macs=15)))  # two members have 16


def test_members_tell_what_they_know(search):
    found = search.finish(blend_finished=None)
    told = Members(found, {member.point.candidate.key: index for index, member in enumerate(found)})
    assert [point.candidate.key for point in told.points] == sorted(m.point.candidate.key for m in found)
    for index, member in enumerate(found):
        assert told.of(member.point) == index
        assert told.file(member.point) is member.artifact
    assert all(isinstance(point, Point) for point in told.points)
