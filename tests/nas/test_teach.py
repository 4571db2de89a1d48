"""Networks that teach: larger than what is shipped, and what several say of rows."""

from functools import cache

import numpy as np
import pytest

from compression.nets.plan import Convolution, Linear
from compression.nets.totals import totals
from compression.nets.train import Recipe
from engine.data import Rows, Signature
from engine.load import DataSettings, load
from nas.cells import CellsSettings
from nas.family import Networks
from nas.space import known_spaces, space_named
from nas.teach import opinions, widened

SHAPES = {
    "cells": ("images", (1, 8, 8)),
    "cells1d": ("signals", (8, 8)),
    "mlp": ("table", (64,)),
    "mobile": ("images", (1, 8, 8)),
}
RECIPE = Recipe(steps=150, epochs=1, batch_rows=32)


@cache
def digits():
    return load(DataSettings(), seed=0).dataset


@cache
def family():
    return Networks(CellsSettings(), digits().signature, RECIPE)


@cache
def taught(seed):
    smallest = family().canonical(min(family().portfolio, key=family().bytes))
    return family().finish(smallest, digits(), teachers=(), effort=2.0, max_bytes=None, seed=seed, refit=True)


@pytest.mark.parametrize("name", known_spaces())
def test_a_teacher_is_half_as_wide_again_and_in_full_precision(name):
    kind, shape = SHAPES[name]
    columns = tuple(f"x{number}" for number in range(64)) if kind == "table" else ()
    dtype = "uint8" if kind == "images" else "float32"
    signature = Signature(kind, "classification", shape, dtype, ("a", "b", "c"), 0.0, 1.0, columns)
    networks = Networks(space_named(name).settings(), signature, RECIPE)
    for candidate in networks.portfolio:
        plan = networks.kind.plan(networks.genome(candidate), signature)
        wide = widened(plan)
        assert set(wide.codings) == {"float32"}
        assert wide.weighted[-1].channels_out == plan.weighted[-1].channels_out, "as many classes"
        for before, after in zip(plan.weighted, wide.weighted, strict=True):
            if isinstance(before, Linear):
                continue
            assert isinstance(after, Convolution)
            assert after.channels_out == round(1.5 * before.channels_out)
            assert not after.is_depthwise or after.channels_in == after.channels_out
        if any(isinstance(step, Convolution) for step in plan.weighted):
            assert totals(wide, {}).macs > 1.4 * totals(plan, {}).macs


def test_a_teacher_learns_from_training_rows_alone_and_knows_more():
    artifact, data = taught(0), digits()
    card = artifact.card
    assert (card["coding"], card["refit"], card["validation"]["rows"]) == ("float32", False, 252)
    valid = data.valid(-1)
    error = float((artifact.outputs(valid.inputs()).argmax(1) != valid.y).mean())
    assert card["validation"]["error"] == error < 0.1
    assert taught(1).sha256 != artifact.sha256


def test_opinions_are_the_mean_of_the_teachers_and_of_both_views():
    x = np.asarray(digits().valid(-1).x)[:20]
    rows, teachers = Rows(np.zeros(20, np.int64), x), (taught(0), taught(1))
    each = [teacher.outputs({"x": x}) for teacher in teachers]
    assert opinions((), rows, mirrored=True) is None
    assert opinions(teachers, rows, mirrored=False) == pytest.approx(sum(each) / 2, abs=1e-6)
    both = opinions(teachers, rows, mirrored=True)
    turned = opinions(teachers, Rows(rows.y, x[..., ::-1]), mirrored=True)
    assert both == pytest.approx(turned, abs=1e-6)
    assert np.abs(both - sum(each) / 2).max() > 0.01
