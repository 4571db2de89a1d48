"""Lowering a plan with its weights to an ONNX file of standard operators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from compression.codings import coding_named, decode
from compression.graph import Graph
from compression.plan import (
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

SHARED_USES = 3  # layers alike from which a local function is shorter than writing each in place

__all__ = ["Lowered", "Parts", "Weights", "empty_weights", "lower"]


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
    """Names of a step's decoded tensors in the graph: flat weight (scale apart), shape, scale, bias."""

    weight: str
    shape: str
    scale: str | None
    bias: str | None


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
            np.zeros(_shape(plan, step), np.int8),
            np.zeros(step.channels_out, np.float16) if coding_named(step.coding).is_integer else None,
            np.zeros(step.channels_out, np.float16) if plan.biases(step) else None,
        )
        for step in plan.weighted
    }


def lower(plan: Plan, weights: Mapping[str, Weights]) -> Lowered:
    """Write a network as an ONNX file.

    Args:
        plan: The steps.
        weights: By name of the step.

    Returns:
        A file that takes `x` as the data has it and gives `y`, float32, (n_rows, n_outputs): probabilities, or values.

    Raises:
        TypeError: If the plan does not end with a linear step.
    """
    signature = plan.signature
    graph = Graph()
    parts = _decoded(graph, plan, weights)
    uses = Counter(_body_key(step) for step in plan.steps if isinstance(step, Convolution))
    values = {"x": _input(graph, plan)}
    *others, last = (step for step in plan.steps if not isinstance(step, Rescaling))
    for step in others:
        if isinstance(step, Convolution):
            values[step.name] = _convolution(graph, plan, step, values[step.source], parts[step.name], uses)
        elif isinstance(step, Standardisation):
            values[step.name] = _standardised(graph, step, values[step.source])
        elif isinstance(step, Pooling):
            operator = "MaxPool" if step.kind == "max" else "AveragePool"
            values[step.name] = graph.node(operator, values[step.source], **_window(plan, 3, step.stride, is_pool=True))
        elif isinstance(step, Addition):
            values[step.name] = graph.node("Sum", *(values[source] for source in step.sources))
        elif isinstance(step, Mean):
            values[step.name] = graph.node("Flatten", graph.node("GlobalAveragePool", values[step.source]))
    if not isinstance(last, Linear):
        raise TypeError(f"A plan must end with a Linear step, got {type(last).__name__}.")
    _answer(graph, _linear(graph, values[last.source], parts[last.name]), plan.steps[-1])
    model = graph.model(
        {"x": (signature.dtype, (None, *signature.shape))},
        {"y": ("float32", (None, signature.outputs))},
        _metadata(plan),
    )
    return Lowered(model, parts)


def _metadata(plan: Plan) -> dict[str, object]:
    """Name the classes, unless they are called 0, 1, 2, ... as they are where a file names none; or the regression."""
    if plan.signature.task == "regression":
        return {"task": "regression"}
    plain = tuple(str(number) for number in range(plan.signature.outputs))
    return {} if plan.signature.classes == plain else {"classes": list(plan.signature.classes)}


def _input(graph: Graph, plan: Plan) -> str:
    """Whole numbers need no normalisation: the first layer's scale takes it; floats are centred and scaled.

    Each column of a table has a scale of its own: a step of the plan.
    """
    if plan.signature.dtype == "uint8":
        return graph.node("Cast", "x", to=1)
    if plan.signature.kind == "table":
        return "x"
    centred = graph.node("Sub", "x", graph.constant(plan.signature.center))
    return graph.node("Div", centred, graph.constant(plan.signature.spread))


def _standardised(graph: Graph, step: Standardisation, source: str) -> str:
    exponents = graph.node("Cast", graph.weights(np.array(step.exponents, np.int8)), to=1)
    centres = graph.node("Cast", graph.weights(np.array(step.centres, np.float16)), to=1)
    scaled = graph.node("Mul", source, graph.node("Pow", graph.constant(2.0), exponents))
    centred = graph.node("Sub", scaled, centres)
    known = graph.node("Where", graph.node("IsNaN", centred), graph.constant(0.0), centred)
    bounds = (graph.weights(np.array(bound, np.float32)) for bound in (-step.bound, step.bound))
    return graph.node("Clip", known, *bounds)


def _shape(plan: Plan, step: Weighted) -> tuple[int, ...]:
    if isinstance(step, Linear):
        return (step.channels_in, step.channels_out)
    channels_out, channels_in, kernel = step.weight_shape
    return (channels_out, channels_in, *[kernel] * plan.dimensions)


def _decoded(graph: Graph, plan: Plan, weights: Mapping[str, Weights]) -> dict[str, Parts]:
    flat: dict[str, str] = {}
    for name in plan.codings:
        steps = [step for step in plan.owners if step.coding == name]
        codes = [weights[step.name].codes.reshape(-1) for step in steps]
        coding = coding_named(name)
        kept = sum(coding.kept(len(part)) for part in codes)
        decoded, length = decode(graph, coding, np.concatenate(codes), kept)
        sizes = [len(part) for part in codes]
        rest = length - sum(sizes)
        flat |= dict(
            zip((s.name for s in steps), graph.split(decoded, [*sizes, rest] if rest else sizes), strict=False)
        )
    flat |= {s.name: flat[s.shared_with] for s in plan.weighted if isinstance(s, Convolution) and s.shared_with}
    scales = {step.name: weights[step.name].scale for step in plan.weighted}
    biases = {step.name: weights[step.name].bias for step in plan.weighted}
    wide = (-1, *[1] * (1 + plan.dimensions))
    last = plan.weighted[-1].name
    scale_parts = _halves(graph, {n: s.reshape(wide) for n, s in scales.items() if s is not None and n != last})
    bias_parts = _halves(graph, {n: b for n, b in biases.items() if b is not None} | _last_scale(scales, last))
    if scales[last] is not None:
        scale_parts[last] = bias_parts.pop(f"{last} scale")
    return {
        step.name: Parts(
            flat[step.name], _shape_name(graph, plan, step), scale_parts.get(step.name), bias_parts.get(step.name)
        )
        for step in plan.weighted
    }


def _last_scale(scales: Mapping[str, np.ndarray | None], last: str) -> dict[str, np.ndarray]:
    """The last layer's scale is flat, as the biases are, so it lies among them."""
    scale = scales[last]
    return {} if scale is None else {f"{last} scale": scale}


def _shape_name(graph: Graph, plan: Plan, step: Weighted) -> str:
    return graph.integers(_shape(plan, step))


def _halves(graph: Graph, arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    if not arrays:
        return {}
    whole = graph.node("Cast", graph.weights(np.concatenate(list(arrays.values())).astype(np.float16)), to=1)
    return dict(zip(arrays, graph.split(whole, [len(array) for array in arrays.values()]), strict=True))


def _body_key(step: Convolution) -> tuple[object, ...]:
    groups = step.channels_out if step.is_depthwise else 1
    is_coded = coding_named(step.coding).is_integer
    return (step.kernel, step.stride, groups, step.has_bias, step.is_linear, is_coded)


def _convolution(
    graph: Graph, plan: Plan, step: Convolution, source: str, parts: Parts, uses: Mapping[tuple[object, ...], int]
) -> str:
    """Write reshape, scale, convolution and ReLU: as a call where a function is shorter, else in place."""
    key = _body_key(step)
    given = [source, parts.weight, parts.shape, *(name for name in (parts.scale, parts.bias) if name is not None)]
    if uses[key] < SHARED_USES:
        return _body(graph, plan, step, given)
    inner = Graph()
    inputs = "PQRST"[: len(given)]
    output = _body(inner, plan, step, list(inputs))
    graph.function(key, inner.nodes, list(inputs), output)
    return graph.call(key, *given)


def _body(graph: Graph, plan: Plan, step: Convolution, given: Sequence[str]) -> str:
    source, flat, shape, *rest = given
    weight = graph.node("Reshape", flat, shape)
    if coding_named(step.coding).is_integer:
        weight = graph.node("Mul", weight, rest.pop(0))
    if plan.dimensions:
        attributes = _window(plan, step.kernel, step.stride, is_pool=False)
        if step.is_depthwise and step.channels_out > 1:
            attributes["group"] = step.channels_out
        result = graph.node("Conv", source, weight, *rest, **attributes)
    else:
        result = graph.node("Gemm", source, weight, *rest, transB=1)
    return graph.node("Relu", result) if step.is_rectified else result


def _window(plan: Plan, kernel: int, stride: int, *, is_pool: bool) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    if is_pool:
        attributes["kernel_shape"] = [kernel] * plan.dimensions
    if kernel > 1:
        attributes["pads"] = [kernel // 2] * (2 * plan.dimensions)
    if stride > 1:
        attributes["strides"] = [stride] * plan.dimensions
    return attributes


def _linear(graph: Graph, source: str, parts: Parts) -> str:
    weight = graph.node("Reshape", parts.weight, parts.shape)
    if parts.scale is not None:
        weight = graph.node("Mul", weight, parts.scale)
    return graph.node("Gemm", source, weight, *([parts.bias] if parts.bias else []))


def _answer(graph: Graph, result: str, last: Step) -> None:
    """End with probabilities, or with values in the units of the target."""
    if isinstance(last, Rescaling):
        spread, center = (graph.weights(np.array([value], np.float32)) for value in (last.spread, last.center))
        graph.node("Add", graph.node("Mul", result, spread), center, output="y")
    else:
        graph.node("Softmax", result, output="y")
