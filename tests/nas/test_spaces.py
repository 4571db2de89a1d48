"""Every space of networks: exact sizes, the laws of families, files that are the networks that were trained."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes, load_digits, load_wine

from compression.nets.layers import lower
from compression.nets.network import Network
from compression.nets.plan import Rescaling, Standardisation
from compression.nets.prune import keep_channels
from compression.nets.train import Recipe, suited_shift
from engine.artifact import Artifact, session
from engine.checks import family_checks
from engine.data import Dataset, Rows, Signature, Split
from engine.drawing import cell_picture
from engine.errors import DataError, SettingsError
from engine.trial import Point, State, Trial
from nas.family import Networks
from nas.measure import measured
from nas.settings import Settings, settings_for
from nas.space import known_spaces, space_named
from nas.spaces.cells1d import Cells1dSettings
from nas.spaces.mlp import MlpSettings
from nas.spaces.mobile import MobileSettings

NEW = ("cells1d", "mlp", "mobile")
CASES = [(name, task) for name in NEW for task in ("classification", "regression")]
QUICK = Recipe(steps=12, epochs=0.1)
SHAPES = {"cells1d": ("signals", (8, 8)), "mlp": ("table", (64,)), "mobile": ("images", (1, 8, 8))}
FAMILY_CHECKS = dict(family_checks())


@cache
def data_of(name, task):
    """Digits as images, as signals (one channel for each row of pixels) and as vectors; their ink as a value."""
    x, y = load_digits(return_X_y=True)
    kind, shape = SHAPES[name]
    rows = np.random.default_rng(0).permutation(len(x))[:400]
    x, labels = x[rows].astype(np.uint8 if kind == "images" else np.float32).reshape(-1, *shape), y[rows]
    columns = tuple(f"x{number}" for number in range(64)) if kind == "table" else ()
    classes = tuple(map(str, range(10))) if task == "classification" else ()
    center, spread = (0.0, 1.0) if kind == "images" else (float(x.mean()), float(x.std()))
    signature = Signature(kind, task, shape, str(x.dtype), classes, center, spread, columns)
    target = labels if classes else 1000 + x.reshape(len(x), -1).sum(1) ** 1.5
    return Dataset(signature, Rows(target, x), (Split(np.arange(300), np.arange(300, 400)),))


@cache
def family_of(name, task, recipe=QUICK):
    metric = "accuracy" if task == "classification" else "rmse"
    return Networks(space_named(name).settings(), data_of(name, task).signature, recipe, metric)


def candidate_of(family, seed):
    return family.canonical(family.space.sample(np.random.default_rng(seed)))


def goes_on(_step, _error):
    return True


@pytest.mark.parametrize(("name", "task"), CASES)
@given(seed=st.integers(0, 10**9))
@settings(max_examples=30, deadline=None)
def test_predicted_bytes_are_the_length_of_the_written_file(name, task, seed):
    check_size(name, task, seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", NEW)
@given(seed=st.integers(0, 10**9))
@settings(max_examples=1000, deadline=None)
def test_predicted_bytes_are_the_length_of_a_thousand_written_files(name, seed):
    check_size(name, ("classification", "regression")[seed % 2], seed)


def check_size(name, task, seed):
    family = family_of(name, task)
    candidate = family.space.sample(np.random.default_rng(seed))
    genome = family.genome(family.canonical(candidate))
    rng = np.random.default_rng(seed)
    rows = Rows(rng.normal(3, 1e4, 50), rng.normal(5, 1e-3, (50, *family.signature.shape)).astype(np.float32))
    plan = measured(family.kind.plan(genome, family.signature), rows)
    torch.manual_seed(seed)
    network = keep_channels(Network(plan), family.kind.kept(genome))
    network.thin(1.0)
    network.quantize()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    assert len(lower(network.plan, network.written()).model) == family.bytes(candidate)


@pytest.mark.parametrize("law", FAMILY_CHECKS)
@pytest.mark.parametrize(("name", "task"), [("cells1d", "classification"), ("mobile", "classification"),
                                            ("mlp", "classification"), ("mlp", "regression")])  # fmt: skip
def test_every_space_keeps_the_laws_of_families(name, task, law):
    narrow = {
        "cells1d": Cells1dSettings(stages=2, widths=(4, 8), depths=(0, 1, 2)),
        "mobile": MobileSettings(stages=2, widths=(4, 8), depths=(1, 3), expansions=(1, 2)),
        "mlp": MlpSettings(widths=(4, 8)),
    }
    FAMILY_CHECKS[law](replace(family_of(name, task), settings=narrow[name]), data_of(name, task))


@pytest.mark.parametrize(("name", "task"), CASES)
def test_trained_networks_learn_and_their_files_answer_alike(name, task):
    family, data = family_of(name, task, Recipe(steps=120)), data_of(name, task)
    candidate = sorted(family.portfolio, key=family.bytes)[1]
    [(built, artifact)] = family.build(candidate, data, fold=0, fidelity=1.0, seed=0, report=goes_on)
    assert built == candidate
    assert artifact.size == family.bytes(candidate)
    valid = data.valid(0)
    outputs = artifact.outputs(valid.inputs())
    if task == "classification":
        assert (outputs.argmax(1) == valid.y).mean() > 0.5
    else:
        assert artifact.task == "regression"
        assert np.sqrt(((outputs[:, 0] - valid.y) ** 2).mean()) < 0.7 * valid.y.std()
    assert artifact.card["parity"]["difference"] <= 1e-4


@pytest.mark.parametrize("name", NEW)
def test_portfolios_lie_in_the_space_and_differ(name):
    family = family_of(name, "classification")
    members = family.portfolio
    assert len(members) >= 4
    assert len({family.canonical(member) for member in members}) == len(members)
    assert max(map(family.bytes, members)) > 2 * min(map(family.bytes, members))


@pytest.mark.parametrize("name", NEW)
def test_canonical_twins_are_one_network(name):
    """Genes that the canonical form changes have no part in the network."""
    family = family_of(name, "classification")
    changed = 0
    for seed in range(60):
        candidate = family.space.sample(np.random.default_rng(seed))
        twin = family.canonical(candidate)
        if twin != candidate and name != "cells1d":  # cells are renumbered there
            changed += 1
            plans = [family.kind.plan(family.genome(c), family.signature) for c in (candidate, twin)]
            kept = [family.kind.kept(family.genome(c)) for c in (candidate, twin)]
            assert plans[0] == plans[1]
            assert kept[0] == kept[1]
        assert family.bytes(candidate) == family.bytes(twin)
    assert changed or name == "cells1d"


def shared_pair(name):
    """The same candidate with weights of its own in each cell, and with shared ones."""
    if name == "cells1d":
        given = {"stages": 1, "stage0.width": 8, "stage0.depth": 3, "stage0.stride": 1, "stage0.coding": "int8",
                 "stage0.keep": 1.0, "stem.coding": "int8", "head.coding": "int8"}  # fmt: skip
        given |= {f"cell.{edge}": "none" for edge in ("01", "02", "12", "13", "23")} | {"cell.03": "conv3"}
    else:
        given = {"stages": 1, "stem.width": 8, "stem.stride": 1, "stage0.width": 8, "stage0.depth": 4,
                 "stage0.expansion": 2, "stage0.kernel": 3, "stage0.stride": 1, "stage0.coding": "int8",
                 "stage0.keep": 0.5, "stem.coding": "int8", "head.coding": "int8"}  # fmt: skip
    family = family_of(name, "classification", Recipe(steps=100))
    rng = np.random.default_rng(0)
    pair = [family.space.complete(space_candidate(given, shared), rng) for shared in (False, True)]
    return family, [family.canonical(candidate) for candidate in pair]


def space_candidate(given, shared):
    from engine.space import Candidate

    return Candidate.of({**given, "stage0.shared": shared})


@pytest.mark.parametrize("name", ["cells1d", "mobile"])
def test_shared_weights_lie_in_the_file_once(name):
    family, (apart, shared) = shared_pair(name)
    assert apart != shared
    genome = family.genome(shared)
    plan = family.kind.plan(genome, family.signature).with_channels(family.kind.kept(genome))
    saved = sum(plan.count(step) for step in plan.weighted) - sum(map(plan.count, plan.owners))
    assert saved > 0
    assert saved <= family.bytes(apart) - family.bytes(shared) <= saved + 80  # and the nodes that take them apart
    assert family.macs(apart) == family.macs(shared)
    [(_, artifact)] = family.build(
        shared, data_of(name, "classification"), fold=0, fidelity=1.0, seed=0, report=goes_on
    )
    assert artifact.size == family.bytes(shared)
    valid = data_of(name, "classification").valid(0)
    assert (artifact.outputs(valid.inputs()).argmax(1) == valid.y).mean() > 0.4


def test_without_cells_to_share_the_gene_is_silent():
    family, (apart, shared) = shared_pair("cells1d")
    for changes in ({"stage0.depth": 1}, {"stage0.coding": "float16"}, {"cell.03": "max3"}):
        assert family.canonical(shared.replace(**changes)) == family.canonical(apart.replace(**changes))


def test_mobile_adds_where_shapes_agree():
    family = family_of("mobile", "classification")
    _, (apart, _) = shared_pair("mobile")
    names = {step.name for step in family.kind.plan(family.genome(apart), family.signature).steps}
    assert {"stage0_1_sum", "stage0_2_sum", "stage0_3_sum"} <= names
    assert "stage0_0_sum" not in names  # half of the stage's channels go, none of the first layer's
    whole = apart.replace(**{"stage0.keep": 1.0})
    names = {step.name for step in family.kind.plan(family.genome(whole), family.signature).steps}
    assert "stage0_0_sum" in names


def test_missing_values_and_far_values_of_a_table_are_taken():
    x, y = load_wine(return_X_y=True)
    x = x.astype(np.float32) * np.logspace(-9, 9, 13, dtype=np.float32)
    x[::7, 3] = np.nan
    columns = tuple(map(str, range(13)))
    signature = Signature("table", "classification", (13,), "float32", ("a", "b", "c"), numeric_columns=columns)
    rows = np.random.default_rng(0).permutation(len(x))
    data = Dataset(signature, Rows(y[rows], x[rows]), (Split(np.arange(130), np.arange(130, 178)),))
    family = Networks(MlpSettings(), signature, Recipe(steps=150))
    candidate = family.portfolio[2]
    [(_, artifact)] = family.build(candidate, data, fold=0, fidelity=1.0, seed=0, report=goes_on)
    valid = data.valid(0)
    assert (artifact.outputs(valid.inputs()).argmax(1) == valid.y).mean() > 0.9
    odd = np.array([[np.nan] * 13, [1e30] * 13, [-1e30] * 13, [0] * 13, [np.inf] * 13], np.float32)
    probabilities = artifact.outputs({"x": odd})
    assert np.isfinite(probabilities).all()
    assert np.allclose(session(artifact.model, optimized=False).run(None, {"x": odd})[0], probabilities, atol=1e-5)


def test_measured_numbers_bring_columns_and_targets_to_one_scale():
    x, y = load_diabetes(return_X_y=True)
    x = (1e4 + 1e6 * x).astype(np.float32)
    x[:, 2] = 5.0
    signature = Signature("table", "regression", (10,), "float32", numeric_columns=tuple(map(str, range(10))))
    family = Networks(MlpSettings(), signature, QUICK, metric="rmse")
    plan = measured(family.kind.plan(family.genome(candidate_of(family, 0)), signature), Rows(y, x))
    scale, answer = plan.steps[0], plan.steps[-1]
    assert isinstance(scale, Standardisation)
    assert isinstance(answer, Rescaling)
    z = x * 2.0 ** np.array(scale.exponents) - np.array(scale.centres)
    spreads = z.std(0)[[0, 1, *range(3, 10)]]
    assert (np.abs(z.mean(0)) < 0.1).all()
    assert ((spreads > 0.7) & (spreads < 1.42)).all()
    assert (answer.center, answer.spread) == pytest.approx((y.mean(), y.std()))


@pytest.mark.parametrize(("name", "task"), CASES)
def test_a_finished_winner_learns_from_a_teacher_and_keeps_its_size(name, task):
    family, data = family_of(name, task), data_of(name, task)
    candidate = family.canonical(min(family.portfolio, key=family.bytes))
    teacher = next(family.build(candidate, data, fold=0, fidelity=1.0, seed=1, report=goes_on))[1]
    artifact = family.finish(
        candidate, data, teachers=(teacher,), effort=1.5, max_bytes=teacher.size, seed=0, refit=True
    )
    assert artifact.size == teacher.size
    assert artifact.card["validation"]["rows"] == 100
    assert isinstance(artifact, Artifact)


@pytest.mark.parametrize("name", known_spaces())
def test_cards_tell_and_reports_draw_every_network(name):
    shape = {"cells": ("images", (1, 8, 8))} | SHAPES
    kind, size = shape[name]
    columns = tuple(map(str, range(64))) if kind == "table" else ()
    signature = Signature(kind, "classification", size, "float32", ("a", "b"), numeric_columns=columns)
    family = Networks(space_named(name).settings(), signature, QUICK)
    for seed in range(20):
        candidate = candidate_of(family, seed)
        point = Point(candidate, {"error": 0.125, "bytes": 900.0})
        told = family.describe(point, [Trial(0, candidate, State.COMPLETE, (point,))])
        assert told["description"]
        assert any(step["step"] == "weights quantized" for step in told["steps"])
        assert cell_picture(told["graph"]).startswith("<svg") or not told["graph"]["edges"]


@pytest.mark.parametrize(
    ("name", "signature", "text"),
    [
        ("cells1d", Signature("images", "regression", (1, 8, 8), "uint8"), r"takes signals .*, got images"),
        ("mobile", Signature("table", "regression", (4,), "float32"), r"takes images .*, got table.*space=mlp"),
        ("mlp", Signature("signals", "regression", (2, 9), "float32"), r"takes tables of numbers, got signals"),
        (
            "mlp",
            Signature("table", "regression", (1,), "float32", (), 0.0, 1.0, ("a",), ("job", "town")),
            r"got columns of text: job, town\. Search with python -m automl\.search, .*data\.drop=\[job, town\]",
        ),
    ],
)  # fmt: skip
def test_data_that_do_not_fit_are_refused_with_the_remedy(name, signature, text):
    with pytest.raises(DataError, match=text):
        Networks(space_named(name).settings(), signature, QUICK)


def test_an_unknown_space_is_refused_with_the_nearest():
    with pytest.raises(SettingsError, match=r"No space 'cels1d' of networks; did you mean 'cells1d'\? Spaces: cells, "):
        settings_for({"space": {"name": "cels1d"}})


@pytest.mark.parametrize("name", known_spaces())
def test_settings_are_those_of_the_space(name):
    made = settings_for({"space": {"name": name}})()
    assert isinstance(made, Settings)
    assert made.space == space_named(name).settings()
    with pytest.raises(SettingsError, match=f"space.name must be {name}, got other"):
        space_named(name).settings(name="other")


@pytest.mark.parametrize(
    ("kind", "changes", "texts"),
    [
        (MlpSettings, {"codings": ("int3",), "layers": 99}, ("no 'int3'; did you mean", "layers must be in [0, 8]")),
        (MobileSettings, {"kernels": (4,), "shares": ()}, ("kernels must be odd", "shares must hold false, true")),
        (Cells1dSettings, {"strides": (0,), "operations": ("conv5",)}, ("must lie in [1, 8]", "must hold none")),
    ],
)  # fmt: skip
def test_all_problems_of_a_space_are_told_at_once(kind, changes, texts):
    with pytest.raises(SettingsError) as caught:
        kind(**changes)
    assert all(text in str(caught.value) for text in texts)


@pytest.mark.parametrize(("name", "moved"), [("cells1d", 0), ("mlp", 0), ("mobile", 1)])
def test_only_images_are_moved(name, moved):
    kind, shape = {"mobile": ("images", (1, 28, 28))}.get(name, SHAPES[name])
    signature = replace(data_of(name, "classification").signature, kind=kind, shape=shape)
    family = Networks(space_named(name).settings(), signature, QUICK)
    genome = family.genome(family.canonical(max(family.portfolio, key=family.bytes)))
    assert suited_shift(family.kind.plan(genome, signature), 10, 30) == moved
