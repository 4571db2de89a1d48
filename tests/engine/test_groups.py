"""Figures of groups, counted by hand."""

import numpy as np
import pytest

from engine.data import Rows
from engine.groups import group_labels, group_rates, group_report, group_values
from engine.intervals import wilson
from engine.threshold import Decision


def test_rates_of_each_group():
    labels = np.array(["m", "m", "m", "m", "f", "f"], dtype=object)
    y, answered = np.array([1, 1, 0, 0, 1, 1]), np.array([1, 0, 1, 0, 1, 1])
    low, high = wilson(2, 4)
    first, second = group_rates(labels, y, answered, ("no", "yes"))
    assert first == {
        **{"group": "m", "rows": 4, "error": 0.5, "low": low, "high": high},
        **{"positive_rate": 0.5, "true_positive_rate": 0.5, "false_positive_rate": 0.5},
    }
    assert (second["group"], second["false_positive_rate"], second["true_positive_rate"]) == ("f", None, 1.0)


def test_several_classes_have_no_positive_one():
    (entry,) = group_rates(np.array(["a"] * 3), np.array([0, 1, 2]), np.array([0, 1, 1]), ("a", "b", "c"))
    assert "positive_rate" not in entry
    assert entry["error"] == pytest.approx(1 / 3)


def test_values_of_each_group():
    (entry,) = group_values(np.array(["a", "a"]), np.array([1.0, 2.0]), np.array([2.0, 2.0]))
    assert entry == {"group": "a", "rows": 2, "rmse": pytest.approx(0.5**0.5), "mae": 0.5, "bias": 0.5}


def test_many_numbers_are_cut_into_quarters():
    texts = np.array([*(str(n) for n in range(40)), ""], dtype=object)
    found, counts = np.unique(group_labels(texts), return_counts=True)
    assert dict(zip(found, counts, strict=True)) == {
        **{"0 to 9": 10, "10 to 19": 10, "20 to 29": 10, "30 to 39": 10, "missing": 1}
    }
    assert set(group_labels(np.array(["1", "2", "1"], dtype=object))) == {"1", "2"}
    assert set(group_labels(np.array([f"t{n}" for n in range(30)], dtype=object))) == {f"t{n}" for n in range(30)}


def test_a_report_answers_labels_as_the_card_says():
    outputs, rows = np.array([[0.7, 0.3], [0.9, 0.1]], np.float32), Rows(np.array([1, 0]))
    texts = {"sex": np.array(["f", "f"], dtype=object)}
    assert group_report(outputs, rows, texts, Decision(), ("n", "y"))["sex"][0]["error"] == 0.5
    assert group_report(outputs, rows, texts, Decision(threshold=0.2), ("n", "y"))["sex"][0]["error"] == 0
    assert group_report(outputs[:, :1], Rows(np.zeros(2)), texts, Decision(), ())["sex"][0]["rows"] == 2
