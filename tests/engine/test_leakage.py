"""Repeated rows are counted by split, columns that give the target away are named, honest ones are not."""

import time

import numpy as np
import pandas as pd
import pytest

from engine.data import Rows, Split
from engine.leakage import give_away_notes, row_hashes, shared_row_notes
from engine.load import DataSettings, load


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_equal_inputs_have_equal_hashes(rng):
    x = rng.normal(size=(50, 3)).astype(np.float32)
    c = np.asarray([["a", "b"], ["a", "c"]] * 25, dtype=object)
    x[2:4] = x[:2]
    hashes = row_hashes(x, c)
    assert hashes[0] == hashes[2]
    assert hashes[1] == hashes[3]
    assert len(set(hashes)) == 48
    assert len(set(row_hashes(None, c))) == 2


def test_shared_rows_are_counted_by_split():
    hashes = np.asarray([1, 2, 3, 4, 1, 2, 5, 1, 9], dtype=np.uint64)
    split = Split(np.asarray([0, 1, 2, 3]), np.asarray([4, 5, 6]))
    notes = shared_row_notes(hashes, (split,), np.asarray([7, 8]))
    assert notes == (
        "2 of 3 validation rows stand among the training rows too (equal inputs).",
        "1 of 2 test rows stand among the training or validation rows too (equal inputs).",
    )
    assert shared_row_notes(np.arange(9, dtype=np.uint64), (split,), np.asarray([7, 8])) == ()


def test_columns_that_give_a_class_away(rng):
    y = rng.integers(0, 3, 400)
    x = rng.normal(size=(400, 3)).astype(np.float32)
    x[:, 1] = y * 2 + 0.1 * rng.random(400)
    c = np.asarray([[f"k{label}", str(rng.integers(5))] for label in y], dtype=object)
    notes = give_away_notes(Rows(y, x, c), ("a", "b", "d", "e", "f"), classification=True)
    assert [note.split(" alone ")[0] for note in notes] == ["b", "e"]
    assert "balanced accuracy 1.000" in notes[0]


def test_columns_that_give_a_value_away(rng):
    y = rng.normal(size=2000)
    x = np.stack([rng.normal(size=2000), np.exp(y), y + rng.normal(size=2000)], axis=1).astype(np.float32)
    notes = give_away_notes(Rows(y, x), ("a", "b", "c"), classification=False)
    assert [note.split(" alone ")[0] for note in notes] == ["b"]


def test_a_majority_is_no_leak(rng):
    y = np.zeros(3000, dtype=np.int64)
    y[:15] = 1
    assert (
        give_away_notes(Rows(y, rng.normal(size=(3000, 5)).astype(np.float32)), tuple("abcde"), classification=True)
        == ()
    )


def test_row_numbers_of_a_sorted_file_are_found(tmp_path):
    pd.DataFrame({"row": range(1500), "y": [n // 500 for n in range(1500)]}).to_csv(tmp_path / "a.csv", index=False)
    notes = load(DataSettings(name="csv", path=str(tmp_path / "a.csv"), target="y"), seed=0).notes
    assert any(note.startswith("Column row alone predicts the target") for note in notes)


def test_a_marked_pixel_is_found(tmp_path, rng):
    x, y = rng.integers(0, 256, (200, 6, 6), dtype=np.uint8), np.arange(200) % 2
    x[:, 2, 3] = 200 * y
    np.savez(tmp_path / "a.npz", x=x, y=y)
    notes = load(DataSettings(name="npz", path=str(tmp_path / "a.npz")), seed=0).notes
    assert [note.split(" alone ")[0] for note in notes] == ["Position 0, 2, 3 of x"]


def test_honest_data_has_no_such_notes():
    assert load(DataSettings(), seed=1).notes == ()
    assert not any("alone" in note for note in load(DataSettings(name="breast_cancer"), seed=1).notes)


def test_a_thousand_columns_take_seconds_and_more_are_left_out(rng):
    rows = Rows(rng.integers(0, 2, 6000), rng.normal(size=(6000, 1000)).astype(np.float32))
    names = tuple(map(str, range(1000)))
    started = time.perf_counter()
    assert give_away_notes(rows, names, classification=True) == ()
    assert time.perf_counter() - started < 20
    assert give_away_notes(rows, (*names, "more"), classification=True) == ()
