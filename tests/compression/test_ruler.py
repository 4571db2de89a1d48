"""A ruler tells the length of every file that a graph writes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compression.graph import Graph
from compression.nets.layers import empty_weights, lower
from compression.nets.memory import macs
from compression.nets.totals import totals
from compression.ruler import Ruler
from engine.data import Signature
from nas.space import space_named

CLASSES = tuple("abcdefghij")
SIGNATURES = {
    "cells": Signature("images", "classification", (3, 32, 32), "uint8", CLASSES),
    "cells1d": Signature("signals", "regression", (9, 128), "float32", (), 0.5, 2.0),
    "mobile": Signature("images", "regression", (1, 28, 28), "uint8"),
    "mlp": Signature("table", "classification", (40,), "float32", ("no", "yes"), numeric_columns=tuple("x" * 40)),
}


def network_of(name, seed):
    kind = space_named(name)
    options = kind.settings()
    genome = kind.genome(kind.space(options).sample(np.random.default_rng(seed)), options)
    return kind.plan(kind.canonical(genome, options), SIGNATURES[name]), kind.kept(kind.canonical(genome, options))


@pytest.mark.parametrize("name", SIGNATURES)
@given(seed=st.integers(0, 10**9))
@settings(max_examples=40, deadline=None)
def test_a_ruler_tells_the_length_of_the_file(name, seed):
    plan, kept = network_of(name, seed)
    small = plan.with_channels(kept)
    weights = empty_weights(small)
    assert len(lower(small, weights, Ruler).model) == len(lower(small, weights).model)


@pytest.mark.parametrize("name", SIGNATURES)
@given(seed=st.integers(0, 10**9))
@settings(max_examples=40, deadline=None)
def test_totals_are_those_of_the_smaller_plan(name, seed):
    plan, kept = network_of(name, seed)
    small, found = plan.with_channels(kept), totals(plan, kept)
    assert (found.macs, found.parameters) == (macs(small), small.parameters)
    assert found.layers + found.depthwise == len(small.weighted)
    assert found.bytes == pytest.approx(len(lower(small, empty_weights(small), Ruler).model), rel=0.4)


def test_names_integers_and_functions_take_as_much_as_in_a_file():
    def written(writer):
        graph = writer()
        parts = graph.split("x", [2] * 70)  # names of one letter run out; a node longer than 127 bytes
        total = parts[0]
        for part in parts[1:]:
            inner = writer()
            graph.function("sum", inner.nodes, ["P", "Q"], inner.node("Add", "P", "Q"))
            total = graph.call("sum", total, part)
        far = graph.node("Reshape", total, graph.integers([-1, 300]))
        codes = graph.node("Cast", graph.weights(np.zeros((3, 3), np.int8), "int4"), to=1)
        graph.node("Concat", far, codes, graph.weights(np.zeros((3, 700), np.float16)), output="y", axis=-1)
        return graph.model({"x": ("float32", (None, 140))}, {"y": ("float32", (None, 4))}, {"classes": ["é", "b"]})

    assert len(written(Ruler)) == len(written(Graph))
