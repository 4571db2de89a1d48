"""Coded weights in a graph that exists: initializers become codes, scales, and the operators that decode them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from compression.codings import CODINGS, PALETTES, RESHAPE, SCALES_APART, TURN, Coding, decode_all, decode_palette
from compression.graph import Graph
from compression.graphs.fold import constants_to_initializers
from compression.graphs.gate import check_decoded, check_outputs
from compression.graphs.opset import all_nodes, opset_of, raised
from compression.graphs.shorten import drop_defaults, shortened
from engine.errors import ArtifactError, did_you_mean

__all__ = ["Recoded", "as_floats", "recode", "with_floats"]

PREFIX = "decode/"  # of names made here until the last step shortens them all


@final
@dataclass(frozen=True, eq=False)
class Recoded:
    """One weight as it is to be written.

    A weight is (code - offset of the coding) x scale, or codebook[code] x scale for palettes; for the float codings,
    the value itself, rounded.

    Args:
        coding: Name of an entry of `CODINGS` or `PALETTES`. Sparse codings have any density here: zeros cost one bit.
        codes: With the shape of the weight: whole numbers in the coding's range, or values for `float32` and `float16`.
        scale: float16, shape (length of `axis`,), or (1,) without an axis; None for no scale.
        axis: Of the weight, along which the scales run; None for one scale.
        codebook: Values of a palette, float16, shape (at most 4 or 16,). Weights with equal ones are decoded together.
    """

    coding: str
    codes: np.ndarray
    scale: np.ndarray | None = None
    axis: int | None = None
    codebook: np.ndarray | None = None


def as_floats(weight: Recoded) -> np.ndarray:
    """Return the weight as the file gives it, bit for bit: float32, with the shape of the codes.

    Example:
        >>> as_floats(Recoded("int4", np.array([[7], [-2]]), np.array([0.5, 2], np.float16), axis=0)).ravel().tolist()
        [3.5, -4.0]
    """
    if weight.coding in ("float32", "float16"):
        return np.asarray(weight.codes, np.float32).astype(weight.coding).astype(np.float32)
    if weight.codebook is not None:
        values = weight.codebook.astype(np.float16).astype(np.float32)[weight.codes.astype(np.int64)]
    else:
        values = weight.codes.astype(np.float32) - np.float32(CODINGS[weight.coding].offset)
    if weight.scale is None:
        return np.asarray(values)
    return np.asarray(values * weight.scale.astype(np.float32).reshape(_scale_shape(weight)))


def recode(model: ModelProto, weights: Mapping[str, Recoded], rows: Mapping[str, np.ndarray] | None = None) -> bytes:
    """Write a model with coded weights, through the parity gate.

    Weights of one coding lie in one tensor, decoded once and then cut, or in few; so do all scales, and the values of
    `float16`. ONNX Runtime folds the decoding when it loads the file. What is not named stays as it is; everything is
    written in as few bytes as `compression.graphs.shorten` can.

    Args:
        model: With float32 initializers; left as it is. Give it simplified (`compression.graphs.fold.simplified`) or
            stripped: normalisations that are folded first leave fewer tensors.
        weights: By name of the initializer in this model; any of them, weights and biases alike.
        rows: Inputs by name on which the file and the same model with float weights must agree; made up if None.

    Returns:
        The file. It decodes bit for bit to `as_floats` of each weight.

    Raises:
        ArtifactError: With everything that is wrong with the weights; or if the file is not at parity, or the model
            cannot be moved to the opset that a coding needs.

    Example:
        >>> from onnx import parser
        >>> model = parser.parse_model('''<ir_version: 8, opset_import: ["" : 17]>
        ... net (float[N, 2] x) => (float[N, 1] y) <float[2, 1] w = {0.9, -2.1}> { y = MatMul(x, w) }''')
        >>> file = recode(model, {"w": Recoded("ternary", np.array([[2], [0]]), np.array([1.5], np.float16))})
        >>> from engine.artifact import Artifact
        >>> Artifact(file).outputs({"x": np.array([[1, 0], [0, 1]], np.float32)}).ravel().tolist()
        [1.5, -1.5]
    """
    _check(model, weights)
    order = [tensor.name for tensor in model.graph.initializer if tensor.name in weights]
    floats = {name: as_floats(weights[name]) for name in order}
    graph = Graph()
    values = _decoded(graph, {name: weights[name] for name in order})
    coded = raised(model, graph.opset)
    constants_to_initializers(coded.graph)  # what were attributes before
    drop_defaults(coded.graph, opset_of(coded))  # while the shapes of the weights are to be seen
    kept = [tensor for tensor in coded.graph.initializer if tensor.name not in weights]
    nodes = [*_prefixed(graph.nodes, values), *coded.graph.node]
    tensors = [_named(tensor, values) for tensor in graph.tensors]
    coded.graph.CopyFrom(_with(coded.graph, nodes, [*kept, *tensors]))
    short, names = shortened(coded)
    content: bytes = short.SerializeToString(deterministic=True)
    read = {name for node in all_nodes(coded.graph.node) for name in node.input}
    check_decoded(content, {names[name]: (name, values) for name, values in floats.items() if name in read})
    check_outputs(content, with_floats(model, floats), rows)
    return content


def with_floats(model: ModelProto, floats: Mapping[str, np.ndarray]) -> ModelProto:
    """Return the model with other values in these initializers."""
    made = ModelProto()
    made.CopyFrom(model)
    for tensor in made.graph.initializer:
        if tensor.name in floats:
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(floats[tensor.name]), tensor.name))
    return made


def _decoded(graph: Graph, weights: Mapping[str, Recoded]) -> dict[str, str]:
    """Write everything; return the name in the new graph of each weight, by its own name."""
    turned = _turned(weights)
    shares = _shared_halves(graph, weights, turned)
    places: dict[str, str] = {}
    flat: set[str] = set()
    for group in _groups(weights):
        found, is_flat = _decoded_group(graph, {name: weights[name] for name in group}, turned)
        places |= found
        flat |= set(group) if is_flat else set()
    values = {}
    for name, weight in weights.items():
        if weight.coding == "float32":
            values[name] = graph.weights(np.asarray(weight.codes, np.float32))
            continue
        is_turned, shape = name in turned, weight.codes.shape
        value = shares[name] if weight.coding == "float16" else places[name]
        if len(shape) != 1 and (name in flat or weight.coding == "float16"):
            value = graph.node(
                "Reshape", value, graph.integers(shape[::-1] if is_turned else shape, shape=(len(shape),))
            )
        if weight.scale is not None:
            value = graph.node("Mul", value, shares[f"{name} scale"])
        values[name] = graph.node("Transpose", value) if is_turned else value  # of all axes
    return values


def _turned(weights: Mapping[str, Recoded]) -> set[str]:
    """Return the weights whose axes lie in reverse order, so that a flat scale fits: where few are of a kind."""
    kinds: dict[int, list[str]] = {}
    for name, weight in weights.items():
        if weight.scale is not None:
            kinds.setdefault(len(_scale_shape(weight)) - 1, []).append(name)
        elif weight.coding == "float16":
            kinds.setdefault(0, []).append(name)
    apart = [names for after, names in sorted(kinds.items()) if after and all(weights[n].axis == 0 for n in names)]
    chosen = [names for names in apart if TURN * len(names) < SCALES_APART]
    return {name for names in chosen for name in names} if len(kinds) > 1 else set()


def _groups(weights: Mapping[str, Recoded]) -> Iterator[list[str]]:
    """Names of weights that are decoded together: those of one coding, and of one codebook."""
    groups: dict[tuple[str, bytes], list[str]] = {}
    for name, weight in weights.items():
        if weight.coding not in ("float32", "float16"):
            book = b"" if weight.codebook is None else weight.codebook.astype(np.float16).tobytes()
            groups.setdefault((weight.coding, book), []).append(name)
    yield from groups.values()


def _decoded_group(graph: Graph, weights: Mapping[str, Recoded], turned: set[str]) -> tuple[dict[str, str], bool]:
    """Write weights of one coding; return the name of each, and whether they are flat."""
    first = next(iter(weights.values()))
    codes = {name: np.asarray(weight.codes, np.int64) for name, weight in weights.items()}
    codes = {name: array.T if name in turned else array for name, array in codes.items()}
    if first.codebook is None:
        axes = {name: 0 if weights[name].axis == 0 and name not in turned else -1 for name in codes}
        kept = sum(int(np.count_nonzero(array)) for array in codes.values())
        return decode_all(graph, CODINGS[first.coding], codes, axes, kept=kept, reshaping=RESHAPE * len(codes))
    whole = np.concatenate([array.reshape(-1) for array in codes.values()])
    decoded, length = decode_palette(graph, PALETTES[first.coding], whole, first.codebook)
    sizes = [array.size for array in codes.values()]
    rest = length - len(whole)
    return dict(zip(codes, graph.split(decoded, [*sizes, rest] if rest else sizes), strict=False)), True


def _shared_halves(graph: Graph, weights: Mapping[str, Recoded], turned: set[str]) -> dict[str, str]:
    """Write scales and float16 values, those of one shape after the first axis in one tensor."""
    groups: dict[int, dict[str, np.ndarray]] = {}
    for name, weight in weights.items():
        if weight.coding == "float16":
            groups.setdefault(0, {})[name] = np.asarray(weight.codes, np.float16).reshape(-1)
        if weight.scale is not None:
            shape = (-1,) if name in turned else _scale_shape(weight)
            groups.setdefault(len(shape) - 1, {})[f"{name} scale"] = weight.scale.astype(np.float16).reshape(shape)
    names: dict[str, str] = {}
    for arrays in groups.values():
        whole = graph.node("Cast", graph.weights(np.concatenate(list(arrays.values()))), to=1)
        names |= dict(zip(arrays, graph.split(whole, [len(array) for array in arrays.values()]), strict=True))
    return names


def _scale_shape(weight: Recoded) -> tuple[int, ...]:
    """The shape in which scales fit the weight: their own axis first, a one for each axis after it."""
    after = 0 if weight.axis is None else weight.codes.ndim - 1 - weight.axis
    return (-1, *[1] * after)


def _prefixed(nodes: Sequence[NodeProto], values: Mapping[str, str]) -> list[NodeProto]:
    own = {made: name for name, made in values.items()}
    copies = []
    for node in nodes:
        copy = NodeProto()
        copy.CopyFrom(node)
        for place in (copy.input, copy.output):
            for number, name in enumerate(place):
                place[number] = own.get(name, f"{PREFIX}{name}")
        copies.append(copy)
    return copies


def _named(tensor: TensorProto, values: Mapping[str, str]) -> TensorProto:
    own = {made: name for name, made in values.items()}
    copy = TensorProto()
    copy.CopyFrom(tensor)
    copy.name = own.get(tensor.name, f"{PREFIX}{tensor.name}")
    return copy


def _with(graph: GraphProto, nodes: Sequence[NodeProto], tensors: Sequence[TensorProto]) -> GraphProto:
    """Return the graph with other nodes and tensors."""
    made = GraphProto(name=graph.name, node=nodes, initializer=tensors, input=graph.input, output=graph.output)
    made.sparse_initializer.extend(graph.sparse_initializer)
    return made


def _check(model: ModelProto, weights: Mapping[str, Recoded]) -> None:
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    problems = []
    for name, weight in weights.items():
        tensor = tensors.get(name)
        if tensor is None:
            known = ", ".join(list(tensors)[:20])
            problems.append(f"The model has no tensor '{name}'{did_you_mean(name, tensors)} Tensors: {known}.")
        elif tensor.data_type != TensorProto.FLOAT:
            problems.append(f"{name} must be float32 to be coded, it is {_kind(tensor)}.")
        else:
            problems += [f"{name}: {text}" for text in _problems(weight, tuple(tensor.dims))]
    if problems:
        raise ArtifactError("\n".join(problems))


def _kind(tensor: TensorProto) -> str:
    return str(TensorProto.DataType.Name(tensor.data_type)).lower()


def _problems(weight: Recoded, shape: tuple[int, ...]) -> Iterator[str]:
    known = CODINGS | PALETTES
    coding = known.get(weight.coding)
    if coding is None:
        yield f"no coding '{weight.coding}'{did_you_mean(weight.coding, known)} Codings: {', '.join(known)}."
        return
    if weight.codes.shape != shape or not weight.codes.size:
        yield f"codes must have the weight's shape {shape} and at least one element, got {weight.codes.shape}."
        return
    if not coding.is_integer:
        yield from _float_problems(weight)
        return
    yield from _code_problems(weight, coding)
    if weight.scale is not None:
        wanted = 1 if weight.axis is None else shape[weight.axis] if 0 <= weight.axis < len(shape) else -1
        if weight.scale.shape != (wanted,):
            yield f"scale must have shape ({wanted},) for axis {weight.axis}, got {weight.scale.shape}."
        elif not np.isfinite(weight.scale.astype(np.float16)).all():
            yield "scales must be finite in float16; one is not."
        elif (weight.scale.astype(np.float16).astype(weight.scale.dtype) != weight.scale).any():
            yield "scales must be float16 values, round them before the codes are chosen."


def _float_problems(weight: Recoded) -> Iterator[str]:
    if weight.scale is not None or weight.codebook is not None:
        yield f"{weight.coding} takes neither scale nor codebook."
    with np.errstate(over="ignore"):
        if not np.isfinite(np.asarray(weight.codes).astype(weight.coding)).all():
            yield f"values must be finite in {weight.coding}; take float32, or look for what made them so."


def _code_problems(weight: Recoded, coding: Coding) -> Iterator[str]:
    highest = coding.high
    if (weight.coding in PALETTES) != (weight.codebook is not None):
        yield f"{weight.coding} {'needs a' if weight.coding in PALETTES else 'takes no'} codebook."
    elif weight.codebook is not None:
        highest = len(weight.codebook) - 1
        if weight.codebook.ndim != 1 or not 0 <= highest <= coding.high:
            yield f"the codebook must be flat and have 1 to {coding.high + 1} values, got {weight.codebook.shape}."
    codes = np.asarray(weight.codes)
    if not np.array_equal(codes, np.rint(codes)) or codes.min() < coding.low or codes.max() > highest:
        yield f"codes must be whole numbers in [{coding.low}, {highest}], got {codes.min()} to {codes.max()}."
