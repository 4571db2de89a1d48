"""A small table with numbers, texts and gaps, and running what a transformer was lowered to."""

import numpy as np
import pandas as pd

from compression.features import matrix, start
from compression.tables import TableGraph, columns_of
from compression.tabular.transformers import read_step
from engine.artifact import session


def small_table(rows=60, *, seed=0):
    """Columns age, income, town, size (numbers as text), and gaps in income and town; a binary target."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 90, rows).astype(np.float64),
            "income": rng.normal(40_000, 9_000, rows).astype(np.float32).astype(np.float64),
            "town": rng.choice(["Ulm", "Bonn", "Köln", "<b>"], rows).astype(object),
            "size": rng.choice(["1", "2", "XL"], rows).astype(object),
        }
    )
    frame.loc[rng.random(rows) < 0.2, "income"] = np.nan
    frame.loc[rng.random(rows) < 0.2, "town"] = np.nan
    score = frame["age"] / 30 + (frame["town"] == "Ulm") + rng.normal(0, 0.5, rows)
    return frame, np.where(score > score.median(), "yes", "no")


def lowered(transformer, fitted_on, rows):
    """Write a transformer as a file of its own and return what it makes of rows, float32, (n_rows, n_features)."""
    columns = columns_of(fitted_on)
    graph = TableGraph()
    blocks = read_step(transformer).lower(graph, start(graph, columns))
    result = matrix(graph, blocks)
    if result in ("x", "c"):
        result = graph.node("Identity", result)
    model = graph.table(result, columns, sum(len(block.columns) for block in blocks), None)
    found = [session(model, optimized=optimized).run(None, columns.inputs(rows))[0] for optimized in (True, False)]
    np.testing.assert_array_equal(found[0], found[1])
    return found[0]


def dense(values):
    """Return what a transformer gives as an array of float64."""
    values = values.toarray() if hasattr(values, "toarray") else values
    return np.asarray(values, np.float64)


def assert_alike(found, expected):
    """Compare features, each in shares of its largest value, as float32 rounds."""
    size = np.maximum(np.nanmax(np.abs(expected), axis=0, initial=1.0, where=~np.isnan(expected)), 1)
    np.testing.assert_allclose(found / size, expected / size, atol=2e-6)
