"""Lowering a plan to a file that computes with integers: QLinearConv on bytes, weights decoded to int8 at load.

Scales and biases of all convolutions lie in the file as float16, as in a file of floats; no other scale does (see
`compression.nets.activations`). A QLinearConv takes in scale, bias, ReLU and rounding, so that such a file has fewer
nodes than one of floats wherever nothing is added up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import numpy as np

from compression.codings import RESHAPE, coding_named, decode, decode_all
from compression.graph import Graph
from compression.nets.activations import INPUT_STEP, MEAN_STEP, levels_of
from compression.nets.layers import (
    Lowered,
    Parts,
    Weights,
    answer,
    centred_input,
    halves,
    linear,
    metadata_of,
    shape_of,
    standardised,
    window_of,
)
from compression.nets.plan import (
    CODES,
    Addition,
    Convolution,
    Linear,
    Mean,
    Plan,
    Pooling,
    Quantisation,
    Rescaling,
    Standardisation,
    Step,
)

FLOAT, INT32 = 1, 6
FUNCTION = 50  # bytes of a local function beside its nodes
NODE, ATTRIBUTE = 7, 19  # that a call is shorter than a QLinearConv without attributes, and for each of them

__all__ = ["lower_integer"]


def lower_integer(plan: Plan, weights: Mapping[str, Weights]) -> Lowered:
    """Write a network as an ONNX file whose convolutions multiply bytes.

    Args:
        plan: Executed with integers (`compression.nets.activations.in_integers`).
        weights: By name of the step.

    Returns:
        A file as `compression.nets.layers.lower` writes it: same input, same output.

    Raises:
        TypeError: If the plan does not end with a linear step.
    """
    graph, signature = Graph(), plan.signature
    writer = _Writer(graph, plan, _decoded(graph, plan, weights))
    values = {"x": "x" if writer.takes_bytes else centred_input(graph, plan)}
    *others, last = (step for step in plan.steps if not isinstance(step, Rescaling))
    for step in others:
        values[step.name] = writer.write(step, values)
    if not isinstance(last, Linear):
        raise TypeError(f"A plan must end with a Linear step, got {type(last).__name__}.")
    features = values[last.source]
    if last.source in writer.levels:
        features = graph.node("Flatten", writer.floats(features, last.source))
    answer(graph, linear(graph, features, writer.parts[last.name]), plan.steps[-1])
    model = graph.model(
        {"x": (signature.dtype, (None, *signature.shape))},
        {"y": ("float32", (None, signature.outputs))},
        metadata_of(plan),
    )
    return Lowered(model, writer.parts)


@final
class _Writer:
    """Steps on their way to nodes.

    Scales and zeros that the structure gives are written once, and only if they are used; nodes that come up often lie
    in local functions.
    """

    def __init__(self, graph: Graph, plan: Plan, parts: Mapping[str, Parts]) -> None:
        self.graph, self.plan, self.parts = graph, plan, parts
        self.levels = levels_of(plan)
        self.takes_bytes = plan.signature.dtype == "uint8"
        self._names: dict[tuple[str, float], str] = {}
        self._uses = Counter(key for step in plan.steps for key in self._keys(step))

    def write(self, step: Step, values: Mapping[str, str]) -> str:
        """Write a step before the last layer; return the name of its value."""
        if isinstance(step, Addition):
            total, zero = values[step.sources[0]], self.levels[step.sources[0]].zero
            for source in step.sources[1:]:
                total = self._added((total, values[source]), (zero, self.levels[source].zero))
                zero = max(zero, self.levels[source].zero)
            return total
        source = values[step.source]
        if isinstance(step, Standardisation):
            return standardised(self.graph, step, source)
        if isinstance(step, Quantisation):
            return source if self.takes_bytes else self._quantised(source)
        if isinstance(step, Convolution):
            return self._convolution(step, source)
        if isinstance(step, Pooling):
            return self._pooled(step, source)
        if isinstance(step, Mean):
            return self.graph.node("Flatten", self.graph.node("GlobalAveragePool", self.floats(source, step.source)))
        raise TypeError(f"No {type(step).__name__} can come before the last layer.")

    def floats(self, codes: str, name: str) -> str:
        """Write the codes of a value, counted from their zero, as floats."""
        zero = self.levels[name].zero
        if zero:
            return self.graph.node("DequantizeLinear", codes, self._scale(1.0), self._zero(zero))
        return self.graph.node("Cast", codes, to=FLOAT)

    def _quantised(self, source: str) -> str:
        """Write the codes of a float input; rows of a table get one position, which QLinearConv wants."""
        zero = self._zero(self.levels[CODES].zero)
        codes = self.graph.node("QuantizeLinear", source, self._scale(INPUT_STEP), zero)
        return codes if self.plan.dimensions else self.graph.node("Unsqueeze", codes, self.graph.integers([2]))

    def _convolution(self, step: Convolution, source: str) -> str:
        parts = self.parts[step.name]
        before, after = self.levels[step.source].zero, self.levels[step.name].zero
        assert parts.scale is not None
        given = [
            *(source, self._scale(INPUT_STEP), self._zero(before)),
            *(parts.weight, parts.scale, self._named(np.array(0, np.int8))),
            *(self._scale(1.0), self._zero(after)),
            *([] if parts.bias is None else [parts.bias]),
        ]
        attributes = self._attributes(step)

        def body(graph: Graph, names: Sequence[str], shape: str | None) -> str:
            weight = names[3] if shape is None else graph.node("Reshape", names[3], shape)
            return graph.node("QLinearConv", *names[:3], weight, *names[4:], **attributes)

        (key,) = self._keys(step)
        saved = NODE + ATTRIBUTE * len(attributes) + (0 if parts.shape is None else RESHAPE)
        if self._uses[key] * saved <= FUNCTION + saved + 3 * len(given):
            return body(self.graph, given, parts.shape)
        inputs, inner = list("PQRSTUVWX"[: len(given)]), Graph()
        output = body(inner, inputs, None if parts.shape is None else "Y")
        rest = [] if parts.shape is None else [parts.shape]
        self.graph.function(key, inner.nodes, [*inputs, *("Y" for _ in rest)], output)
        return self.graph.call(key, *given, *rest)

    def _attributes(self, step: Convolution) -> dict[str, Any]:
        if not self.plan.dimensions:
            return {}
        found = window_of(self.plan, step.kernel, step.stride, is_pool=False)
        return {**found, "group": step.channels_out} if step.is_depthwise and step.channels_out > 1 else found

    def _pooled(self, step: Pooling, source: str) -> str:
        window = window_of(self.plan, 3, step.stride, is_pool=True)
        if step.kind == "max":
            return self.graph.node("MaxPool", source, **window)
        zero = self.levels[step.name].zero
        given = [source, self._scale(1.0), self._scale(MEAN_STEP), *([self._zero(zero)] if zero else [])]

        def body(graph: Graph, names: Sequence[str]) -> str:
            floats = graph.node("DequantizeLinear", names[0], names[1], *names[3:])
            return graph.node("QuantizeLinear", graph.node("AveragePool", floats, **window), *names[2:])

        return self._shared(self._keys(step)[0], given, body)

    def _added(self, values: tuple[str, str], zeros: tuple[int, int]) -> str:
        """Write the sum of two values, in the form that ONNX Runtime executes on bytes."""
        given = [*values, self._scale(1.0), *([self._zero(max(zeros))] if any(zeros) else [])]

        def body(graph: Graph, names: Sequence[str]) -> str:
            floats = [
                graph.node("DequantizeLinear", name, *(names[2:] if zero else names[2:3]))
                for name, zero in zip(names[:2], zeros, strict=True)
            ]
            return graph.node("QuantizeLinear", graph.node("Add", *floats), *names[2:])

        return self._shared(("sum", *zeros), given, body)

    def _shared(
        self, key: tuple[object, ...], given: Sequence[str], body: Callable[[Graph, Sequence[str]], str]
    ) -> str:
        """Write several nodes: in place, or as a call where they come up again."""
        if self._uses[key] == 1:
            return body(self.graph, given)
        inputs, inner = list("PQRS"[: len(given)]), Graph()
        output = body(inner, inputs)
        self.graph.function(key, inner.nodes, inputs, output)
        return self.graph.call(key, *given)

    def _keys(self, step: Step) -> list[tuple[object, ...]]:
        """Return what the nodes of a step have in common with others, for each place where they are written."""
        if isinstance(step, Addition):
            found, zero = [], self.levels[step.sources[0]].zero
            for source in step.sources[1:]:
                found.append(("sum", zero, self.levels[source].zero))
                zero = max(zero, self.levels[source].zero)
            return list(found)
        if isinstance(step, Pooling) and step.kind == "average":
            return [("mean", step.stride, self.levels[step.name].zero)]
        if not isinstance(step, Convolution):
            return []
        zeros, parts = (self.levels[step.source].zero, self.levels[step.name].zero), self.parts[step.name]
        groups = step.channels_out if step.is_depthwise else 1
        return [("conv", step.kernel, step.stride, groups, *zeros, parts.bias is None, parts.shape is None)]

    def _scale(self, value: float) -> str:
        return self._named(np.array(value, np.float32))

    def _zero(self, value: int) -> str:
        return self._named(np.array(value, np.uint8))

    def _named(self, value: np.ndarray) -> str:
        key = (str(value.dtype), float(value))
        if key not in self._names:
            self._names[key] = self.graph.weights(value)
        return self._names[key]


def _decoded(graph: Graph, plan: Plan, weights: Mapping[str, Weights]) -> dict[str, Parts]:
    """Write weights, scales and biases."""
    convolutions = [step for step in plan.weighted if isinstance(step, Convolution)]
    owners = [step for step in convolutions if not step.shared_with]
    names: dict[str, str] = {}
    flat: set[str] = set()
    for coding in map(coding_named, dict.fromkeys(step.coding for step in owners)):
        arrays = {s.name: weights[s.name].codes for s in owners if s.coding == coding.name}
        if not plan.dimensions:
            arrays = {name: array[..., None] for name, array in arrays.items()}
        found, is_flat = decode_all(
            graph,
            coding,
            arrays,
            dict.fromkeys(arrays, 0),
            kept=sum(coding.kept(array.size) for array in arrays.values()),
            reshaping=RESHAPE * sum(step.coding == coding.name for step in convolutions),
            is_whole=True,
        )
        names |= found
        flat |= {step.name for step in convolutions if step.coding == coding.name and is_flat}
    names |= {step.name: names[step.shared_with] for step in convolutions if step.shared_with}
    last = plan.weighted[-1]
    values = weights[last.name]
    coding = coding_named(last.coding)
    is_last_flat = not coding.is_cast
    codes = values.codes.reshape(-1) if is_last_flat else values.codes
    decoded, length = decode(graph, coding, codes, coding.kept(codes.size))
    if is_last_flat and length > codes.size:
        decoded = graph.split(decoded, [codes.size, length - codes.size])[0]
    names[last.name] = decoded
    flat |= {last.name} if is_last_flat else set()
    scales, biases = _scales_and_biases(graph, plan, weights)
    made = {}
    for step in plan.weighted:
        shape = shape_of(plan, step) if plan.dimensions or isinstance(step, Linear) else (*shape_of(plan, step), 1)
        shape_name = graph.integers(shape) if step.name in flat else None
        made[step.name] = Parts(names[step.name], shape_name, scales.get(step.name), biases.get(step.name), False)
    return made


def _scales_and_biases(
    graph: Graph, plan: Plan, weights: Mapping[str, Weights]
) -> tuple[dict[str, str], dict[str, str]]:
    """Write scales, and biases as whole numbers of the sums that they are added to: divided by the scales."""
    *convolutions, last = plan.weighted
    both = [step for step in convolutions if weights[step.name].bias is not None]
    alone = [step for step in (*convolutions, last) if step not in both and weights[step.name].scale is not None]
    arrays = [np.concatenate([_known(weights[step.name].scale) for step in both])] if both else []
    arrays += [np.concatenate([_known(weights[step.name].bias) for step in both])] if both else []
    arrays += [_known(weights[step.name].scale) for step in alone]
    arrays += [_known(weights[last.name].bias)] if weights[last.name].bias is not None else []
    found = halves(graph, arrays)
    sizes = [step.channels_out for step in both]
    scales: dict[str, str] = {}
    biases: dict[str, str] = {}
    if both:
        wide, shifts = found[:2]
        whole = graph.node("Cast", graph.node("Round", graph.node("Div", shifts, wide)), to=INT32)
        scales |= dict(zip([step.name for step in both], graph.split(wide, sizes), strict=True))
        biases |= dict(zip([step.name for step in both], graph.split(whole, sizes), strict=True))
        found = found[2:]
    scales |= dict(zip([step.name for step in alone], found, strict=False))
    if len(found) > len(alone):
        biases[last.name] = found[-1]
    return scales, biases


def _known(array: np.ndarray | None) -> np.ndarray:
    assert array is not None
    return array
