"""Lowering a plan with its weights to an ONNX file of standard operators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from compression.codings import RESHAPE, SCALES_APART, TURN, coding_named, decode_all
from compression.graph import Graph
from compression.nets.plan import (
    Addition,
    Convolution,
    Linear,
    Mean,
    Plan,
    Pooling,
    Rescaling,
    Standardisation,
    Step,
    Weighted,
)

BEFORE_ALL = -(2**31)  # where a slice that goes backwards ends, to hold the first element too
SHARED_USES = 3  # layers alike from which a local function is shorter than writing each in place

Body = tuple[object, ...]

__all__ = [
    "Lowered",
    "Parts",
    "Weights",
    "answer",
    "centred_input",
    "empty_weights",
    "halves",
    "linear",
    "lower",
    "metadata_of",
    "shape_of",
    "standardised",
    "window_of",
]


@final
@dataclass(frozen=True, eq=False)
class Weights:
    """The weights of one step as they are written.

    Args:
        codes: Codes (integer codings) or values, shape (channels_out, channels_in, kernel, ...); for the last layer
            (channels_in, channels_out).
        scale: float16, shape (channels_out,); None for float codings.
        bias: float16, shape (channels_out,); None where there is none.
    """

    codes: np.ndarray
    scale: np.ndarray | None
    bias: np.ndarray | None


@final
@dataclass(frozen=True)
class Parts:
    """Names of a step's decoded tensors in the graph.

    Args:
        weight: Without its scale.
        shape: What a flat weight is reshaped to; None where it lies in its own shape.
        scale: Of the weight; None for float codings.
        bias: None where there is none.
        is_turned: Whether the axes of the weight lie in reverse order, output channels last: then a flat scale fits it.
    """

    weight: str
    shape: str | None
    scale: str | None
    bias: str | None
    is_turned: bool

    def stored(self, codes: np.ndarray) -> np.ndarray:
        """Return codes in the order in which they lie in the file."""
        return codes.T if self.is_turned else codes


@final
@dataclass(frozen=True)
class Lowered:
    """A written model, and where the weights of each step are in it, for the parity gate."""

    model: bytes
    parts: Mapping[str, Parts]


def empty_weights(plan: Plan) -> dict[str, Weights]:
    """Return zeros for every step: the file they give has the length that any weights give."""
    return {
        step.name: Weights(
            np.zeros(shape_of(plan, step), np.int8),
            np.zeros(step.channels_out, np.float16) if coding_named(step.coding).is_integer else None,
            np.zeros(step.channels_out, np.float16) if plan.biases(step) else None,
        )
        for step in plan.weighted
    }


def lower(plan: Plan, weights: Mapping[str, Weights], writer: type[Graph] = Graph) -> Lowered:
    """Write a network as an ONNX file.

    Args:
        plan: The steps.
        weights: By name of the step.
        writer: Of the file; a `Ruler` gives zeros, as many as the file has bytes.

    Returns:
        A file that takes `x` as the data has it and gives `y`, float32, (n_rows, n_outputs): probabilities, or values.

    Raises:
        TypeError: If the plan does not end with a linear step.
    """
    signature = plan.signature
    graph = writer()
    parts = _decoded(graph, plan, weights)
    bodies = _Bodies(plan, parts)
    values = {"x": centred_input(graph, plan, _all_views(graph, plan))}
    *others, last = (step for step in plan.steps if not isinstance(step, Rescaling))
    for step in others:
        if isinstance(step, Convolution):
            values[step.name] = _convolution(graph, plan, step, values[step.source], parts[step.name], bodies)
        elif isinstance(step, Standardisation):
            values[step.name] = standardised(graph, step, values[step.source])
        elif isinstance(step, Pooling):
            operator = "MaxPool" if step.kind == "max" else "AveragePool"
            values[step.name] = graph.node(
                operator, values[step.source], **window_of(plan, 3, step.stride, is_pool=True)
            )
        elif isinstance(step, Addition):
            values[step.name] = graph.node("Sum", *(values[source] for source in step.sources))
        elif isinstance(step, Mean):
            pooled = graph.node("GlobalAveragePool", values[step.source])
            values[step.name] = _of_views(graph, plan, pooled) if plan.views > 1 else graph.node("Flatten", pooled)
    if not isinstance(last, Linear):
        raise TypeError(f"A plan must end with a Linear step, got {type(last).__name__}.")
    answer(graph, linear(graph, values[last.source], parts[last.name], views=plan.views), plan.steps[-1])
    model = graph.model(
        {"x": (signature.dtype, (None, *signature.shape))},
        {"y": ("float32", (None, signature.outputs))},
        metadata_of(plan),
    )
    return Lowered(model, parts)


def metadata_of(plan: Plan) -> dict[str, object]:
    """Name the classes, unless they are called 0, 1, 2, ... as they are where a file names none; or the regression."""
    if plan.signature.task == "regression":
        return {"task": "regression"}
    plain = tuple(str(number) for number in range(plan.signature.outputs))
    return {} if plan.signature.classes == plain else {"classes": list(plan.signature.classes)}


def _all_views(graph: Graph, plan: Plan) -> str:
    """Write the rows of all views, one view after the other."""
    if plan.views == 1:
        return "x"
    back, end = (graph.weights(np.array([value], np.int32)) for value in (-1, BEFORE_ALL))
    return graph.node("Concat", "x", graph.node("Slice", "x", back, end, back, back), axis=0)


def _of_views(graph: Graph, plan: Plan, pooled: str) -> str:
    """Write the sum of the features of all views; `linear` divides it."""
    last = plan.weighted[-1]
    apart = graph.node("Reshape", pooled, graph.integers([plan.views, -1, last.channels_in]))
    return graph.node("ReduceSum", apart, graph.integers([0]), keepdims=0)


def centred_input(graph: Graph, plan: Plan, source: str = "x") -> str:
    """Write what the first layer gets as floats.

    Whole numbers need no normalisation: the first layer's scale takes it; floats are centred and scaled.

    Each column of a table has a scale of its own: a step of the plan.
    """
    if plan.signature.dtype == "uint8":
        return graph.node("Cast", source, to=1)
    if plan.signature.kind == "table":
        return source
    centred = graph.node("Sub", source, graph.constant(plan.signature.center))
    return graph.node("Div", centred, graph.constant(plan.signature.spread))


def standardised(graph: Graph, step: Standardisation, source: str) -> str:
    """Write the scaling of the columns of a table."""
    exponents = graph.node("Cast", graph.weights(np.array(step.exponents, np.int8)), to=1)
    centres = graph.node("Cast", graph.weights(np.array(step.centres, np.float16)), to=1)
    scaled = graph.node("Mul", source, graph.node("Pow", graph.constant(2.0), exponents))
    centred = graph.node("Sub", scaled, centres)
    known = graph.node("Where", graph.node("IsNaN", centred), graph.constant(0.0), centred)
    bounds = (graph.weights(np.array(bound, np.float32)) for bound in (-step.bound, step.bound))
    return graph.node("Clip", known, *bounds)


def shape_of(plan: Plan, step: Weighted) -> tuple[int, ...]:
    """Return the shape of a weight."""
    if isinstance(step, Linear):
        return (step.channels_in, step.channels_out)
    channels_out, channels_in, kernel = step.weight_shape
    return (channels_out, channels_in, *[kernel] * plan.dimensions)


def _decoded(graph: Graph, plan: Plan, weights: Mapping[str, Weights]) -> dict[str, Parts]:
    uses = Counter(_body_key(step) for step in plan.steps if isinstance(step, Convolution))
    turned = _turned(plan, uses)
    names: dict[str, str] = {}
    flat: set[str] = set()
    for coding in map(coding_named, plan.codings):
        owners = [step for step in plan.owners if step.coding == coding.name]
        arrays = {s.name: weights[s.name].codes.T if s.name in turned else weights[s.name].codes for s in owners}
        found, is_flat = decode_all(
            graph,
            coding,
            arrays,
            {s.name: -1 if isinstance(s, Linear) or s.name in turned else 0 for s in owners},
            kept=sum(coding.kept(array.size) for array in arrays.values()),
            reshaping=_cost_of_reshaping([step for step in plan.weighted if step.coding == coding.name], uses),
        )
        names |= found
        flat |= {step.name for step in plan.weighted if step.coding == coding.name and is_flat}
    names |= {s.name: names[s.shared_with] for s in plan.weighted if isinstance(s, Convolution) and s.shared_with}
    scales, biases = _scales_and_biases(graph, plan, weights, turned)
    made = {}
    for step in plan.weighted:
        shape, is_turned = shape_of(plan, step), step.name in turned
        shape_name = graph.integers(shape[::-1] if is_turned else shape) if step.name in flat else None
        parts = names[step.name], shape_name, scales.get(step.name), biases.get(step.name)
        made[step.name] = Parts(*parts, is_turned)
    return made


def _turned(plan: Plan, uses: Mapping[Body, int]) -> set[str]:
    """Return the steps whose weights lie turned round: dense ones, and convolutions where that spares a tensor."""
    convolutions = [step for step in plan.steps if isinstance(step, Convolution)]
    if not plan.dimensions:
        return {step.name for step in convolutions}
    coded = [step for step in convolutions if coding_named(step.coding).is_integer]
    return {step.name for step in coded} if TURN * _bodies(coded, uses) < SCALES_APART else set()


def _cost_of_reshaping(steps: Sequence[Weighted], uses: Mapping[Body, int]) -> int:
    """Return the bytes of reshaping flat weights: a node in each body, and an input of each call."""
    convolutions = [step for step in steps if isinstance(step, Convolution)]
    calls = sum(uses[_body_key(step)] >= SHARED_USES for step in convolutions)
    return RESHAPE * (_bodies(convolutions, uses) + len(steps) - len(convolutions)) + 3 * calls


def _bodies(steps: Sequence[Convolution], uses: Mapping[Body, int]) -> int:
    """Count how often the body of a convolution is written: once for those that share a function."""
    keys = Counter(_body_key(step) for step in steps)
    return sum(count if uses[key] < SHARED_USES else 1 for key, count in keys.items())


def _scales_and_biases(
    graph: Graph, plan: Plan, weights: Mapping[str, Weights], turned: set[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Write scales and biases; scales of weights with output channels first are no flat ones, and lie apart."""
    wide = (-1, *[1] * (1 + plan.dimensions))
    scales = {s.name: scale for s in plan.weighted if (scale := weights[s.name].scale) is not None}
    biases = {s.name: bias for s in plan.weighted if (bias := weights[s.name].bias) is not None}
    is_flat = turned | {plan.weighted[-1].name}
    first = {name: scale.reshape(wide) for name, scale in scales.items() if name not in is_flat}
    flat = {name: scale for name, scale in scales.items() if name in is_flat}
    both = halves(graph, [*flat.values(), *biases.values()])
    made = dict(zip(first, halves(graph, list(first.values())), strict=True))
    return made | dict(zip(flat, both, strict=False)), dict(zip(biases, both[len(flat) :], strict=True))


def halves(graph: Graph, arrays: Sequence[np.ndarray]) -> list[str]:
    """Write arrays as float16 in one tensor, and the cast and the cut that make float32 of each."""
    if not arrays:
        return []
    whole = graph.node("Cast", graph.weights(np.concatenate(arrays).astype(np.float16)), to=1)
    return graph.split(whole, [len(array) for array in arrays])


def _body_key(step: Convolution, parts: Parts | None = None) -> Body:
    """Return what bodies that are alike have in common; with their parts, also whether the weight is flat."""
    groups = step.channels_out if step.is_depthwise else 1
    is_coded = coding_named(step.coding).is_integer
    return (step.kernel, step.stride, groups, step.has_bias, step.is_linear, is_coded, parts and parts.shape is None)


@final
class _Bodies:
    """What the convolutions of a plan have in common, and which bodies are written as functions already."""

    def __init__(self, plan: Plan, parts: Mapping[str, Parts]) -> None:
        convolutions = [step for step in plan.steps if isinstance(step, Convolution)]
        self.keys = {step.name: _body_key(step, parts[step.name]) for step in convolutions}
        self.uses = Counter(self.keys.values())
        self.written: set[Body] = set()


def _convolution(graph: Graph, plan: Plan, step: Convolution, source: str, parts: Parts, bodies: _Bodies) -> str:
    """Write scale, convolution and ReLU: as a call where a function is shorter, else in place."""
    key = bodies.keys[step.name]
    if bodies.uses[key] < SHARED_USES:
        return _body(graph, plan, step, source, parts)
    letters, outside = iter("RST"), (parts.shape, parts.scale, parts.bias)
    given = [parts.weight, *(name for name in outside if name is not None)]
    if key not in bodies.written:
        bodies.written.add(key)
        shape, scale, bias = (None if name is None else next(letters) for name in outside)
        inner, inputs = type(graph)(), ["P", *"QRST"[: len(given)]]
        output = _body(inner, plan, step, "P", Parts("Q", shape, scale, bias, parts.is_turned))
        graph.function(key, inner.nodes, inputs, output)
    return graph.call(key, source, *given)


def _body(graph: Graph, plan: Plan, step: Convolution, source: str, parts: Parts) -> str:
    weight = _weight(graph, parts)
    rest = [] if parts.bias is None else [parts.bias]
    if plan.dimensions:
        attributes = window_of(plan, step.kernel, step.stride, is_pool=False)
        if step.is_depthwise and step.channels_out > 1:
            attributes["group"] = step.channels_out
        weight = graph.node("Transpose", weight) if parts.is_turned else weight  # of all axes
        result = graph.node("Conv", source, weight, *rest, **attributes)
    else:
        result = graph.node("Gemm", source, weight, *rest)
    return graph.node("Relu", result) if step.is_rectified else result


def _weight(graph: Graph, parts: Parts) -> str:
    weight = parts.weight if parts.shape is None else graph.node("Reshape", parts.weight, parts.shape)
    return weight if parts.scale is None else graph.node("Mul", weight, parts.scale)


def window_of(plan: Plan, kernel: int, stride: int, *, is_pool: bool) -> dict[str, Any]:
    """Return the attributes of a convolution, or of a pooling: what is not their default."""
    attributes: dict[str, Any] = {}
    if is_pool:
        attributes["kernel_shape"] = [kernel] * plan.dimensions
    if kernel > 1:
        attributes["pads"] = [kernel // 2] * (2 * plan.dimensions)
    if stride > 1:
        attributes["strides"] = [stride] * plan.dimensions
    return attributes


def linear(graph: Graph, source: str, parts: Parts, *, views: int = 1) -> str:
    """Write the last layer, of features that are sums over so many views."""
    given = [source, _weight(graph, parts), *([parts.bias] if parts.bias else [])]
    return graph.node("Gemm", *given) if views == 1 else graph.node("Gemm", *given, alpha=1 / views)


def answer(graph: Graph, result: str, last: Step) -> None:
    """End with probabilities, or with values in the units of the target."""
    if isinstance(last, Rescaling):
        spread, center = (graph.weights(np.array([value], np.float32)) for value in (last.spread, last.center))
        graph.node("Add", graph.node("Mul", result, spread), center, output="y")
    else:
        graph.node("Softmax", result, output="y")
