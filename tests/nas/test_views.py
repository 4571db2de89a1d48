"""Files that answer with the mean over an image and its mirror image."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from compression.nets.export import export
from compression.nets.memory import macs, peak_memory
from compression.nets.network import Network
from compression.nets.prune import keep_channels
from compression.nets.train import Recipe
from engine.checks import family_checks
from engine.data import Dataset, Rows, Signature, Split
from engine.errors import SettingsError
from engine.trial import Point
from nas.family import Networks
from nas.measure import measured
from nas.search import run
from nas.settings import Settings, TrainSettings
from nas.space import space_named

FLIPPED = Recipe(steps=12, epochs=0.1, flip=True)
SPACES = ("cells", "mobile")
LAWS = dict(family_checks())


@cache
def digits(kind="uint8", channels=1):
    x, y = load_digits(return_X_y=True)
    images = np.repeat(x[:400].reshape(-1, 1, 8, 8), channels, axis=1).astype(kind)
    center, spread = (0.0, 1.0) if kind == "uint8" else (float(images.mean()), float(images.std()))
    signature = Signature(
        "images", "classification", images.shape[1:], kind, tuple(map(str, range(10))), center, spread
    )
    return Dataset(signature, Rows(y[:400], images), (Split(np.arange(300), np.arange(300, 400)),))


def family_of(name, views, data=None):
    return Networks(replace(space_named(name).settings(), views=views), (data or digits()).signature, FLIPPED)


def written(family, candidate, data, seed=0):
    """The file of a network with random weights, and the network."""
    kind, genome = family._kind(candidate), family.genome(candidate)
    torch.manual_seed(seed)
    network = Network(measured(kind.plan(genome, data.signature), data.train(0)))
    network = keep_channels(network, kind.kept(genome))
    network.thin(1.0)
    network.quantize()
    network.eval()
    return export(network, data.valid(0).inputs()["x"], seed=seed, is_winner=True), network


@pytest.mark.parametrize("name", SPACES)
@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_the_length_is_known_and_everything_else_twice_that_of_one_view(name, seed):
    one, two = family_of(name, (1,)), family_of(name, (2,))
    candidate = one.canonical(one.space.sample(np.random.default_rng(seed)))
    artifact, network = written(two, candidate, digits())
    assert artifact.size == two.bytes(candidate)
    assert 150 < two.bytes(candidate) - one.bytes(candidate) < 220
    assert two.macs(candidate) == 2 * one.macs(candidate) == macs(network.plan)
    alone = replace(network.plan, views=1)
    assert peak_memory(network.plan) - peak_memory(alone) == artifact.card["peak_memory"] - peak_memory(alone) > 0


@pytest.mark.parametrize("data", [digits(), digits("float32", 3)], ids=["bytes", "colours"])
def test_a_file_answers_for_an_image_as_for_its_mirror_image(data):
    family = family_of("cells", (2,), data)
    artifact, network = written(family, family.portfolio[2], data)
    x = data.valid(0).inputs()["x"]
    answers = artifact.outputs({"x": x})
    assert answers == pytest.approx(artifact.outputs({"x": np.ascontiguousarray(x[..., ::-1])}), abs=1e-5)
    rows = torch.from_numpy(((x - data.signature.center) / data.signature.spread).astype(np.float32))
    with torch.no_grad():
        expected = torch.softmax((network(rows) + network(rows.flip(-1))) / 2, 1)
    assert answers == pytest.approx(expected.numpy(), abs=0.01)  # scales and biases are rounded


@pytest.mark.parametrize("law", sorted(LAWS))
def test_laws_of_families_hold(law):
    LAWS[law](family_of("cells", (2, 1)), digits())


def test_the_gene_is_there_where_there_is_a_choice_and_the_portfolio_takes_the_first():
    both, alone = family_of("mobile", (2, 1)), family_of("mobile", (2,))
    assert {member["views"] for member in both.portfolio} == {2}
    assert "views" not in alone.space.domains
    candidate = both.portfolio[0]
    assert both.bytes(candidate) > both.bytes(candidate.replace(views=1))
    told = both.describe(Point(candidate, {"error": 0.1, "bytes": 900.0}), [])
    assert told["steps"][-1]["step"] == "two views"
    single = both.describe(Point(candidate.replace(views=1), {"error": 0.1, "bytes": 900.0}), [])
    assert "two views" not in {step["step"] for step in single["steps"]}


def test_views_that_are_never_learned_or_cannot_be_computed_are_refused():
    plain = space_named("cells").settings()
    with pytest.raises(SettingsError, match=r"space.views=\[2\] asks about mirrored .* got train.flip=False"):
        Networks(replace(plain, views=(2,)), digits().signature, Recipe())
    with pytest.raises(SettingsError, match=r"space.executions=\['integer'\]"):
        Networks(replace(plain, views=(2, 1), executions=("integer",)), digits().signature, FLIPPED)
    for name in SPACES:
        with pytest.raises(SettingsError, match=r"space.views must lie in \[1, 2\], got \[3\]"):
            replace(space_named(name).settings(), views=(1, 3))


@pytest.mark.parametrize("flip", [True, False])
def test_a_search_offers_two_views_where_flips_are_learned(tmp_path, flip):
    found = run(
        Settings(
            budget=2,
            train=TrainSettings(steps=8, epochs=0.1, flip=flip),
            finish=replace(Settings().finish, members=0),
            run=str(tmp_path / "run"),
            quiet=True,
        )
    )
    genes = [point.candidate.genes for trial in found.study.known() for point in trial.points]
    assert [gene.get("views") for gene in genes] == ([2, 2] if flip else [None, None])
