"""Means of what a search of tables tried: in its front, as one file each, again after a kill."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import make_friedman1

from automl import search
from automl.settings import Settings
from automl.space import TabularSettings
from engine.artifact import Artifact
from engine.backends.settings import BackendSettings
from engine.load import DataSettings
from engine.shares import blend_of, shares_of
from engine.show import main as show
from engine.space import Candidate
from engine.winners import FinishSettings

FAMILIES = ("linear", "tree", "additive", "boosting", "ensemble")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    x, y = make_friedman1(300, n_features=6, noise=2.0, random_state=0)
    path = tmp_path_factory.mktemp("table") / "friedman.csv"
    pd.DataFrame(x, columns=list("abcdef")).assign(y=y).to_csv(path, index=False)
    return path


def settings_of(table, folder, **given):
    return Settings(
        **{
            "data": DataSettings(name="csv", path=str(table), target="y", task="regression", folds=2),
            "budget": 12,
            "workers": 1,
            "backend": BackendSettings(name="serial"),
            "space": TabularSettings(families=FAMILIES),
            "race": False,
            "run": str(folder),
            "quiet": True,
            **given,
        }
    )


@pytest.fixture(scope="module")
def finished(table, tmp_path_factory):
    return search.run(settings_of(table, tmp_path_factory.mktemp("run") / "run"))


def means_of(run):
    return [member for member in run.members if "mean_of" in member.artifact.card]


def test_the_front_has_means_that_err_less_than_what_was_tried(finished):
    means = means_of(finished)
    assert means
    for member in means:
        tried = [p for p in finished.study.front if p.values["bytes"] <= member.artifact.size]
        assert member.point.values["error"] < min(point.values["error"] for point in tried)
        assert member.point.values["bytes"] == member.artifact.size == len(member.artifact.model)


def test_the_card_of_a_mean_tells_its_members(finished):
    card = means_of(finished)[0].artifact.card
    assert card["description"].startswith("mean of ")
    assert card["family"] == "blend"
    assert card["trial"] is None
    assert sum(card["mean_of"].values()) == pytest.approx(1)
    assert [step["step"] for step in card["steps"]] == [
        f"{share:.1%} of the mean" for share in card["mean_of"].values()
    ]
    assert set(card["importance"]) == set("abcdef")
    assert card["refit"]
    members = shares_of(Candidate.of(card["candidate"]))
    assert {member.key: share for member, share in members.items()} == card["mean_of"]


def test_a_mean_answers_as_its_members_do(finished, table):
    """The members were trained on all rows: the mean of some of these files, in some shares, is what it answers."""
    rows = {"x": pd.read_csv(table)[list("abcdef")].to_numpy(np.float32)}
    by_key = {}
    for place in (finished.folder / "finished").iterdir():
        by_key[place.name] = Artifact.load(place)
    mean = means_of(finished)[0].artifact
    shares = np.array(list(mean.card["mean_of"].values()))
    answers = [artifact.outputs(rows)[:, 0] for artifact in by_key.values()]
    found, *_ = np.linalg.lstsq(np.stack(answers, 1), mean.outputs(rows)[:, 0], rcond=None)
    residual = np.stack(answers, 1) @ found - mean.outputs(rows)[:, 0]
    assert np.abs(residual).max() < 1e-3
    assert np.sort(found)[-len(shares) :] == pytest.approx(np.sort(shares), abs=0.02)


def test_a_search_that_goes_on_finds_what_one_run_finds(finished, table, tmp_path):
    search.run(settings_of(table, tmp_path / "run", budget=7))
    again = search.run(settings_of(table, tmp_path / "run"))
    assert [m.artifact.sha256 for m in again.members] == [m.artifact.sha256 for m in finished.members]
    once_more = search.run(settings_of(table, tmp_path / "run"))
    assert [m.artifact.sha256 for m in once_more.members] == [m.artifact.sha256 for m in finished.members]


def test_show_tells_what_a_mean_is_made_of(finished, capsys):
    number = finished.members.index(means_of(finished)[0])
    assert show([f"run={finished.folder}", f"member={number}"]) == 0
    told = capsys.readouterr().out
    assert "  mean of trial " in told
    assert "it dominates" in told


@pytest.mark.parametrize(
    "given",
    [
        {"space": TabularSettings(families=FAMILIES[:-1])},
        {"finish": FinishSettings(members=0, effort=1.0)},
        {"cost": "latency_us", "max_bytes": None},
    ],
    ids=["no ensembles", "nothing is finished", "another cost"],
)
def test_no_means_where_they_make_no_sense(table, tmp_path, given):
    run = search.run(settings_of(table, tmp_path / "run", budget=6, **given))
    assert not means_of(run)
    assert not (tmp_path / "run" / "answers").exists()


def test_a_mean_as_a_candidate_survives_json():
    shares = {
        Candidate.of({"family": "boosting", "boosting.trees": 8, "teach": 0.5}): 0.625,
        Candidate.of({"family": "linear", "crosses": 4}): 0.375,
    }
    again = Candidate.of(json.loads(json.dumps(blend_of(shares).genes)))
    assert shares_of(again) == shares
    assert list(shares_of(again).values()) == [0.625, 0.375]
    assert blend_of(shares_of(again)) == again
