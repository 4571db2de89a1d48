"""Our estimators on one fold of the benchmark of automl: `python -m experiments.automl_ours request.json`.

The request and the answer are those of `experiments/automl_peers.py`. Rows in the order of time are told to be so.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from automl.estimators import CompactClassifier, CompactRegressor

__all__ = ["answer"]

FEW, MANY, MANY_ROWS = 20, 3, 10_000


def answer(path: Path) -> None:
    """Do what a request says and write `answer.json` beside it."""
    request = json.loads(path.read_text())
    train, y = _read(request["train"], request)
    test, _ = _read(request["test"], request)
    kind = CompactClassifier if request["task"] == "classification" else CompactRegressor
    model = kind(
        seconds=request["seconds"],
        budget=100_000,
        metric=request["metric"],
        workers=request["cores"],
        random_state=request["seed"],
    )
    start = time.perf_counter()
    model.fit(train, y, times=np.arange(len(y)) if request["is_ordered"] else None)
    told: dict[str, Any] = {"fit_seconds": time.perf_counter() - start, "files": []}
    outputs: Callable[[Any, pd.DataFrame], Any] = kind.predict if kind is CompactRegressor else kind.predict_proba
    many = pd.concat([test] * (MANY_ROWS // len(test) + 1)).iloc[:MANY_ROWS].reset_index(drop=True)
    classes = [int(label) for label in model.classes_] if kind is CompactClassifier else None
    for number, point in enumerate(reversed(model.front_.points)):
        chosen = model.best_under(bytes=int(point.values["bytes"]))
        np.save(path.with_name(f"{number}.npy"), np.asarray(outputs(chosen, test), float).reshape(len(test), -1))
        told["files"].append(
            {
                "name": str(chosen.artifact_.card["description"]),
                "bytes": chosen.artifact_.size,
                "classes": classes,
                "valid_error": point.values["error"],
                "one_row_ms": _milliseconds(chosen.predict, test.iloc[:1], FEW),
                "many_rows_ms": _milliseconds(chosen.predict, many, MANY),
            }
        )
    path.with_name("answer.json").write_text(json.dumps(told))


def _read(path: str, request: dict[str, Any]) -> tuple[pd.DataFrame, pd.Series]:
    kinds = dict.fromkeys(request["categorical"], "str")
    rows = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=kinds, parse_dates=request["times"])
    y = rows.pop(request["target"])
    return rows, y


def _milliseconds(call: Callable[[pd.DataFrame], Any], rows: pd.DataFrame, repeats: int) -> float:
    call(rows)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call(rows)
        seconds.append(time.perf_counter() - start)
    return 1e3 * median(seconds)


if __name__ == "__main__":
    answer(Path(sys.argv[1]))
