"""The benchmark of automl: folds, scores, and the record, with our own system and one that is not there."""

import io
import json
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_iris

from engine.errors import DataError
from engine.settings import build
from experiments import bench_automl
from experiments.automl_cells import Cell, read_cells, run_cell
from experiments.automl_folds import error_of_outputs, folds_of, read_table, table_names


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("tables")
    x, y = load_breast_cancer(return_X_y=True, as_frame=True)
    frame = x.iloc[:120, :4].assign(kind=np.where(y[:120] == 1, "benign", "malignant"), group=["a", "", "b"] * 40)
    told = {"file": "t.csv", "target": "kind", "task": "classification", "categorical_columns": ["group"]}
    (place / "cancer").mkdir()
    frame.to_csv(place / "cancer" / "t.csv", index=False)
    (place / "cancer" / "meta.json").write_text(json.dumps(told | {"timestamps": []}))
    dates = pd.date_range("2026-01-01", periods=60)[::-1]
    values = pd.DataFrame({"day": dates.astype(str), "z": range(60), "v": np.arange(60) * 2.0})
    (place / "values").mkdir()
    values.to_csv(place / "values" / "t.csv", index=False)
    told = {"file": "t.csv", "target": "v", "task": "regression", "categorical_columns": [], "timestamps": ["day"]}
    (place / "values" / "meta.json").write_text(json.dumps(told))
    return place


def test_tables_are_read_with_their_tasks(folder):
    assert table_names(folder) == ["cancer", "values"]
    cancer, values = read_table(folder / "cancer"), read_table(folder / "values", is_ordered=True)
    assert (cancer.task, cancer.metric, cancer.classes) == ("classification", "auc", ("benign", "malignant"))
    assert (values.task, values.metric, values.classes) == ("regression", "rmse", ())
    assert values.rows["day"].is_monotonic_increasing
    assert cancer.rows["group"].isna().sum() == 40


def test_folds_cover_all_rows_once_and_the_future_is_tested_last(folder):
    cancer, values = read_table(folder / "cancer"), read_table(folder / "values", is_ordered=True)
    made = list(folds_of(cancer, folds=5, repeats=2, seed=0))
    assert [fold.number for fold in made] == list(range(10))
    assert np.array_equal(np.sort(np.concatenate([fold.test for fold in made[:5]])), np.arange(120))
    assert all(not set(fold.train) & set(fold.test) for fold in made)
    (only,) = folds_of(values, folds=5, repeats=2, seed=0)
    assert only.test.tolist() == list(range(48, 60))


def test_what_is_no_table_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"each with a meta\.json"):
        table_names(tmp_path)
    with pytest.raises(DataError, match=r"must hold a meta\.json"):
        read_table(tmp_path)


def test_errors_are_those_of_scikit_learn():
    shares = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.6, 0.4]])
    y = np.array([0, 1, 0, 1])
    assert error_of_outputs(shares, y, "auc") == pytest.approx(0.25)
    assert error_of_outputs(shares, y, "log_loss") == pytest.approx(-np.log([0.9, 0.8, 0.4, 0.4]).mean())
    assert error_of_outputs(np.array([[1.0], [3.0]]), np.array([1.0, 1.0]), "rmse") == pytest.approx(2**0.5)
    assert error_of_outputs(np.array([[np.nan], [3.0]]), np.array([1.0, 1.0]), "rmse") == np.inf


def cell(system, files, *, seconds=60, fold=0, **rest):
    key = {"table": "t", "metric": "auc", "fold": fold, "system": system, "seconds": seconds, "folds": 10, "seed": 0}
    made = [{"name": "f", "bytes": size, "valid_error": valid, "test_error": test} for size, valid, test in files]
    return Cell(key, 0.5, made, 1.0, 2.0, 3.0, **rest)


def test_files_are_chosen_on_validation_rows_and_the_area_counts_them_as_they_are():
    made = cell("ours", [(100, 0.3, 0.25), (1000, 0.2, 0.35)])
    assert made.best_under(999)["test_error"] == 0.25
    assert made.best_under(5000)["test_error"] == 0.35
    assert made.best_under(10) is None
    assert made.area(10_000) == pytest.approx(0.5 * 1 + 0.3 * 1)
    assert cell("none", [], failure="why").area(1e10) == 0.0


def test_the_tables_show_shares_and_paired_differences():
    from rich.console import Console

    cells = [
        cell("autogluon", [(10_000_000, None, 0.10)]),
        cell("autogluon", [(10_000_000, None, 0.12)], fold=1),
        cell("ours", [(3000, 0.2, 0.12)]),
        cell("ours", [(3000, 0.2, 0.13)], fold=1),
        cell("flaml", [], failure="too slow"),
    ]
    settings = bench_automl.Settings(data="x", systems="ours,autogluon,flaml,tpot")
    console = Console(width=220, record=True, file=io.StringIO())
    for table in bench_automl.tables(settings, cells):
        console.print(table)
    text = console.export_text()
    assert "96.2%" in text  # (0.38 / 0.40 + 0.37 / 0.38) / 2
    assert "tpot: skipped, no peers.tpot" in text
    assert "+0.0150 ± 0.0635 (95 %, 2 folds)" in text


def test_settings_are_checked():
    with pytest.raises(ValueError, match="systems must be some of"):
        build(bench_automl.Settings, {"data": "x", "systems": "ours,h2o"})
    with pytest.raises(ValueError, match="seconds must be whole numbers"):
        build(bench_automl.Settings, {"data": "x", "seconds": "soon"})


def test_a_peer_that_fails_is_a_recorded_cell(folder, tmp_path):
    table = read_table(folder / "cancer")
    fold = next(folds_of(table, folds=5, repeats=1, seed=0))
    key = {"table": "cancer", "system": "flaml", "seconds": 5, "cores": 1, "seed": 0}
    made = run_cell(table, fold, key, sys.executable, tmp_path / "cells.jsonl")
    assert "flaml" in made.failure
    assert made.constant == 0.5
    assert [found.failure for found in read_cells(tmp_path / "cells.jsonl")] == [made.failure]


def test_ours_is_measured_once_and_taken_from_the_record(folder, tmp_path, capsys):
    arguments = [f"data={folder}", "sets=cancer", "systems=ours,tpot", "seconds=4", "count=1", "folds=3", "cores=1"]
    for _ in range(2):
        assert bench_automl.main([*arguments, f"out={tmp_path}"]) == 0
    told = capsys.readouterr()
    assert told.err.count("cancer, fold 0, ours, 4 s: error") == 1
    (made,) = read_cells(tmp_path / "cells.jsonl")
    assert made.files[0]["bytes"] > 100
    assert made.one_row_ms > 0
    assert min(file["test_error"] for file in made.files) < 0.3


def test_iris_is_scored_by_log_loss(tmp_path):
    x, y = load_iris(return_X_y=True, as_frame=True)
    x.assign(y=y).to_csv(tmp_path / "iris.csv", index=False)
    told = {"file": "iris.csv", "target": "y", "task": "classification", "categorical_columns": []}
    (tmp_path / "meta.json").write_text(json.dumps(told))
    assert read_table(tmp_path).metric == "log_loss"
