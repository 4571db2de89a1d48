"""A finished model: the bytes of an ONNX file, its card, and predictions through ONNX Runtime."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import onnxruntime

from engine.errors import ArtifactError, DataError
from engine.guard import read_card, read_file
from engine.probe import admit, vouch
from engine.threshold import Decision

if TYPE_CHECKING:
    import pandas as pd

    from engine.loaders.kinds import Column

__all__ = ["Artifact", "session"]

BATCH_ROWS = 2048
MOST_COLUMNS = 2**20  # that are named by place; a file that claims more is no table's

onnxruntime.disable_telemetry_events()  # what people search for and predict is nobody else's business


def session(model: bytes, *, optimized: bool = True) -> onnxruntime.InferenceSession:
    """Open a model in ONNX Runtime on one thread, with or without graph optimisation.

    Raises:
        ArtifactError: If ONNX Runtime refuses the file.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exception types share no public root
        raise ArtifactError(f"ONNX Runtime cannot open the model: {error}") from error


@final
@dataclass(frozen=True, eq=False)
class Artifact:
    """A model file as people get it. Immutable; the session is opened at the first prediction.

    Args:
        model: The ONNX file.
        card: What is known about it: JSON, never executed, never trusted for shapes.
    """

    model: bytes
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Length of the file, in bytes."""
        return len(self.model)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file, in hexadecimal digits."""
        return hashlib.sha256(self.model).hexdigest()

    @cached_property
    def metadata(self) -> dict[str, str]:
        """The metadata in the file."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    @cached_property
    def task(self) -> str:
        """`classification`, or `regression` for a file that says so."""
        return self.metadata.get("task", "classification")

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the order of the outputs; "0", "1", ... where the file names none."""
        if self.task == "regression":
            return ()
        named, width = self.metadata.get("classes"), self._session.get_outputs()[0].shape[-1]
        if named is None and isinstance(width, int):
            return tuple(str(number) for number in range(width))
        try:
            names = json.loads(named or "null")
        except (ValueError, RecursionError):
            names = None
        if not isinstance(names, list) or (isinstance(width, int) and len(names) != width):
            raise ArtifactError(
                f"The metadata key classes must be a JSON list of {width} names, one an output, got {named!r:.80}."
            )
        return tuple(map(str, names))

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """What the card tells of the columns of a table; nothing where it tells of another file."""
        from engine.loaders.kinds import Column

        told = self._own_card.get("columns", ())
        try:
            return tuple(Column.from_json(entry) for entry in told)
        except (TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(f"The card's columns must be a list of columns: {error}.") from error

    @cached_property
    def decision(self) -> Decision:
        """How probabilities become labels: as the card says, otherwise the most probable class."""
        return Decision.from_card(self._own_card)

    def column_names(self, kind: str) -> list[str]:
        """Return the names of the columns of `x` (numeric) or `c` (categorical), none where the file tells none.

        A file may name only the columns that it reads, each with its place; the others are called by the empty text.

        Args:
            kind: `numeric` or `categorical`.

        Raises:
            DataError: If card or metadata hold something else.
        """
        named = self._own_card.get(f"{kind}_columns")
        if named is None:
            try:
                named = json.loads(self.metadata.get(kind, "[]"))
            except ValueError as error:
                raise DataError(f"The model's metadata key {kind} must be a JSON list of column names.") from error
            if isinstance(named, dict):
                named = _placed(named, self.input_shapes.get("x" if kind == "numeric" else "c", ())[1:])
        if not isinstance(named, list | tuple) or not all(isinstance(name, str) for name in named):
            raise DataError(f"The model must name its {kind} columns as a list of texts, got {named!r}.")
        return list(named)

    @property
    def _own_card(self) -> Mapping[str, Any]:
        return self.card if self.card.get("sha256") in (None, self.sha256) else {}

    def inputs_of(self, table: pd.DataFrame, *, where: str = "The table") -> dict[str, np.ndarray]:
        """Return the inputs of the file from the columns of a table, by name, in any order, others ignored.

        The parts of a date are derived from its column, booleans become 0 and 1, missing codes become missing.

        Args:
            table: Rows as the user has them.
            where: What to call it in messages.

        Raises:
            DataError: If the file names no columns, or with every column that is missing or holds something else.
        """
        from engine.loaders.encoding import frame_inputs
        from engine.loaders.frame import as_frame

        names = {"x": self.column_names("numeric"), "c": self.column_names("categorical")}
        if not any(names.values()):
            arrays = " and ".join(self.input_shapes)
            raise DataError(
                f"The model names no columns, so {where} cannot be matched with it; give its input {arrays} in an npz "
                "file."
            )
        return frame_inputs(as_frame(table), names, self.columns, where=where)

    @property
    def input_shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Shape of each input; None for the batch."""
        return {
            entry.name: tuple(size if isinstance(size, int) else None for size in entry.shape)
            for entry in self._session.get_inputs()
        }

    @property
    def input_types(self) -> dict[str, str]:
        """Element type of each input as NumPy names it."""
        names = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(string)": "str"}
        return {entry.name: names.get(entry.type, entry.type) for entry in self._session.get_inputs()}

    def outputs(self, inputs: Mapping[str, np.ndarray] | pd.DataFrame) -> np.ndarray:
        """Run the file.

        Args:
            inputs: Arrays named `x`, `c` or both, with the shapes and types of the file; or a table as the user has it.

        Returns:
            Probabilities or values, float32, shape (n_rows, n_outputs).

        Raises:
            ArtifactError: If an input is missing or has another shape or type.
            DataError: If a table does not fit the file.
        """
        if not isinstance(inputs, Mapping):
            inputs = self.inputs_of(inputs)
        if not self.input_shapes:
            raise ArtifactError("The model takes no inputs: it cannot depend on rows.")
        prepared = {}
        for name, shape in self.input_shapes.items():
            if name not in inputs:
                raise ArtifactError(f"The model takes {', '.join(self.input_shapes)}; input {name} is missing.")
            prepared[name] = _fitted(name, np.asarray(inputs[name]), shape, self.input_types[name])
        counts = {name: len(array) for name, array in prepared.items()}
        if len(set(counts.values())) > 1:
            raise ArtifactError(f"All inputs must have the same number of rows, got {counts}.")
        count = next(iter(counts.values()))
        batches = [
            self._run({name: array[start : start + BATCH_ROWS] for name, array in prepared.items()})
            for start in range(0, max(count, 1), BATCH_ROWS)
        ]
        return np.concatenate(batches)

    def predict(self, inputs: Mapping[str, np.ndarray] | pd.DataFrame) -> np.ndarray:
        """Return the class that is answered for each row, str; or the values, for regression.

        That is the most probable class, unless the card has a threshold or costs (`decision`).
        """
        outputs = self.outputs(inputs)
        if self.task == "regression":
            return np.asarray(outputs[:, 0])
        return np.asarray(np.asarray(self.classes)[self.decision.labels(outputs)])

    def save(self, folder: Path) -> Path:
        """Write `model.onnx` and `card.json` to a folder, each whole or not at all, and return the model's path."""
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(dict(self.card), indent=2, sort_keys=True)
        for name, content in (("model.onnx", self.model), ("card.json", text.encode())):
            waiting = folder / f".{name}.part"
            waiting.write_bytes(content)
            os.replace(waiting, folder / name)
        vouch(self.model)
        return folder / "model.onnx"

    @staticmethod
    def load(path: Path | str) -> Artifact:
        """Read a model file, through the guard, with the card beside it if there is one.

        A file that this process did not write itself is first opened in another process, with limits on memory and
        time (`engine/probe.py`).

        Raises:
            ArtifactError: If there is no such file, or the guard refuses it.
        """
        path = Path(path)
        if path.is_dir():
            path = path / "model.onnx"
        model = read_file(path)
        admit(model, name=str(path))
        return Artifact(model, read_card(path.with_name("card.json")))

    def _run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        try:
            outputs = np.asarray(self._session.run(None, dict(inputs))[0])
        except Exception as error:  # its exception types share no public root
            raise ArtifactError(f"ONNX Runtime cannot run the model on these rows: {error}") from error
        if outputs.ndim < 1:
            raise ArtifactError("The first output of the model must have a value for each row, it is a single number.")
        return outputs

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        return session(self.model)

    def __getstate__(self) -> dict[str, Any]:
        return {"model": self.model, "card": self.card}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def _placed(places: Mapping[str, Any], width: Sequence[int | None]) -> list[str] | Mapping[str, Any]:
    """Return names by place, the empty text where none is told; the places themselves where they do not fit."""
    count = (width[0] if width else None) or 0
    if count > MOST_COLUMNS or not all(type(place) is int and 0 <= place < count for place in places.values()):
        return places
    names = [""] * count
    for name, place in places.items():
        names[place] = name
    return names


def _fitted(name: str, array: np.ndarray, shape: tuple[int | None, ...], dtype: str) -> np.ndarray:
    if array.ndim == len(shape) - 1 and len(shape) > 1 and shape[1] == 1:
        array = array[:, None]  # one channel: N x H x W is N x 1 x H x W
    fits = array.ndim == len(shape) and all(w in (None, h) for h, w in zip(array.shape, shape, strict=True))
    if not fits:
        wanted = " x ".join("N" if size is None else str(size) for size in shape)
        raise ArtifactError(f"Input {name} must have shape {wanted}, got {' x '.join(map(str, array.shape))}.")
    if dtype == "uint8" and array.dtype != np.uint8:
        whole = array.astype(np.float64) if array.dtype.kind in "biuf" else None
        if whole is None or not np.array_equal(whole, np.clip(np.rint(whole), 0, 255)):
            raise ArtifactError(f"Input {name} must hold whole numbers in [0, 255] (uint8), got {array.dtype}.")
    if dtype == "str":
        return array.astype(object)
    try:
        return np.ascontiguousarray(array, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"Input {name} must be {dtype}, got {array.dtype}: {error}.") from error
