"""The frame of a table file: its inputs, its names, and the graph between them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import onnx
import pandas as pd

from compression.graph import Graph
from engine.errors import ArtifactError, DataError
from engine.loaders.columns import as_text

__all__ = ["TableColumns", "TableGraph", "columns_of"]

TEXT_OPSET = 19  # the lowest in which Equal compares texts
IR_OF_OPSET = {19: 9, 20: 9, 21: 10}  # the IR version that came with it
ML_DOMAIN = "ai.onnx.ml"


@final
@dataclass(frozen=True)
class TableColumns:
    """The columns of a table, and where each lies in the inputs of a file.

    Args:
        names: In the order in which the estimator takes them.
        kinds: Of each: `number` (in `x`), `text` (in `c`), or `flag` (in `c` as "True" and "False", a number to the
            estimator).
        is_named: Whether the file names them; columns of a plain array have no names.

    Example:
        >>> columns = columns_of(pd.DataFrame({"age": [31, 44], "town": ["Ulm", None]}))
        >>> columns.numeric, columns.categorical
        (('age',), ('town',))
        >>> {name: array.tolist() for name, array in columns.inputs(np.array([[50, "Ulm"]], dtype=object)).items()}
        {'x': [[50.0]], 'c': [['Ulm']]}
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    is_named: bool

    @property
    def numeric(self) -> tuple[str, ...]:
        """Names of the columns of `x`, in order."""
        return tuple(name for name, kind in zip(self.names, self.kinds, strict=True) if kind == "number")

    @property
    def categorical(self) -> tuple[str, ...]:
        """Names of the columns of `c`, in order."""
        return tuple(name for name, kind in zip(self.names, self.kinds, strict=True) if kind != "number")

    def place(self, column: int) -> int:
        """Return the position of a column in its input."""
        return sum((kind == "number") == (self.kinds[column] == "number") for kind in self.kinds[:column])

    def inputs(self, rows: Any) -> dict[str, np.ndarray]:
        """Return rows as a file takes them: `x`, float32, NaN for missing; `c`, str, "" for missing.

        Args:
            rows: DataFrame or array with these columns in this order.
        """
        frame = _frame(rows)
        made: dict[str, np.ndarray] = {}
        is_number = [kind == "number" for kind in self.kinds]
        numbers = [pd.to_numeric(frame.iloc[:, i]).to_numpy(np.float64, na_value=np.nan) for i in _true(is_number)]
        texts = [as_text(frame.iloc[:, i]) for i in _false(is_number)]
        if numbers:
            with np.errstate(over="ignore"):
                made["x"] = np.stack(numbers, axis=1).astype(np.float32)
        if texts:
            made["c"] = np.stack(texts, axis=1)
        return made

    def metadata(self, classes: Sequence[str] | None) -> dict[str, object]:
        """Return what a file says of itself: names of columns and classes (none for 0, 1, 2, ...), its task."""
        said: dict[str, object] = {}
        if classes is None:
            said["task"] = "regression"
        elif list(classes) != [str(number) for number in range(len(classes))]:
            said["classes"] = list(classes)
        if self.is_named:
            said |= {"numeric": list(self.numeric)} if self.numeric else {}
            said |= {"categorical": list(self.categorical)} if self.categorical else {}
        return said


def columns_of(example: Any, names: Sequence[str] | None = None) -> TableColumns:
    """Tell from some rows what each column holds.

    Args:
        example: DataFrame, or array of shape (n_rows, n_columns).
        names: Of the columns, where the example is an array.

    Raises:
        DataError: With every column that is neither numbers nor text, or if the names do not fit.
    """
    frame = _frame(example)
    is_named = isinstance(example, pd.DataFrame) or names is not None
    given = tuple(map(str, frame.columns if names is None else names))
    problems = []
    if len(given) != frame.shape[1] or not given:
        problems.append(f"names must name each of the {frame.shape[1]} columns of the example, got {len(given)}.")
    if len(set(given)) < len(given):
        twice = sorted({name for name in given if given.count(name) > 1})
        problems.append(f"Names of columns must differ, got {', '.join(twice)} more than once.")
    kinds = [_kind(frame.iloc[:, column]) for column in range(frame.shape[1])]
    for name, kind in zip(given, kinds, strict=False):
        if kind not in ("number", "text", "flag"):
            problems.append(f"Column {name} must hold numbers or text, got {kind}: derive numbers from it first.")
    if problems:
        raise DataError("\n".join(problems))
    return TableColumns(given, tuple(kinds), is_named)


class TableGraph(Graph):
    """A graph under construction that also holds texts and parts of other models.

    Example:
        >>> graph = TableGraph()
        >>> found = graph.node("Equal", "c", graph.texts(["Ulm"]))
        >>> columns = TableColumns(("town",), ("text",), False)
        >>> model = graph.table(graph.node("Cast", found, to=1), columns, 1, None)
        >>> onnx.load_model_from_string(model).opset_import[0].version
        19
    """

    def __init__(self) -> None:
        super().__init__()
        self._vocabularies: dict[tuple[str, ...], str] = {}
        self._others: list[onnx.TensorProto] = []
        self._floor: dict[str, int] = {"": 0}
        self._made: dict[tuple[object, ...], str] = {}
        self._numbers: Iterator[str] = map(str, itertools.count())  # never equal to a name of letters
        self.is_spliced = False

    def texts(self, values: Sequence[str]) -> str:
        """Add texts, shape (n,), or find the equal ones."""
        key = tuple(values)
        if key not in self._vocabularies:
            name = next(self._numbers)
            data = [value.encode() for value in values]
            self._others.append(
                onnx.TensorProto(name=name, dims=[len(data)], data_type=onnx.TensorProto.STRING, string_data=data)
            )
            self._vocabularies[key] = name
            self._floor[""] = max(self._floor[""], TEXT_OPSET)
        return self._vocabularies[key]

    def node(self, operator: str, *inputs: str, output: str | None = None, **attributes: object) -> str:
        """Add a node, or find the equal one: preparations of several columns often begin alike."""
        key = (operator, inputs, repr(sorted(attributes.items())))
        if output is not None or key not in self._made:
            self._made[key] = super().node(operator, *inputs, output=output, **attributes)
        return self._made[key]

    def nearest(self, distances: str, count: int) -> str:
        """Add the places of the smallest values of each row and return their name, int64, shape (n_rows, count)."""
        values, places = next(self._numbers), next(self._numbers)
        inputs = [distances, self.integers([count])]
        self.nodes.append(onnx.helper.make_node("TopK", inputs, [values, places], largest=0))
        return places

    def splice(self, model: onnx.ModelProto, sources: Mapping[str, str], output: str) -> str:
        """Add what one output of another model needs.

        Args:
            model: Without local functions and sub-graphs; its opset must know the operators written here so far.
            sources: By name of each input, the tensor of this graph that takes its place.
            output: Of the model.

        Returns:
            The output's name in this graph.

        Raises:
            ArtifactError: If the model has sub-graphs or functions; it names the first.
        """
        nested = [
            node.op_type
            for node in model.graph.node
            if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)
        ] + [function.name for function in model.functions]
        if nested:
            raise ArtifactError(f"A spliced model must have neither sub-graphs nor functions, got {nested[0]}.")
        names = dict(sources)
        needed = _needed(model, output)
        wanted = {name for node in needed for name in node.input} | {output}
        for tensor in model.graph.initializer:
            if tensor.name in wanted:
                copied = onnx.TensorProto()
                copied.CopyFrom(tensor)
                copied.name = names[tensor.name] = next(self._numbers)
                self._others.append(copied)
        for node in needed:
            copied = onnx.NodeProto()
            copied.CopyFrom(node)
            copied.ClearField("name")
            for field in (copied.input, copied.output):
                renamed = [name and names.setdefault(name, name) for name in field]
                if field is copied.output:
                    renamed = [next(self._numbers) if name else "" for name in field]
                    names.update(zip(field, renamed, strict=True))
                del field[:]
                field.extend(renamed)
            self.nodes.append(copied)
        for entry in model.opset_import:
            if entry.domain in ("", ML_DOMAIN):
                self._floor[entry.domain] = max(self._floor.get(entry.domain, 0), entry.version)
        self.is_spliced = True
        return names[output]

    def table(self, result: str, columns: TableColumns, outputs: int, classes: Sequence[str] | None) -> bytes:
        """Return the finished file: inputs `x` and `c` as far as there are such columns, output `y`.

        Args:
            result: Name of a tensor, float32, shape (n_rows, outputs).
            columns: Of the table.
            outputs: Width of `y`.
            classes: Names in the order of the outputs; None for regression.
        """
        widths = {"x": ("float32", len(columns.numeric)), "c": ("str", len(columns.categorical))}
        made = onnx.ModelProto()
        made.ParseFromString(
            self.model(
                {name: (kind, (None, width)) for name, (kind, width) in widths.items() if width},
                {"y": ("float32", (None, outputs))},
                columns.metadata(classes),
            )
        )
        for node in made.graph.node:
            for field in (node.input, node.output):
                for place, name in enumerate(field):
                    if name == result:
                        field[place] = "y"
        made.graph.initializer.extend(self._others)
        self._raise_versions(made)
        content: bytes = made.SerializeToString(deterministic=True)
        return content

    def _raise_versions(self, made: onnx.ModelProto) -> None:
        known = {entry.domain: entry for entry in made.opset_import}
        for domain, version in self._floor.items():
            entry = known[domain] if domain in known else made.opset_import.add(domain=domain)
            entry.version = max(entry.version, version)
        opset = known[""].version
        for function in made.functions:
            for entry in function.opset_import:
                entry.version = opset if entry.domain == "" else entry.version
        made.ir_version = max(made.ir_version, IR_OF_OPSET.get(opset, 0))


def _needed(model: onnx.ModelProto, output: str) -> list[onnx.NodeProto]:
    wanted, kept = {output}, []
    for node in reversed(model.graph.node):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= set(node.input)
    return kept[::-1]


def _frame(rows: Any) -> pd.DataFrame:
    if isinstance(rows, pd.DataFrame):
        return rows
    array = np.asarray(rows)
    if array.ndim != 2:
        raise DataError(f"Rows must be a table, shape (n_rows, n_columns), got shape {array.shape}.")
    frame = pd.DataFrame(array)
    return frame.infer_objects() if array.dtype == object else frame


def _kind(values: pd.Series) -> str:
    dtype = values.dtype
    if pd.api.types.is_bool_dtype(dtype):
        return "flag"
    if pd.api.types.is_numeric_dtype(dtype):
        return "number" if dtype.kind != "c" else "complex numbers"
    is_object = pd.api.types.is_object_dtype(dtype)
    is_text = isinstance(dtype, pd.CategoricalDtype | pd.StringDtype) or is_object
    return "text" if is_text else str(dtype)


def _true(flags: Sequence[bool]) -> list[int]:
    return [place for place, flag in enumerate(flags) if flag]


def _false(flags: Sequence[bool]) -> list[int]:
    return [place for place, flag in enumerate(flags) if not flag]
