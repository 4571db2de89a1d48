"""The models of a teacher: what they say, and in which shares they are heard."""

from collections import Counter

import numpy as np
import pytest
from mixed_tables import mixed

from automl import teacher
from automl.judges import JUDGES, Hearing, judged, shares
from automl.table import table_of
from automl.targets import Targets
from engine.data import Dataset, Rows


def hearing_of(data, outside):
    table = table_of(data)
    targets = Targets(table.y, table.weight, len(table.signature.classes))
    return Hearing(table, targets, np.setdiff1d(np.arange(len(data.rows)), outside), outside, 3, lambda: True)


def error_of(opinions, targets):
    """Return the mean squared distance from one-hot labels, or values."""
    goal = np.eye(targets.classes)[targets.y] if targets.classes else targets.y[:, None]
    return np.mean((opinions - goal) ** 2)


@pytest.mark.parametrize("kind", JUDGES)
@pytest.mark.parametrize("classes", [0, 2, 3])
@pytest.mark.parametrize("columns", ["both", "texts", "numbers"])
def test_each_model_tells_more_than_the_mean_about_rows_that_it_did_not_see(kind, classes, columns):
    data = mixed(500, classes=classes, texts=columns != "numbers", numbers=columns != "texts")
    hearing = hearing_of(data, np.arange(0, 500, 3))
    (found,) = judged([kind], hearing)
    outside = hearing.targets.take(hearing.outside)
    assert found.shape == (len(outside.y), max(classes, 1))
    mean = np.average(hearing.known.goal, axis=0, weights=hearing.known.weight)
    assert error_of(found, outside) < error_of(np.tile(mean, (len(found), 1)), outside)
    if classes:
        assert np.allclose(found.sum(axis=1), 1, atol=1e-6)
        assert (found >= 0).all()


def test_a_class_that_no_training_row_has_gets_an_answer_too():
    data = mixed(300, classes=3)
    outside = np.flatnonzero(data.rows.y == 2)
    found = judged(tuple(JUDGES), hearing_of(data, outside))
    assert found.shape == (len(JUDGES), len(outside), 3)
    assert (found[:, :, 2] < 0.2).all()


def test_the_better_models_have_the_shares():
    rng = np.random.default_rng(0)
    y = rng.normal(size=800)
    targets = Targets(y, np.ones(800), 0)
    noise = rng.normal(size=(3, 800))
    good, equally_good, bad = y + noise[0], y + noise[1], 5 * noise[2]
    assert shares(np.stack([good, equally_good, bad])[:, :, None], targets).tolist() == [0.5, 0.5, 0.0]
    assert shares(np.stack([bad, y])[:, :, None], targets).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(("rows", "times"), [(300, 10), (2600, 1)])
def test_many_rows_tell_at_once_which_models_need_not_be_trained(rows, times, monkeypatch):
    asked = Counter()

    def always(name, answer):
        def judge(hearing):
            asked[name] += 1
            return np.full((len(hearing.outside), 1), answer)

        return judge

    plain = mixed(rows, classes=0, folds=5)
    data = Dataset(plain.signature, Rows(np.full(rows, 7.0), plain.rows.x, plain.rows.c), plain.splits)
    monkeypatch.setattr("automl.judges.JUDGES", {"right": always("right", 7.0), "wrong": always("wrong", 1.0)})
    monkeypatch.setattr(teacher, "JUDGES", {"right": None, "wrong": None})
    assert np.all(teacher.opinions(data, 0, 3) == 7.0)
    assert asked == {"right": 10, "wrong": times}
