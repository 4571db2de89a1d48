"""Means of networks: one file, and what its card says."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from compression.nets.train import Recipe
from engine.data import Signature
from engine.errors import ArtifactError
from engine.load import DataSettings, load
from engine.score import error_of
from engine.shares import blend_of
from engine.trial import Point
from engine.winners import FinishSettings
from nas.cells import CellsSettings
from nas.family import Networks
from nas.search import run
from nas.settings import Settings, TrainSettings

SIGNATURE = Signature("images", "classification", (1, 8, 8), "uint8", tuple(map(str, range(10))))
FAMILY = Networks(CellsSettings(), SIGNATURE, Recipe(steps=12, epochs=0.1))


@cache
def digits():
    return load(DataSettings(), seed=0)


@cache
def built():
    data = digits().dataset
    given = {"fold": 0, "fidelity": 0.1, "seed": 0, "report": lambda _step, _error: True}
    return [pair for candidate in FAMILY.portfolio[:2] for pair in FAMILY.build(candidate, data, **given)]


def mean_of_two():
    (first, one), (second, other) = built()
    valid = digits().dataset.valid(0)
    blend = blend_of({first: 0.625, second: 0.375})
    answers = 0.625 * one.outputs(valid.inputs()) + 0.375 * other.outputs(valid.inputs())
    return blend, (one, other), answers.astype(np.float32)


def test_the_file_answers_with_the_weighted_mean():
    blend, files, answers = mean_of_two()
    valid = digits().dataset.valid(0)
    found = FAMILY.join(blend, digits().dataset, files=files, answers=answers)
    assert found.outputs(valid.inputs()) == pytest.approx(answers, abs=1e-5)
    assert found.size < sum(file.size for file in files) + 160
    wrong = error_of(answers, valid, metric="accuracy", task="classification")
    assert found.card["validation"] == {"error": wrong, "rows": len(valid)}
    assert found.card["parameters"] == sum(file.card["parameters"] for file in files)


def test_the_card_tells_the_members():
    blend, files, _ = mean_of_two()
    told = FAMILY.describe(Point(blend, {"error": 0.1, "bytes": 900.0}), ())
    assert told["description"].startswith("weighted mean of 2 networks: 62.5% ")
    assert {step["step"].split(":")[0] for step in told["steps"]} == {"member 0", "member 1"}
    assert not any("no network with removed channels" in step["detail"] for step in told["steps"])
    assert FAMILY.macs(blend) == sum(FAMILY.macs(candidate) for candidate, _ in built())
    assert len(files) == 2


def test_a_file_that_answers_otherwise_is_none(monkeypatch):
    blend, files, answers = mean_of_two()
    monkeypatch.setattr("nas.mean.mean_file", lambda models, _shares: models[0])
    with pytest.raises(ArtifactError, match="The mean of 2 networks must answer as they do"):
        FAMILY.join(blend, digits().dataset, files=files, answers=answers)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_ships_means_of_finished_networks_unless_told_not_to(tmp_path):
    def members(name, **finish):
        found = run(
            Settings(
                budget=10,
                max_macs=200_000,
                finish=FinishSettings(members=8, refit=False, teachers=0, **finish),
                train=TrainSettings(steps=120),
                run=str(tmp_path / name),
                quiet=True,
            )
        )
        return found.members

    with_means, without = members("with"), members("without", means=False)
    means = [member.artifact for member in with_means if "mean_of" in member.artifact.card]
    assert means
    assert not any("mean_of" in member.artifact.card for member in without)
    for mean in means:
        assert mean.card["macs"] <= 200_000
        assert mean.card["finished"]
        valid = digits().dataset.valid(0)
        wrong = error_of(mean.outputs(valid.inputs()), valid, metric="accuracy", task="classification")
        assert wrong == pytest.approx(mean.card["validation"]["error"], abs=1 / len(valid))
    assert all(a.point.values["error"] < b.point.values["error"] for a, b in pairwise(with_means))
