"""The gene that all spaces have: networks that compute with integers."""

from dataclasses import replace
from functools import cache

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from compression.nets.export import lowered_plan
from compression.nets.network import Network
from compression.nets.prune import keep_channels
from compression.nets.train import Recipe, prepared
from compression.nets.verify import check_parity
from engine.checks import family_checks
from engine.data import Dataset, Rows, Signature, Split
from engine.errors import SettingsError
from engine.trial import Point
from nas.family import Networks
from nas.measure import measured
from nas.space import known_spaces, space_named

BOTH = ("float", "integer")
QUICK = Recipe(steps=12, epochs=0.1)
SHAPES = {
    "cells": ("images", (1, 8, 8)), "mobile": ("images", (1, 8, 8)), "cells1d": ("signals", (8, 8)),
    "mlp": ("table", (64,)),
}  # fmt: skip
LAWS = dict(family_checks())


@cache
def data_of(name):
    """Digits as images, as signals (one channel for each row of pixels) and as vectors."""
    x, y = load_digits(return_X_y=True)
    kind, shape = SHAPES[name]
    rows = np.random.default_rng(0).permutation(len(x))[:400]
    x, labels = x[rows].astype(np.uint8 if kind == "images" else np.float32).reshape(-1, *shape), y[rows]
    columns = tuple(f"x{number}" for number in range(64)) if kind == "table" else ()
    center, spread = (0.0, 1.0) if kind == "images" else (float(x.mean()), float(x.std()))
    classes = tuple(map(str, range(10)))
    signature = Signature(kind, "classification", shape, str(x.dtype), classes, center, spread, columns)
    return Dataset(signature, Rows(labels, x), (Split(np.arange(300), np.arange(300, 400)),))


@cache
def family_of(name, executions=BOTH, recipe=QUICK):
    given = replace(space_named(name).settings(), executions=executions)
    return Networks(given, data_of(name).signature, recipe)


def integer_candidate(family, seed):
    """A random candidate that computes with integers; None where its weights are floats, or it has no layer."""
    sampled = family.space.sample(np.random.default_rng(seed)).replace(execution="integer")
    found = family.canonical(sampled)
    return found if found["execution"] == "integer" else None


@pytest.mark.parametrize("name", known_spaces())
@given(seed=st.integers(0, 10**9))
@settings(max_examples=8, deadline=None)
def test_sizes_are_exact_and_files_are_their_twins_for_any_genome(name, seed):
    family, data = family_of(name), data_of(name)
    candidate = integer_candidate(family, seed)
    if candidate is None:
        return
    genome, x = family.genome(candidate), data.valid(0).inputs()["x"]
    torch.manual_seed(seed)
    plan = measured(family._kind(candidate).plan(genome, family.signature), data.train(0))
    network = keep_channels(Network(plan), family.kind.kept(genome))
    for unit in network.units.values():
        if unit.normalisation is not None:
            torch.nn.init.normal_(unit.normalisation.weight)
            torch.nn.init.normal_(unit.normalisation.bias)
    network.thin(1.0)
    network.quantize()
    network(prepared(x[:64], family.signature).float())  # finds the scales
    weights = network.eval().written()
    lowered = lowered_plan(network.plan, weights)
    assert len(lowered.model) == family.bytes(candidate)
    assert check_parity(network.plan, weights, lowered, x, seed=0).difference <= 1e-4
    kinds = {node.op_type for node in onnx.load_model_from_string(lowered.model).graph.node}
    assert not {"Conv", "Relu"} & kinds


@pytest.mark.parametrize("law", LAWS)
def test_the_gene_keeps_the_laws_of_families(law):
    LAWS[law](family_of("cells"), data_of("cells"))


@pytest.mark.parametrize("name", known_spaces())
def test_without_a_choice_there_is_no_gene(name):
    for execution in BOTH:
        family = family_of(name, (execution,))
        assert "execution" not in family.space.domains
        assert all("execution" not in member.genes for member in family.portfolio)
    assert {member["execution"] for member in family_of(name).portfolio} == {"float"}
    assert family_of(name, None).space == family_of(name, ("float",)).space
    assert space_named(name).settings().executions is None


def test_where_weights_are_floats_the_gene_is_silent():
    family = family_of("cells")
    candidate = next(c for c in (integer_candidate(family, seed) for seed in range(99)) if c and c["stages"] == 1)
    floats = candidate.replace(**{"stage0.coding": "float16", "stage0.depth": 1, "cell.03": "conv3"})
    assert family.canonical(floats) == family.canonical(floats.replace(execution="float"))
    fixed = family_of("cells", ("integer",))
    genes = {name: value for name, value in floats.values if name != "execution"}
    alone = type(floats).of(genes)
    assert fixed.bytes(alone) == family.bytes(floats)
    assert fixed.bytes(type(floats).of({**genes, "stage0.coding": "int4"})) != family.bytes(
        floats.replace(execution="float", **{"stage0.coding": "int4"})
    )


def test_trained_networks_learn_in_integers_and_say_so():
    family, data = family_of("cells", BOTH, Recipe(steps=100)), data_of("cells")
    candidate = sorted(family.portfolio, key=family.bytes)[1].replace(execution="integer")
    [(built, artifact)] = family.build(candidate, data, fold=0, fidelity=1.0, seed=0, report=lambda _step, _error: True)
    assert built == candidate
    assert artifact.size == family.bytes(candidate)
    assert artifact.card["execution"] == "integer"
    assert artifact.card["parity"]["difference"] <= 1e-4
    assert artifact.card["parity"]["flips"] == 0
    in_floats = replace(family, settings=replace(family.settings, executions=("float",)))
    alone = type(candidate).of({name: value for name, value in candidate.values if name != "execution"})
    [(_, other)] = in_floats.build(alone, data, fold=0, fidelity=0.1, seed=0, report=lambda _step, _error: True)
    assert other.card["execution"] == "float"
    assert artifact.card["peak_memory"] < other.card["peak_memory"] / 2
    valid = data.valid(0)
    assert (artifact.outputs(valid.inputs()).argmax(1) == valid.y).mean() > 0.6
    finished = family.finish(
        candidate, data, teachers=(artifact,), effort=1.0, max_bytes=artifact.size, seed=0, refit=False
    )
    assert finished.size == artifact.size
    assert finished.card["parity"]["flips"] == 0
    point = Point(candidate, {"error": 0.1, "bytes": float(artifact.size)})
    assert "activations quantized" in {step["step"] for step in family.describe(point, [])["steps"]}


@pytest.mark.parametrize("name", known_spaces())
def test_other_ways_to_compute_are_refused(name):
    with pytest.raises(
        SettingsError, match=r"space.executions knows no 'intger'; did you mean 'integer'\? Known: float, i"
    ):
        replace(space_named(name).settings(), executions=("intger",))
