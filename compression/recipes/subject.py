"""A model that the user already has, and rows that fit it: what it takes, and what a file made from it is worth."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import onnx
from onnx import ModelProto

from compression.graphs.calibrate import fixed_batch
from engine.artifact import Artifact, session
from engine.data import Rows
from engine.errors import ArtifactError, DataError
from engine.loaders.archive import read_archive
from engine.loaders.settings import DataSettings, check

__all__ = ["Fit", "Measured", "Subject", "read_subject", "timed_us"]

CALIBRATION_ROWS = 512
BATCH_ROWS = 256
Part = tuple[dict[str, np.ndarray], np.ndarray | None]  # rows as the model takes them, and targets if there are any
TYPES = {"float32", "float16", "float64", "uint8"}


@final
@dataclass(frozen=True)
class Fit:
    """How rows become what a model takes.

    Args:
        name: Of the one input.
        shape: Of the input; 0 for open sizes.
        dtype: Of the input, as NumPy names it.
        output: Name of the output that is compared.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    output: str


@final
@dataclass(frozen=True, eq=False)
class Measured:
    """Rows on which files are compared.

    Args:
        inputs: By name, as the model takes them.
        wanted: What a perfect file gives: class indices, int64, shape (n,); or values, float64, shape (n, outputs).
        spread: Standard deviation of the values wanted; 1 for classes.
    """

    inputs: dict[str, np.ndarray]
    wanted: np.ndarray
    spread: float

    def __len__(self) -> int:
        return len(self.wanted)


@final
@dataclass(frozen=True, eq=False)
class Subject:
    """A model with its rows.

    Args:
        model: As it was read.
        content: The file.
        fit: What it takes.
        has_labels: Whether files are compared with the truth; else with the original's own outputs.
        calibration: Training rows, for choosing codes.
        valid: Rows for choosing between files.
        test: Rows for nothing but the last figure; None if there are none.
        notes: What a user should know of the data.
    """

    model: ModelProto
    content: bytes
    fit: Fit
    has_labels: bool
    calibration: dict[str, np.ndarray]
    valid: Measured
    test: Measured | None
    notes: tuple[str, ...]

    @property
    def batch(self) -> int:
        """The number of rows that the model takes at a time; 0 if any."""
        return fixed_batch(self.model)

    @property
    def is_classification(self) -> bool:
        """Whether files are compared by labels."""
        return self.valid.wanted.ndim == 1

    def error(self, content: bytes, rows: Measured) -> float:
        """Return the share of wrong (without labels: changed) classes; or the RMSE over the spread of the values.

        Infinite where an output is not finite.
        """
        outputs = _outputs(content, self.fit, rows.inputs, self.batch)
        if not np.isfinite(outputs).all():
            return math.inf
        if rows.wanted.ndim == 1:
            return float((outputs.argmax(axis=1) != rows.wanted).mean())
        return float(np.sqrt(((outputs - rows.wanted) ** 2).mean())) / rows.spread


def read_subject(path: Path, data: DataSettings, *, seed: int) -> Subject:
    """Read a model and the rows to compress it by.

    Args:
        path: ONNX file with one data input; it may have any name and shape, a fixed batch size included.
        data: Where rows are. An npz file without targets will do: files are then compared with the original's outputs.
        seed: Of the split.

    Raises:
        ArtifactError: If the model cannot be used; it says what it would have to be.
        DataError: If the rows do not fit the model.
    """
    content = Artifact.load(path).model
    model = onnx.load_model_from_string(content)
    fit = _fit(model, path)
    check(data)
    bare = _bare_rows(data)
    parts, is_values, notes = _labelled(model, fit, data, path, seed) if bare is None else _bare(bare, fit, data, seed)
    train, valid, test = parts
    batch = fixed_batch(model)
    if train is None or valid is None or min(len(part[0][fit.name]) for part in (train, valid)) < max(1, batch):
        raise DataError(
            f"There must be training rows to choose codes by and validation rows to choose files by, at least "
            f"{max(1, batch)} of each (the model takes {batch or 'any number of'} rows at a time)."
        )
    outputs = _outputs(content, fit, valid[0], batch)
    _check_outputs(outputs, valid[1], is_values, path)
    is_values = is_values or outputs.shape[1] == 1
    calibration = {name: values[:CALIBRATION_ROWS] for name, values in train[0].items()}
    measured = _measured(content, fit, valid, is_values, batch)
    tested = None if test is None else _measured(content, fit, test, is_values, batch)
    return Subject(model, content, fit, bare is None, calibration, measured, tested, notes)


def timed_us(content: bytes, inputs: Mapping[str, np.ndarray], *, repeats: int = 200) -> float:
    """Return the median time of one call on one thread, in microseconds."""
    opened = session(content)
    names = [entry.name for entry in opened.get_outputs()]
    for _ in range(10):
        opened.run(names, dict(inputs))
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        opened.run(names, dict(inputs))
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds) * 1e6)


def _fit(model: ModelProto, path: Path) -> Fit:
    given = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in given]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise ArtifactError(f"{path} must have one data input, it has {len(inputs)}: {names}.")
    tensor = inputs[0].type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name if tensor.elem_type else "unknown"
    if dtype not in TYPES:
        raise ArtifactError(f"Input {inputs[0].name} of {path} must be {', '.join(sorted(TYPES))}, it is {dtype}.")
    shape = tuple(int(dimension.dim_value) for dimension in tensor.shape.dim)
    if len(shape) < 2:
        raise ArtifactError(f"Input {inputs[0].name} of {path} must hold rows of values, it has shape {shape}.")
    floats = [v.name for v in model.graph.output if v.type.tensor_type.elem_type in (1, 10, 11)]
    if not floats:
        raise ArtifactError(f"{path} must have an output of floats: probabilities, logits or values.")
    return Fit(inputs[0].name, shape, dtype, floats[0])


def _bare_rows(data: DataSettings) -> np.ndarray | None:
    """Return x of an npz file that has no targets."""
    if data.name != "npz" or data.path is None or data.target is not None:
        return None
    arrays = read_archive(Path(data.path))
    if "x" not in arrays or "y" in arrays:
        return None
    return arrays["x"]


def _bare(x: np.ndarray, fit: Fit, data: DataSettings, seed: int) -> tuple[list[Part | None], bool, tuple[str, ...]]:
    parts = _divided(_prepared(x, fit), data, seed)
    note = f"{data.path} has no targets: files are compared with the outputs of the original."
    return [None if part is None else (part, None) for part in parts], data.task == "regression", (note,)


def _labelled(
    model: ModelProto, fit: Fit, data: DataSettings, path: Path, seed: int
) -> tuple[list[Part | None], bool, tuple[str, ...]]:
    from engine.load import load  # which imports scikit-learn

    loaded = load(data, seed=seed)
    signature = loaded.dataset.signature
    order = _class_order(model, signature.classes, path)
    parts: list[Part | None] = [
        None if rows is None or not len(rows) else (_prepared(_only_x(rows), fit), _targets(rows, order))
        for rows in (loaded.dataset.train(), loaded.dataset.valid(), loaded.test)
    ]
    return parts, signature.task == "regression", (f"Data: {loaded.source}.", *loaded.notes)


def _divided(inputs: dict[str, np.ndarray], data: DataSettings, seed: int) -> list[dict[str, np.ndarray] | None]:
    """Return training, validation and test rows."""
    count = len(next(iter(inputs.values())))
    order = np.random.default_rng(seed).permutation(count)[: data.max_rows]
    test = round(data.test_share * len(order))
    valid = max(1, round(data.valid_share * (len(order) - test)))
    places = (order[test + valid :], order[test : test + valid], order[:test])
    return [{name: values[place] for name, values in inputs.items()} if len(place) else None for place in places]


def _only_x(rows: Rows) -> np.ndarray:
    if rows.c is not None or rows.x is None:
        raise DataError(
            "The rows must be numbers only to fit a model with one input; drop the other columns: data.drop=."
        )
    return np.asarray(rows.x)


def _prepared(x: np.ndarray, fit: Fit) -> dict[str, np.ndarray]:
    """Return rows in the shape and type of the input: as they are, flat, or with the channels last."""
    wanted = fit.shape[1:]
    if not _fits(x.shape[1:], wanted) and x.ndim > 2:
        if len(wanted) == 1:
            x = x.reshape(len(x), -1)
        elif _fits((*x.shape[2:], x.shape[1]), wanted):
            x = np.moveaxis(x, 1, -1)
        elif _fits((1, *x.shape[1:]), wanted):
            x = x[:, None]
    if not _fits(x.shape[1:], wanted):
        want, have = (" x ".join(str(size or "any") for size in shape) for shape in (wanted, x.shape[1:]))
        raise DataError(f"Input {fit.name} of the model takes rows of {want}, the data has rows of {have}.")
    if fit.dtype == "uint8" and x.dtype != np.uint8:
        raise DataError(f"Input {fit.name} of the model takes uint8, the data has {x.dtype}.")
    return {fit.name: np.ascontiguousarray(x, fit.dtype)}


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(shape) == len(wanted) and all(w in (0, size) for size, w in zip(shape, wanted, strict=True))


def _class_order(model: ModelProto, classes: tuple[str, ...], path: Path) -> np.ndarray | None:
    """Return the model's index of each class of the data, where the model names its classes."""
    named = next((entry.value for entry in model.metadata_props if entry.key == "classes"), None)
    if named is None or not classes:
        return None
    names = json.loads(named)
    if sorted(map(str, names)) != sorted(classes):
        raise DataError(f"{path} names the classes {', '.join(names)}; the data has {', '.join(classes)}.")
    return np.array([list(map(str, names)).index(name) for name in classes])


def _targets(rows: Rows, order: np.ndarray | None) -> np.ndarray:
    return rows.y if order is None else order[rows.y]


def _check_outputs(outputs: np.ndarray, targets: np.ndarray | None, is_values: bool, path: Path) -> None:
    width = outputs.shape[1]
    if not np.isfinite(outputs).all():
        raise ArtifactError(
            f"{path} gives values that are not finite on validation rows; nothing can be compared with them."
        )
    if targets is None:
        return
    if is_values and width != 1:
        raise DataError(
            f"{path} gives {width} values a row, the target is one. Leave the target out to match the original."
        )
    if not is_values and (width < 2 or targets.max() >= width):
        raise DataError(
            f"{path} gives {width} values a row, which cannot be the scores of {int(targets.max()) + 1} classes. Leave "
            "the target out of the file to match the original's outputs."
        )


def _measured(content: bytes, fit: Fit, part: Part, is_values: bool, batch: int) -> Measured:
    inputs, targets = part
    count = len(inputs[fit.name]) // max(1, batch) * max(1, batch)
    inputs = {name: values[:count] for name, values in inputs.items()}
    if targets is None:
        outputs = _outputs(content, fit, inputs, batch)
        wanted = outputs.astype(np.float64) if is_values else outputs.argmax(axis=1)
    else:
        wanted = targets[:count].astype(np.float64)[:, None] if is_values else targets[:count]
    return Measured(inputs, wanted, (float(wanted.std()) or 1.0) if is_values else 1.0)


def _outputs(content: bytes, fit: Fit, inputs: Mapping[str, np.ndarray], batch: int) -> np.ndarray:
    """Return the compared output, float, shape (rows, values); rows that do not fill a fixed batch are left out."""
    opened = session(content)
    rows = inputs[fit.name]
    size = batch or BATCH_ROWS
    count = len(rows) // batch * batch if batch else len(rows)
    try:
        found = [opened.run([fit.output], {fit.name: rows[at : at + size]})[0] for at in range(0, count, size)]
    except Exception as error:  # ONNX Runtime's exception types share no public root
        raise ArtifactError(f"ONNX Runtime cannot run the model on these rows: {error}") from error
    if any(
        part.shape[:1] != rows[at : at + size].shape[:1] for part, at in zip(found, range(0, count, size), strict=True)
    ):
        raise ArtifactError(f"Output {fit.output} must have a row for each row of {fit.name}.")
    return np.concatenate([part.reshape(len(part), -1) for part in found])
