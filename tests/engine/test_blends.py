"""Means of files: which are chosen, and what is told of them."""

import numpy as np
import pytest
from finishing import folds_of
from toy import toy_data

from engine.answers import Answers
from engine.artifact import Artifact
from engine.blends import JOINT, LEAST_GAIN, MEMBERS, Blends
from engine.data import Dataset, Rows
from engine.errors import ArtifactError
from engine.front import Front
from engine.score import error_of
from engine.space import Candidate
from engine.trial import Point


class Joining:
    """A family of which only means are asked."""

    means_of = "tried"

    def __init__(self, fails=False, opinions=None):
        self.fails, self.joined, self.told = fails, [], opinions

    def macs(self, candidate):
        return 1000 * (1 + candidate["n"])

    def pieces(self, file):
        return {file.sha256: file.size}

    def opinions(self, data, points, *, trains):
        return self.told

    def join(self, blend, data, *, files, answers):
        self.joined.append((files, answers))
        if self.fails:
            raise ArtifactError("no file")
        return Artifact(b"".join(file.model for file in files), {"coding": "int8"})


def right(data, noise, seed):
    """Probabilities that are right but for noise of their own, to all validation rows, fold after fold."""
    y = np.concatenate([data.valid(fold).y for fold in range(len(data.splits))])
    scores = (2 * y - 1) + noise * np.random.default_rng(seed).normal(size=len(y))
    ones = 1 / (1 + np.exp(-scores))
    return np.stack([1 - ones, ones], 1).astype(np.float32)


def tried(folder, data, noises, sizes):
    """Answers of as many files, and their front."""
    answers, points = Answers(folder), []
    cuts = np.cumsum([len(split.valid) for split in data.splits])[:-1]
    for number, (noise, size) in enumerate(zip(noises, sizes, strict=True)):
        told = right(data, noise, number)
        parts = zip(np.split(told, cuts), range(len(data.splits)), strict=True)
        errors = [error_of(part, data.valid(f), metric="log_loss", task="classification") for part, f in parts]
        artifact = Artifact(b"%d" % number * size, {})
        points.append(
            Point(Candidate.of({"n": number}), {"error": float(np.mean(errors)), "bytes": float(size)}, artifact.sha256)
        )
        answers.keep(points[-1], told, artifact)
    return answers, Front.of(points)


@pytest.fixture(params=[1, 3], ids=["one pair", "folds"])
def data(request):
    whole = toy_data(600)
    return folds_of(whole, 3) if request.param == 3 else Dataset(whole.signature, whole.rows, whole.splits)


def test_means_err_less_than_the_front_at_every_size(tmp_path, data):
    answers, front = tried(tmp_path, data, [2.0] * 8, [3000 + 100 * n for n in range(8)])
    found = Blends(Joining(), answers, data, "log_loss", 65_536).better_than(front)
    assert found
    least = front.points[0].values["error"]
    for blend in found:
        assert blend.values["error"] < (1 - LEAST_GAIN) * least  # than all smaller means, too
        least = blend.values["error"]
        assert 2 <= len(blend.shares) <= MEMBERS
        assert sum(blend.shares.values()) == pytest.approx(1)
        assert list(blend.shares.values()) == sorted(blend.shares.values(), reverse=True)
        assert blend.values["bytes"] == sum(point.values["bytes"] + JOINT for point in blend.points)
        assert [point.candidate for point in blend.points] == list(blend.shares)
        assert [file.sha256 for file in blend.files] == [point.sha256 for point in blend.points]


def test_the_error_told_is_that_of_the_mean_of_the_answers(tmp_path, data):
    answers, front = tried(tmp_path, data, [2.0] * 6, [3000] * 6)
    blend = Blends(Joining(), answers, data, "log_loss", 65_536).better_than(front)[-1]
    mean = sum(share * answers.of(p) for p, share in zip(blend.points, blend.shares.values(), strict=True))
    cuts = np.cumsum([len(split.valid) for split in data.splits])[:-1]
    errors = [
        error_of(part.astype(np.float32), data.valid(fold), metric="log_loss", task="classification")
        for fold, part in enumerate(np.split(mean, cuts))
    ]
    assert blend.values["error"] == pytest.approx(np.mean(errors), abs=1e-6)
    assert blend.last_answers == pytest.approx(np.split(mean, cuts)[-1], abs=1e-6)
    assert ("last_fold_error" in blend.values) == (len(data.splits) > 1)
    if len(data.splits) > 1:
        assert blend.values["last_fold_error"] == pytest.approx(errors[-1], abs=1e-6)


def test_members_together_keep_the_limit(tmp_path, data):
    answers, front = tried(tmp_path, data, [2.0] * 8, [3000 + 100 * n for n in range(8)])
    for limit in (5000, 7000, 10_000):
        for blend in Blends(Joining(), answers, data, "log_loss", limit).better_than(front):
            assert blend.values["bytes"] <= limit
    assert not Blends(Joining(), answers, data, "log_loss", 5000).better_than(front)


def test_members_keep_the_limit_of_what_they_compute_together(tmp_path, data):
    answers, front = tried(tmp_path, data, [2.0] * 8, [3000 + 100 * n for n in range(8)])
    free = Blends(Joining(), answers, data, "log_loss", 65_536).better_than(front)
    assert max(sum(map(Joining().macs, blend.shares)) for blend in free) > 9000
    limited = Blends(Joining(), answers, data, "log_loss", 65_536, 9000).better_than(front)
    assert limited
    assert all(sum(map(Joining().macs, blend.shares)) <= 9000 for blend in limited)


def test_a_worse_file_may_have_a_small_share_and_small_files_make_means_too(tmp_path, data):
    answers, front = tried(tmp_path, data, [1.0, *[2.0] * 6], [9000, *[4500] * 6])
    found = Blends(Joining(), answers, data, "log_loss", 20_000).better_than(front)
    assert any(max(blend.shares.values()) > 0.6 for blend in found)
    alone = [blend for blend in found if blend.values["bytes"] < 11_500]
    assert all(front.points[0].candidate not in blend.shares for blend in alone)


def test_with_opinions_less_is_chosen_by_luck(tmp_path):
    def loss(seed, *, is_told):
        """Return the loss that the chosen mean is worth, which the labels do not tell."""
        rng, plain = np.random.default_rng(seed), folds_of(toy_data(300), 3)
        truth = rng.uniform(0.05, 0.95, len(plain.rows.y))
        rows = Rows((rng.random(len(truth)) < truth).astype(np.int64), plain.rows.x)
        data = Dataset(plain.signature, rows, plain.splits)
        order = np.concatenate([split.valid for split in data.splits])
        known, answers, points = truth[order], Answers(tmp_path / f"{seed} {is_told}"), []
        for number in range(8):
            ones = 1 / (1 + np.exp(rng.normal(size=len(known)) - np.log(known / (1 - known))))
            told = np.stack([1 - ones, ones], 1).astype(np.float32)
            error = error_of(told, data.rows.take(order), metric="log_loss", task="classification")
            file = Artifact(b"%d" % number * 3000, {})
            points.append(Point(Candidate.of({"n": number}), {"error": error, "bytes": 3000.0}, file.sha256))
            answers.keep(points[-1], told, file)
        opinions = np.stack([1 - known, known], 1) if is_told else None
        blends = Blends(Joining(opinions=opinions), answers, data, "log_loss", 65_536)
        (*_, blend) = blends.better_than(Front.of(points))
        ones = sum(share * answers.of(p)[:, 1] for p, share in zip(blend.points, blend.shares.values(), strict=True))
        return -np.mean(known * np.log(ones) + (1 - known) * np.log(1 - ones))

    gains = [loss(seed, is_told=False) - loss(seed, is_told=True) for seed in range(8)]
    assert np.mean(gains) > 0
    assert min(gains) > -0.01


def test_no_mean_where_one_file_says_all(tmp_path, data):
    answers, front = tried(tmp_path, data, [0.01, 9.0, 9.0], [3000, 3000, 3000])
    assert not Blends(Joining(), answers, data, "log_loss", 65_536).better_than(front)


def test_the_file_of_a_mean_takes_finished_files_and_the_trials_own_where_there_are_none(tmp_path, data, caplog):
    answers, front = tried(tmp_path, data, [2.0] * 6, [3000] * 6)
    family = Joining()
    blends = Blends(family, answers, data, "log_loss", 65_536)
    blend = blends.better_than(front)[-1]
    finished = Artifact(b"finished", {})
    artifact = blends.file(blend, {blend.points[0].candidate.key: finished})
    files, told = family.joined[-1]
    assert files == [finished, *blend.files[1:]]
    assert told is blend.last_answers
    assert artifact.card["mean_of"] == {member.key: share for member, share in blend.shares.items()}
    assert not artifact.card["finished"]
    assert f"{len(files) - 1} of {len(files)} members are trials' own files" in artifact.card["why_not_finished"]
    whole = blends.file(blend, {point.candidate.key: finished for point in blend.points})
    assert whole.card["finished"]
    assert "why_not_finished" not in whole.card
    short = Blends(family, answers, data, "log_loss", whole.size - 1)
    assert short.file(blend, {point.candidate.key: finished for point in blend.points}) is None
    assert f"left out of the front: it has {whole.size:,} bytes, more than" in caplog.text
    caplog.clear()
    assert Blends(Joining(fails=True), answers, data, "log_loss", None).file(blend, {}) is None
    assert "left out of the front" in caplog.text
