"""Tree ensembles: our files beside those of skl2onnx and onnxmltools.

    python -m experiments.bench_trees data=adult peers=/path/to/python

A random forest of 20 trees of depth 8 on digits (1,200 rows to train, 597 to test), and, with `data`, LightGBM
with 100 trees of depth 5 and 31 bins on a table of two classes (the first two thirds of its rows to train): a folder
with a csv file and a meta.json that names `file`, `target` and `categorical_columns`. Categories are given as their
codes. The peers run in the interpreter `peers` (by default this one); one that is missing is a row that says so. A
peer trains the same forest itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import onnxruntime
import pandas as pd
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from compression.trees.lower import pack_ensemble
from compression.trees.readers import read_ensemble
from engine.artifact import session
from engine.errors import DataError, MissingExtraError
from experiments.launch import launch

FOREST = """
import sys, numpy as np
from sklearn.ensemble import RandomForestClassifier
from skl2onnx import to_onnx
data = np.load(sys.argv[1])
model = RandomForestClassifier(20, max_depth=8, random_state=0).fit(data["x"], data["y"])
made = to_onnx(model, data["x"][:1], options={"zipmap": False})
open(sys.argv[2], "wb").write(made.SerializeToString())
"""
BOOSTER = """
import sys, lightgbm
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType
booster = lightgbm.Booster(model_file=sys.argv[1])
types = [("x", FloatTensorType([None, booster.num_feature()]))]
made = convert_lightgbm(booster, initial_types=types, zipmap=False, target_opset=15)
open(sys.argv[2], "wb").write(made.SerializeToString())
"""


@final
@dataclass(frozen=True)
class Settings:
    """What this benchmark understands."""

    data: str = ""
    peers: str = field(default=sys.executable)
    rounds: int = 60


@final
@dataclass(frozen=True, eq=False)
class Case:
    """A trained model with rows that it has not seen."""

    name: str
    says: np.ndarray
    x: np.ndarray
    y: np.ndarray
    ours: Mapping[str, bytes]
    peer: str
    peers: bytes | str


def forest(settings: Settings, place: Path) -> Case:
    """Return the forest on digits."""
    x, y = load_digits(return_X_y=True)
    x = x.astype(np.float32)
    model = RandomForestClassifier(20, max_depth=8, random_state=0).fit(x[:1200], y[:1200])
    np.savez(place / "digits.npz", x=x[:1200], y=y[:1200])
    ours = {f"ours, {words}": pack_ensemble(read_ensemble(model, takes_missing=takes), model.classes_, x=x[:1200])
            for words, takes in (("exact", True), ("exact, no missing values", False))}  # fmt: skip
    made = _peer(settings, FOREST, place / "digits.npz", place / "forest.onnx")
    return Case("forest, digits", model.predict_proba(x[1200:]), x[1200:], y[1200:], ours, "skl2onnx", made)


def boosted(settings: Settings, place: Path) -> Case:
    """Return LightGBM on the table."""
    try:
        import lightgbm
    except ImportError as error:
        raise MissingExtraError("LightGBM is not installed; it is needed for data=. `pip install lightgbm`.") from error
    x, y = _table(Path(settings.data))
    count = 2 * len(x) // 3
    model = lightgbm.LGBMClassifier(n_estimators=100, max_depth=5, max_bin=31, verbose=-1, num_threads=1)
    booster = model.fit(x[:count], y[:count]).booster_
    booster.save_model(place / "booster.txt")
    ours = {f"ours, {leaves}": pack_ensemble(read_ensemble(booster), [0, 1], leaves=leaves, x=x[:500])
            for leaves in ("exact", "float16", "int8", "int5", "int4")}  # fmt: skip
    made = _peer(settings, BOOSTER, place / "booster.txt", place / "booster.onnx")
    says = np.asarray(booster.predict(x[count:]))
    both = np.stack([1 - says, says], 1)
    return Case(f"LightGBM, {Path(settings.data).name}", both, x[count:], y[count:], ours, "onnxmltools", made)


def rows(case: Case, rounds: int) -> list[tuple[str, ...]]:
    """Return the table's rows of a case: the peer first, files measured in turns."""
    files = {case.peer: case.peers} if isinstance(case.peers, bytes) else {}
    sessions = {name: session(content) for name, content in (files | dict(case.ours)).items()}
    latency = _latencies(sessions, case.x, rounds)
    told: list[tuple[str, ...]] = []
    for name, content in (files | dict(case.ours)).items():
        said = np.asarray(_run(sessions[name], case.x)[-1])
        agree = f"{(said.argmax(1) == case.says.argmax(1)).mean():.2%}"
        auc = f"{roc_auc_score(case.y, said[:, 1]):.5f}" if said.shape[1] == 2 else ""
        one, many = latency[name]
        told.append((case.name, name, f"{len(content):,}", agree, f"{np.abs(said - case.says).max():.1e}", auc,
                     f"{one:.1f}", f"{many:.1f}"))  # fmt: skip
    if isinstance(case.peers, str):
        told.insert(0, (case.name, case.peer, f"skipped: {case.peers}", "", "", "", "", ""))
    return told


def run(settings: Settings) -> int:
    """Print the table."""
    table = Table("model", "file", "bytes", "labels as the model", "largest difference", "AUC",
                  "one row, us", "2,048 rows, ms")  # fmt: skip
    cases: list[Callable[[Settings, Path], Case]] = [forest, *([boosted] if settings.data else [])]
    with tempfile.TemporaryDirectory() as place:
        for case in cases:
            for row in rows(case(settings, Path(place)), settings.rounds):
                table.add_row(*row)
    Console(width=150).print(table)
    return 0


def _peer(settings: Settings, script: str, source: Path, target: Path) -> bytes | str:
    """Return a peer's file, or why there is none."""
    try:
        done = subprocess.run([settings.peers, "-c", script, str(source), str(target)], capture_output=True, text=True)
    except OSError as error:
        return f"{settings.peers}: {error.strerror}"
    return target.read_bytes() if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def _table(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return rows, float32, with categories as codes and NaN for what is missing, and the class of each, 0 or 1."""
    try:
        told = json.loads((folder / "meta.json").read_text())
        frame = pd.read_csv(folder / told["file"], keep_default_na=False, na_values=[""])
        target = frame.pop(told["target"]).astype("category")
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{folder} is not a folder with a meta.json and its csv file: {error}.") from error
    if len(target.cat.categories) != 2:
        raise DataError(f"{folder}: two classes are needed, got {len(target.cat.categories)}.")
    for name in told["categorical_columns"]:
        codes = frame[name].astype("category").cat.codes
        frame[name] = codes.where(codes >= 0)
    return frame.to_numpy(np.float32), target.cat.codes.to_numpy()


def _latencies(sessions: Mapping[str, Any], x: np.ndarray, rounds: int) -> dict[str, tuple[float, float]]:
    """Return microseconds for one row (tenth percentile) and milliseconds for 2,048 rows (least), measured in turns."""
    one: dict[str, list[float]] = {name: [] for name in sessions}
    many: dict[str, list[float]] = {name: [] for name in sessions}
    batch = np.resize(x, (2048, x.shape[1]))
    for turn in range(rounds):
        for name, opened in sessions.items():
            row = x[turn % len(x)][None]
            one[name] += [_seconds(opened, row) for _ in range(45)][5:]
            if turn % 10 == 0:
                many[name].append(_seconds(opened, batch))
    return {name: (1e6 * float(np.percentile(one[name], 10)), 1e3 * min(many[name])) for name in sessions}


def _seconds(opened: onnxruntime.InferenceSession, x: np.ndarray) -> float:
    start = time.perf_counter()
    _run(opened, x)
    return time.perf_counter() - start


def _run(opened: onnxruntime.InferenceSession, x: np.ndarray) -> list[Any]:
    return list(opened.run(None, {opened.get_inputs()[0].name: x}))


if __name__ == "__main__":
    sys.exit(launch(Settings, run, __doc__))
