"""One cell of the benchmark of automl: a system, a fold, so many seconds, in a process of its own."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

import experiments
from experiments.automl_folds import Fold, Table, error_of_outputs

__all__ = ["OURS", "Cell", "read_cells", "run_cell"]

OURS = "ours"
PATIENCE = 3  # a system may take so many times its time, and a minute
ROOT = Path(experiments.__file__).parents[1]


@final
@dataclass(frozen=True)
class Cell:
    """What came of a system on a fold.

    Args:
        key: Table, fold, system, seconds, cores, and how the folds were made: what tells cells apart.
        constant: Test error of the best constant.
        files: Each with `name`, `bytes`, `test_error`, and `valid_error` where there are several.
        fit_seconds: Of fitting alone, as the system took them.
        one_row_ms: DataFrame to label, one row.
        many_rows_ms: The same for 10,000 rows.
        failure: Why there are no files; empty where there are.
    """

    key: Mapping[str, Any]
    constant: float
    files: Sequence[Mapping[str, Any]] = ()
    fit_seconds: float | None = None
    one_row_ms: float | None = None
    many_rows_ms: float | None = None
    failure: str = ""

    def best_under(self, size: float) -> Mapping[str, Any] | None:
        """Return the file of at most so many bytes that errs least on validation rows; None if all are larger."""
        fitting = [file for file in self.files if file["bytes"] <= size]
        return min(fitting, key=lambda file: (file["valid_error"] or 0.0, file["bytes"])) if fitting else None

    def area(self, largest: float) -> float:
        """Return the area under the skill of `best_under` over log10 of the size, up to a largest size.

        Skill is 1 - error / error of the constant. Where a larger file has a worse test error it counts as it is: the
        choice was made on validation rows.
        """
        sizes = sorted({float(file["bytes"]) for file in self.files if file["bytes"] < largest})
        total = 0.0
        for size, following in itertools.pairwise([*sizes, largest]):
            best = self.best_under(size)
            assert best is not None
            total += (1 - best["test_error"] / self.constant) * float(np.log10(following / size))
        return total


def read_cells(path: Path) -> list[Cell]:
    """Return the cells of a record; a torn last line is left out."""
    lines = path.read_text().splitlines() if path.exists() else []
    cells = []
    for line in lines:
        try:
            cells.append(Cell(**json.loads(line)))
        except ValueError:
            continue
    return cells


def run_cell(table: Table, fold: Fold, key: Mapping[str, Any], interpreter: str, record: Path) -> Cell:
    """Run a system on a fold, score what it ships on the test rows, and record the cell.

    Args:
        table: The data.
        fold: Which rows are test rows.
        key: With `system`, `seconds`, `cores` and `seed`, and whatever else tells cells apart.
        interpreter: Of the system; unused for ours.
        record: The file that gets a line.
    """
    train, test = table.rows.iloc[fold.train], table.rows.iloc[fold.test]
    y, y_test = train[table.target].to_numpy(), test[table.target].to_numpy()
    outputs = np.full((len(test), 1), y.mean())
    if table.classes:
        outputs = np.tile(np.bincount(y, minlength=len(table.classes)) / len(y), (len(test), 1))
    constant = error_of_outputs(outputs, y_test, table.metric)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        train.to_csv(place / "train.csv", index=False)
        test.to_csv(place / "test.csv", index=False)
        request = {
            **{name: key[name] for name in ("system", "seconds", "cores", "seed")},
            **{"task": table.task, "metric": table.metric, "target": table.target, "is_ordered": table.is_ordered},
            **{"categorical": table.categorical, "times": table.times},
            **{"train": str(place / "train.csv"), "test": str(place / "test.csv")},
        }
        (place / "request.json").write_text(json.dumps(request))
        failure = _call(key, interpreter, place / "request.json")
        if failure:
            cell = Cell(key, constant, failure=failure)
        else:
            told = json.loads((place / "answer.json").read_text())
            files = [
                _scored(entry, np.load(place / f"{number}.npy"), y_test, table)
                for number, entry in enumerate(told["files"])
            ]
            last = told["files"][-1]
            cell = Cell(key, constant, files, told["fit_seconds"], last["one_row_ms"], last["many_rows_ms"])
    with record.open("a") as stream:
        stream.write(json.dumps(asdict(cell)) + "\n")
    return cell


def _scored(entry: Mapping[str, Any], outputs: np.ndarray, y: np.ndarray, table: Table) -> dict[str, Any]:
    if table.classes:
        whole = np.zeros((len(y), len(table.classes)))
        whole[:, entry["classes"]] = outputs
        outputs = whole
    error = error_of_outputs(outputs, y, table.metric)
    return {"name": entry["name"], "bytes": entry["bytes"], "valid_error": entry["valid_error"], "test_error": error}


def _call(key: Mapping[str, Any], interpreter: str, request: Path) -> str:
    """Run the system to its end; return why there is no answer, or nothing."""
    command = [interpreter, "-I", str(Path(__file__).with_name("automl_peers.py")), str(request)]
    if key["system"] == OURS:
        command = [sys.executable, "-m", "experiments.automl_ours", str(request)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(key["cores"]), "PYTHONWARNINGS": "ignore"}
    log, start = request.with_name("log.txt"), time.monotonic()
    with log.open("w") as stream:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=stream, stderr=stream, process_group=0, preexec_fn=_pin(key)
        )
        try:
            code = process.wait(timeout=PATIENCE * float(key["seconds"]) + 60)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end_group(process)
    if code is None:
        return f"ended after {time.monotonic() - start:.0f} s"
    if code or not request.with_name("answer.json").exists():
        lines = log.read_text(errors="replace").strip().splitlines()
        return (lines[-1] if lines else f"exit code {code}")[:300]
    return ""


def _pin(key: Mapping[str, Any]) -> Any:
    """Return what holds a process to so many cores, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    cores = sorted(os.sched_getaffinity(0))[: int(key["cores"])]
    return lambda: os.sched_setaffinity(0, cores)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End whatever a system has left running."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
