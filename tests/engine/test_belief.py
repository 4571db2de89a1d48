"""How far labels are believed where there are opinions."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.belief import label_share, shrunk
from engine.data import Rows
from engine.score import error_of


def two(shares):
    return np.stack([1 - shares, shares], axis=1)


def files(rng, opinions, spread, count=40):
    """Return files that differ from the opinions, each in a direction of its own."""
    moved = spread * rng.normal(size=(count, len(opinions)))
    return [two(np.clip(opinions[:, 1] + own, 0, 1)) for own in moved]


def test_labels_that_opinions_explain_tell_files_apart_by_luck_alone():
    rng = np.random.default_rng(0)
    opinions = two(rng.uniform(0.1, 0.9, 600))
    shares = []
    for _ in range(20):
        y = (rng.random(600) < opinions[:, 1]).astype(np.int64)
        shares.append(label_share(files(rng, opinions, 0.1), opinions, y))
    assert np.mean(shares) < 0.25


def test_labels_that_files_know_better_than_opinions_are_believed():
    rng = np.random.default_rng(1)
    truth = rng.uniform(0, 1, 3000)
    y = (truth > 0.5).astype(np.int64)
    opinions = two(np.full(3000, 0.5))
    steps = np.linspace(0.05, 0.45, 30)
    assert label_share([two(0.5 + step * np.sign(truth - 0.5)) for step in steps], opinions, y) > 0.95


def test_files_that_say_what_the_opinions_say_leave_the_labels():
    opinions = two(np.full(50, 0.3))
    assert label_share([opinions, opinions], opinions, np.zeros(50, np.int64)) == 1.0


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1), st.integers(2, 4))
def test_each_row_keeps_its_weight(seed, share, classes):
    rng = np.random.default_rng(seed)
    opinions = rng.dirichlet(np.ones(classes), 30)
    rows = Rows(rng.integers(0, classes, 30), weight=rng.uniform(0.5, 2, 30))
    places, believed = shrunk(rows, opinions, share)
    assert np.allclose(np.bincount(places, believed.weight, 30), rows.weight, rtol=0.01)
    own = np.bincount(places, np.where(believed.y == rows.y[places], believed.weight, 0), 30)
    assert (own >= share * rows.weight - 1e-9).all()


def test_labels_alone_give_the_error_of_the_labels():
    rng = np.random.default_rng(2)
    y, outputs = rng.integers(0, 2, 200), two(rng.random(200)).astype(np.float32)
    places, believed = shrunk(Rows(y), two(rng.random(200)), 1.0)
    for metric in ("auc", "log_loss", "accuracy"):
        plain = error_of(outputs, Rows(y), metric=metric, task="classification")
        assert np.isclose(error_of(outputs[places], believed, metric=metric, task="classification"), plain)
