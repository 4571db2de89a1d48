"""Tables for the benchmark of automl: a folder each, read, divided into folds, and scored alike for everybody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold

from engine.errors import DataError

__all__ = ["Fold", "Table", "error_of_outputs", "folds_of", "read_table", "table_names"]

SMALLEST_PROBABILITY = 1e-7


@final
@dataclass(frozen=True, eq=False)
class Table:
    """A data set as the systems get it.

    Args:
        name: Of its folder.
        rows: All columns; the target is a class number from 0, or a value.
        target: Name of its column.
        categorical: Columns of texts.
        times: Columns of points in time.
        classes: Names of the classes; empty for regression.
        is_ordered: Whether the rows go from past to future, so that the last ones are the test rows.
    """

    name: str
    rows: pd.DataFrame
    target: str
    categorical: tuple[str, ...]
    times: tuple[str, ...]
    classes: tuple[str, ...]
    is_ordered: bool

    @property
    def task(self) -> Literal["classification", "regression"]:
        """`classification` or `regression`."""
        return "classification" if self.classes else "regression"

    @property
    def metric(self) -> str:
        """`auc` for two classes, `log_loss` for more, `rmse` for values: as the AutoML benchmark has it."""
        return "rmse" if not self.classes else "auc" if len(self.classes) == 2 else "log_loss"


@final
@dataclass(frozen=True, eq=False)
class Fold:
    """Row numbers of one fold: int64, disjoint."""

    number: int
    train: np.ndarray
    test: np.ndarray


def table_names(folder: Path) -> list[str]:
    """Return the tables in a folder: sub-folders whose meta.json names a target, in order of name.

    Raises:
        DataError: If there are none.
    """
    found = [path.parent.name for path in sorted(folder.glob("*/meta.json")) if "target" in _meta(path.parent)]
    if not found:
        raise DataError(
            f"data={folder} must hold folders, each with a meta.json and the csv file it names; found none."
        )
    return found


def read_table(folder: Path, *, is_ordered: bool = False) -> Table:
    """Read a folder with a csv file and a meta.json: `file`, `target`, `task`, `categorical_columns`, `timestamps`.

    Args:
        folder: Of the table.
        is_ordered: Whether its rows go from past to future.

    Raises:
        DataError: If something is missing.
    """
    told = _meta(folder)
    try:
        categorical = tuple(map(str, told["categorical_columns"]))
        kinds = dict.fromkeys(categorical, "str")
        rows = pd.read_csv(folder / told["file"], keep_default_na=False, na_values=[""], dtype=kinds)
        target = str(told["target"])
        rows = rows[rows[target].notna()].reset_index(drop=True)
        times = tuple(map(str, told.get("timestamps", ())))
        if is_ordered and times:
            rows = rows.sort_values(list(times), kind="stable").reset_index(drop=True)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{folder} must hold a meta.json and the csv file it names: {error!r}.") from error
    classes: tuple[str, ...] = ()
    if told["task"] == "classification":
        codes, names = pd.factorize(rows[target].astype(str), sort=True)
        rows[target] = codes
        classes = tuple(map(str, names))
    else:
        rows[target] = rows[target].astype(float)
    return Table(folder.name, rows, target, categorical, times, classes, is_ordered)


def folds_of(table: Table, *, folds: int, repeats: int, seed: int) -> Iterator[Fold]:
    """Divide a table: `repeats` times into stratified folds; an ordered one once, its last part as test rows."""
    count = len(table.rows)
    if table.is_ordered:
        first = count - count // folds
        yield Fold(0, np.arange(first), np.arange(first, count))
        return
    y = table.rows[table.target].to_numpy()
    is_stratified = bool(table.classes) and np.bincount(y).min() >= folds
    for repeat in range(repeats):
        kind = StratifiedKFold if is_stratified else KFold
        divided = kind(folds, shuffle=True, random_state=seed + repeat).split(np.zeros(count), y)
        for number, (train, test) in enumerate(divided):
            yield Fold(repeat * folds + number, train, test)


def error_of_outputs(outputs: np.ndarray, y: np.ndarray, metric: str) -> float:
    """Return 1 - AUC, log loss or RMSE of outputs; lower is better.

    Args:
        outputs: Probabilities of classes 0, 1, ..., or values, shape (n_rows, n_outputs).
        y: Class numbers or values, shape (n_rows,).
        metric: `auc`, `log_loss` or `rmse`.
    """
    if not np.isfinite(outputs).all():
        return float("inf")
    if metric == "rmse":
        return float(np.sqrt(np.mean((outputs[:, 0] - y) ** 2)))
    if metric == "auc":
        return 1.0 - float(roc_auc_score(y == 1, outputs[:, 1]))
    clipped = np.clip(outputs, SMALLEST_PROBABILITY, 1.0)
    return float(log_loss(y, clipped / clipped.sum(1, keepdims=True), labels=np.arange(outputs.shape[1])))


def _meta(folder: Path) -> dict[str, Any]:
    try:
        told = json.loads((folder / "meta.json").read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} must hold a meta.json: {error}.") from error
    return told if isinstance(told, dict) else {}
