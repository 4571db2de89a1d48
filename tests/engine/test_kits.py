"""The public kits, run on a toy family and on cell networks; and that they find what is wrong."""

from functools import cache

import numpy as np
import pytest
from toy import Toy, toy_data

from compression.graph import Graph
from compression.mean import mean_file, pieces
from compression.nets.train import Recipe
from engine.artifact import Artifact
from engine.checks import artifact_checks, family_checks
from engine.errors import FamilyError
from engine.load import DataSettings, load
from engine.shares import shares_of
from nas.cells import CellsSettings
from nas.family import Networks

FAMILY_CHECKS = dict(family_checks())
ARTIFACT_CHECKS = dict(artifact_checks())


@cache
def digits():
    return load(DataSettings(max_rows=400), seed=0).dataset


@cache
def cells():
    return Networks(CellsSettings(), digits().signature, Recipe(steps=5, epochs=0.1))


@cache
def built(kind):
    family, data = (Toy(), toy_data()) if kind == "toy" else (cells(), digits())
    found = family.canonical(family.space.sample(np.random.default_rng(0)))
    made = family.build(found, data, fold=0, fidelity=0.2, seed=1, report=lambda step, error: True)
    return next(iter(made))[1], {"x": data.valid(0).x[:20]}


@pytest.mark.parametrize("name", FAMILY_CHECKS)
def test_the_toy_family_keeps_the_laws(name):
    FAMILY_CHECKS[name](Toy(), toy_data())


@pytest.mark.parametrize("name", FAMILY_CHECKS)
def test_cells_keep_the_laws(name):
    FAMILY_CHECKS[name](cells(), digits())


@pytest.mark.parametrize("kind", ["toy", "cells"])
@pytest.mark.parametrize("name", ARTIFACT_CHECKS)
def test_files_keep_the_laws(name, kind):
    ARTIFACT_CHECKS[name](*built(kind))


class Changed(Toy):
    """A toy that breaks one law."""

    def __init__(self, law, **given):
        super().__init__(**given)
        object.__setattr__(self, "law", law)
        object.__setattr__(self, "calls", [])

    def canonical(self, candidate):
        if self.law == "canonical_is_idempotent":
            return candidate.replace(size=max(1, candidate["size"] - 1))
        if self.law == "canonical_stays_inside_the_space":
            return candidate.replace(size=1000)
        return super().canonical(candidate)

    def bytes(self, candidate):
        return super().bytes(self.canonical(candidate)) + (self.law == "builds_the_size_it_promised")

    def build(self, candidate, data, *, seed, **given):
        self.calls.append(candidate)
        if self.law == "builds_the_same_file_again":
            seed += len(self.calls)
        return super().build(candidate, data, seed=seed, **given)

    def finish(self, candidate, data, **given):
        artifact = super().finish(candidate, data, **given)
        is_longer = self.law == "finishes_within_the_limit"
        return Artifact(artifact.model + b"\x0a\x00" * is_longer, artifact.card)


@pytest.mark.parametrize(
    ("law", "text"),
    [
        ("canonical_stays_inside_the_space", r"size"),
        ("canonical_is_idempotent", r"canonical must be idempotent, got "),
        ("builds_the_size_it_promised", r"bytes promises \d+ for .*; the file has \d+\."),
        ("builds_the_same_file_again", r"The same seed gives other files for "),
        ("finishes_within_the_limit", r"finish was allowed \d+ bytes for .* and wrote \d+\."),
    ],
)
def test_the_kit_finds_a_family_that_breaks_a_law(law, text):
    with pytest.raises(ValueError, match=text):
        FAMILY_CHECKS[law](Changed(law), toy_data())


class Mixed(Toy):
    """A toy that makes means, in the shares that it is asked for or in other ones."""

    means_of = "tried"

    def __init__(self, *, is_wrong=False, **given):
        super().__init__(**given)
        object.__setattr__(self, "is_wrong", is_wrong)

    def pieces(self, file):
        return pieces(file.model)

    def opinions(self, data, points, *, trains):
        return None

    def join(self, blend, data, *, files, answers):
        shares = list(shares_of(blend).values())[:: -1 if self.is_wrong else 1]
        return Artifact(mean_file([file.model for file in files], shares))


def test_the_kit_finds_a_family_whose_means_are_none():
    check = FAMILY_CHECKS["joins_files_to_their_mean"]
    check(Mixed(), toy_data())
    with pytest.raises(FamilyError, match="does not answer with their mean"):
        check(Mixed(is_wrong=True), toy_data())


def of_graph(build, outputs=2):
    graph = Graph()
    build(graph)
    return Artifact(graph.model({"x": ("float32", (None, 4))}, {"y": ("float32", (None, outputs))}, {}))


def mean_of_batch(graph):
    mean = graph.node("ReduceMean", "x", axes=[0], keepdims=1)
    weights = graph.weights(np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32))
    graph.node("Softmax", graph.node("MatMul", graph.node("Sub", "x", mean), weights), output="y")


def no_probabilities(graph):
    graph.node("MatMul", "x", graph.weights(np.ones((4, 2), np.float32)), output="y")


@pytest.mark.parametrize(
    ("law", "build", "text"),
    [
        ("probabilities_sum_to_one", no_probabilities, r"Probabilities must be in \[0, 1\], got"),
        ("rows_do_not_see_each_other", mean_of_batch, r"Row 0 alone differs by .* from itself in a batch of 8\."),
    ],
)
def test_the_kit_finds_a_file_that_breaks_a_law(law, build, text):
    x = np.random.default_rng(2).normal(size=(8, 4)).astype(np.float32)
    with pytest.raises(AssertionError, match=text):
        ARTIFACT_CHECKS[law](of_graph(build), {"x": x})


def test_the_kit_finds_outputs_that_are_not_finite():
    def logarithm(graph):
        graph.node("Log", graph.node("MatMul", "x", graph.weights(np.ones((4, 2), np.float32))), output="y")

    with pytest.raises(AssertionError, match=r"Outputs must be finite; 3 of 3 rows are not\."):
        ARTIFACT_CHECKS["outputs_have_the_promised_shape"](of_graph(logarithm), {"x": np.full((3, 4), -1, np.float32)})


def test_the_kit_finds_a_card_that_tells_another_size():
    artifact, inputs = built("toy")
    with pytest.raises(AssertionError, match=r"The file has \d+ bytes, its card says 3\."):
        ARTIFACT_CHECKS["loads_as_it_was_saved"](Artifact(artifact.model, {"bytes": 3}), inputs)
