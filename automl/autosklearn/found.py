"""What auto-sklearn found: its pipelines as ONNX files, kept beside the run so that a resumed one has the same."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from automl.autosklearn.install import FOLDER, interpreter
from automl.autosklearn.settings import AutoSklearnSpace
from automl.table import Columns, table_of
from engine.data import Dataset
from engine.errors import MissingExtraError, StudyError

__all__ = ["Encoding", "Found", "Pipeline", "explore"]

MOST_CATEGORIES = 30  # of a column that get a number of their own, the most frequent ones
LEAST_ROWS = 3
PATIENCE = 3  # times the seconds that auto-sklearn may take
RUNNER = Path(__file__).with_name("runner.py")


@final
@dataclass(frozen=True)
class Encoding:
    """How rows become the numbers that auto-sklearn is given: numbers as they are, then a flag for each category.

    Args:
        categories: Of each categorical column, those that get a flag, "" among them where values are missing.
    """

    categories: tuple[tuple[str, ...], ...]

    @staticmethod
    def of(data: Dataset) -> Encoding:
        """Return the flags for a data set: frequent categories of its training rows."""
        table, train = table_of(data), data.splits[0].train
        codes = table.columns.codes[train]
        chosen = []
        for place, vocabulary in enumerate(table.vocabularies):
            counts = np.bincount(codes[:, place][codes[:, place] >= 0], minlength=len(vocabulary))
            order = np.argsort(-counts, kind="stable")[:MOST_CATEGORIES]
            chosen.append(tuple(vocabulary[code] for code in sorted(order) if counts[code] >= LEAST_ROWS))
        return Encoding(tuple(chosen))

    def apply(self, columns: Columns, vocabularies: Sequence[Sequence[str]]) -> np.ndarray:
        """Return rows as numbers, float32, shape (n_rows, n_numbers); NaN for missing numbers."""
        parts = [columns.x]
        for place, known in enumerate(self.categories):
            texts = np.asarray([*vocabularies[place], "\0"])[columns.codes[:, place]]
            parts.append((texts[:, None] == np.asarray(known, dtype=object)[None]).astype(np.float32))
        return np.concatenate([part.reshape(len(columns), -1) for part in parts], axis=1).astype(np.float32)


@final
@dataclass(frozen=True)
class Pipeline:
    """One pipeline of auto-sklearn.

    Args:
        name: Its preparation and its model.
        how: How its output becomes probabilities: `none`, `softmax` or `decision`.
        cost: What auto-sklearn measured on its own validation rows; lower is better.
        config: Its hyper-parameters, as auto-sklearn calls them.
        path: Of its files, without their endings: `_train.onnx`, `_all.onnx`, and what it says of validation rows.
    """

    name: str
    how: str
    cost: float
    config: Mapping[str, Any]
    path: str

    def file(self, part: str) -> bytes:
        """Return the ONNX file of `train` or `all` rows, as auto-sklearn's side wrote it."""
        return Path(f"{self.path}_{part}.onnx").read_bytes()

    def says(self, part: str) -> np.ndarray:
        """Return what the pipeline itself says of the validation rows, float64, shape (n_valid, n_outputs)."""
        return np.asarray(np.load(f"{self.path}_{part}.npy", allow_pickle=False))


@final
@dataclass(frozen=True)
class Found:
    """The pipelines, the best by auto-sklearn's own validation first, and how rows become numbers for them."""

    pipelines: tuple[Pipeline, ...]
    encoding: Encoding
    notes: tuple[str, ...]


def explore(
    data: Dataset, space: AutoSklearnSpace, place: Path, *, metric: str, seconds: float, cores: int, seed: int
) -> Found:
    """Run auto-sklearn on the training rows of the first split, or return what an earlier call left in `place`.

    Args:
        data: Training and validation rows.
        space: Which interpreter, how many pipelines.
        place: A folder for the pipelines.
        metric: That auto-sklearn shall optimise, where it has it.
        seconds: For searching, training and writing.
        cores: It may use.
        seed: Of its search.

    Raises:
        MissingExtraError: If auto-sklearn is not set up.
        StudyError: If it fails, or finds no pipeline that can be written.
    """
    encoding = Encoding.of(data)
    if not (place / "answer.json").exists():
        _call(data, encoding, space, place, metric=metric, seconds=seconds, cores=cores, seed=seed)
    told = json.loads((place / "answer.json").read_text())
    pipelines = tuple(
        Pipeline(entry["name"], entry["how"], entry["cost"], entry["config"], str(place / str(number)))
        for number, entry in enumerate(told["pipelines"])
    )
    skipped = [f"{entry['name']} ({entry['why']})" for entry in told["skipped"]]
    if not pipelines:
        raise StudyError(
            f"auto-sklearn tried {told['tried']} pipelines and none could be written; give it more seconds. "
            + "; ".join(skipped[:5])
        )
    notes = [f"auto-sklearn {told['version']} tried {told['tried']} pipelines; {len(pipelines)} are taken over."]
    notes += [f"Cannot be written, and left out: {'; '.join(skipped[:5])}."] if skipped else []
    return Found(pipelines, encoding, tuple(notes))


def _call(
    data: Dataset,
    encoding: Encoding,
    space: AutoSklearnSpace,
    place: Path,
    *,
    metric: str,
    seconds: float,
    cores: int,
    seed: int,
) -> None:
    python = Path(space.python) if space.python else interpreter(FOLDER)
    if not os.access(python, os.X_OK):
        raise MissingExtraError(
            f"auto-sklearn is not set up: there is no {python}. Run `make autosklearn` (python -m "
            "automl.autosklearn.install), or give the interpreter that has it: space.python=<path>."
        )
    table, split = table_of(data), data.splits[0]
    place.mkdir(parents=True, exist_ok=True)
    x = encoding.apply(table.columns, table.vocabularies)
    np.savez(place / "rows.npz", x=x, y=table.y, train=split.train, valid=split.valid)
    request = {
        **{"task": data.signature.task, "metric": metric, "seconds": seconds, "cores": cores, "seed": seed},
        "pipelines": space.pipelines,
    }
    (place / "request.json").write_text(json.dumps(request))
    command = [str(python), "-I", str(RUNNER), str(place / "request.json")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE * seconds + 120
        )
    except subprocess.TimeoutExpired as error:
        raise StudyError(
            f"auto-sklearn did not end within {error.timeout:.0f} s; it was asked for {seconds:.0f} s."
        ) from error
    (place / "rows.npz").unlink()
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise StudyError(f"auto-sklearn failed: {lines[-1][:300]}")
