"""Which weights must shrink together: every channel followed through a graph, from what writes it to what reads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from compression.graphs.operation import Operation
from compression.modules.importing import ImportedNetwork
from compression.modules.operators import OPERATORS

__all__ = ["Slot", "Trace", "is_depthwise", "traced"]

Role = Literal["writes", "reads", "gain", "follows"]

SAME = {
    "Relu",
    "Sigmoid",
    "Tanh",
    "HardSwish",
    "Mish",
    "Softplus",
    "Softsign",
    "Erf",
    "Sqrt",
    "Exp",
    "Log",
    "Abs",
    "Neg",
    "Reciprocal",
    "Identity",
    "Dropout",
    "LeakyRelu",
    "Elu",
    "Selu",
    "HardSigmoid",
    "Gelu",
    "Clip",
    "Cast",
}
TOGETHER = {"Add", "Sub", "Mul", "Div", "Sum", "Max", "Min", "Pow", "PRelu"}
SPATIAL = {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Resize", "Pad"}
REDUCING = {"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"}
MOVING = {"Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Split", "Slice", "Concat"}
CUTTING = {"Split", "Slice"}  # their sizes are constants


@final
@dataclass(frozen=True, eq=False)
class Slot:
    """One axis of a tensor whose places belong to channels.

    Args:
        tensor: Name of the constant.
        axis: Of the tensor.
        channels: Channel of each place, int64, shape (tensor.shape[axis],).
        role: `writes` for the output axis of a layer, `reads` for its input axis, `gain` for the scale of a
            normalisation, `follows` for anything else that goes along.
    """

    tensor: str
    axis: int
    channels: Tensor
    role: Role


@final
@dataclass(frozen=True, eq=False)
class Trace:
    """What following the channels found.

    Args:
        slots: Axes that shrink with channels.
        values: For each value between operations the channel of each element, int64, shape of one row's value.
        fixed: Channels that cannot be removed.
    """

    slots: tuple[Slot, ...]
    values: dict[str, Tensor]
    fixed: frozenset[int]


def is_depthwise(operation: Operation, weight: Tensor) -> bool:
    """Say whether a convolution has one group a channel."""
    group = int(operation.attributes.get("group", 1))
    return group > 1 and group == (weight.shape[0] if operation.operator == "ConvTranspose" else _inputs(group, weight))


def traced(network: ImportedNetwork) -> Trace:
    """Follow every channel of a network from the layer that writes it.

    Channels that meet in an addition are one. What cannot shrink (inputs, outputs, channels that a reshape mixes,
    grouped convolutions) is fixed.
    """
    tracer = _Tracer(network)
    for operation in network.operations:
        tracer.follow(operation)
    return tracer.result()


def _inputs(group: int, weight: Tensor) -> int:
    return group * weight.shape[1] if weight.shape[1] == 1 else -1


class _Tracer:
    """Channel numbers of every value, joined as they meet."""

    def __init__(self, network: ImportedNetwork) -> None:
        self.network = network
        self.constants = network.tensors()
        with torch.no_grad():
            self.shapes = {name: value.shape for name, value in network.values(network.sample(1)).items()}
        self.parents: list[int] = []
        self.fixed: set[int] = set()
        self.slots: list[Slot] = []
        self.values: dict[str, Tensor] = {}
        self._fixed_value(network.port.name)
        self.layers: dict[str, Callable[[Operation], None]] = {
            "Conv": self._convolution,
            "ConvTranspose": self._transposed,
            "Gemm": self._product,
            "MatMul": self._product,
            "BatchNormalization": self._normalization,
            "InstanceNormalization": self._normalization,
            "LayerNormalization": self._layer_normalization,
            "Softmax": self._softmax,
            "LogSoftmax": self._softmax,
        }

    def result(self) -> Trace:
        for output in self.network.outputs:
            self._fix(self.values[output.name])
        places: dict[tuple[str, int], Tensor] = {}
        for slot in self.slots:  # a tensor that several operations use shrinks in one way
            self._join(places.setdefault((slot.tensor, slot.axis), slot.channels), slot.channels)
        roots = torch.tensor([self._root(number) for number in range(len(self.parents))], dtype=torch.int64)
        slots = tuple(Slot(slot.tensor, slot.axis, roots[slot.channels], slot.role) for slot in self.slots)
        values = {name: roots[numbers] for name, numbers in self.values.items()}
        return Trace(slots, values, frozenset(int(roots[number]) for number in self.fixed))

    def follow(self, operation: Operation) -> None:
        """Give the outputs of an operation their channels."""
        name = operation.operator
        if name in self.layers:
            self.layers[name](operation)
        elif name in SAME and operation.inputs[0] in self.values:
            self.values[operation.outputs[0]] = self.values[operation.inputs[0]]
        elif name in TOGETHER:
            self._together(operation)
        elif name in SPATIAL or name in REDUCING:
            self._pooled(operation)
        elif name in MOVING:
            self._moved(operation)
        else:
            self._unknown(operation)

    # Numbers

    def _fresh(self, count: int) -> Tensor:
        first = len(self.parents)
        self.parents.extend(range(first, first + count))
        return torch.arange(first, first + count)

    def _root(self, number: int) -> int:
        while self.parents[number] != number:
            self.parents[number] = self.parents[self.parents[number]]
            number = self.parents[number]
        return number

    def _join(self, left: Tensor, right: Tensor) -> None:
        for a, b in torch.stack([left.flatten(), right.flatten()], 1).tolist():
            first, second = self._root(a), self._root(b)
            self.parents[max(first, second)] = min(first, second)

    def _fix(self, numbers: Tensor) -> None:
        self.fixed.update(numbers.flatten().tolist())

    def _fixed_value(self, name: str) -> None:
        channel = self._fresh(1)
        self._fix(channel)
        self.values[name] = channel.reshape([1] * len(self.shapes[name])).expand(self.shapes[name])

    def _unknown(self, operation: Operation) -> None:
        for name in operation.inputs:
            if name in self.values:
                self._fix(self.values[name])
        for name in operation.outputs:
            if name in self.shapes:
                self._fixed_value(name)

    # Axes

    def _along(self, numbers: Tensor, axis: int) -> Tensor | None:
        """Return the channel of each place of an axis, or None where places hold several."""
        lines = numbers.movedim(axis, 0).reshape(numbers.shape[axis], -1)
        first = lines[:, 0]
        return first if bool((lines == first[:, None]).all()) else None

    def _varying(self, numbers: Tensor) -> list[int]:
        return [axis for axis in range(numbers.dim()) if not bool((numbers == numbers.narrow(axis, 0, 1)).all())]

    def _on(self, channels: Tensor, axis: int, shape: Sequence[int]) -> Tensor:
        view = [1] * len(shape)
        view[axis] = -1
        return channels.reshape(view).expand(list(shape))

    def _read(self, name: str, axis: int) -> Tensor | None:
        """Return the channels along an axis of a value; where that is impossible, they are fixed."""
        if name not in self.values:
            return None
        channels = self._along(self.values[name], axis)
        if channels is None:
            self._fix(self.values[name])
        return channels

    def _slot(self, name: str, axis: int, channels: Tensor, role: Role) -> None:
        self.slots.append(Slot(name, axis, channels, role))

    # Operations

    def _convolution(self, operation: Operation) -> None:
        source, weight, *rest = operation.inputs
        channels = self._read(source, 1)
        if weight not in self.constants or channels is None or any(n and n not in self.constants for n in rest):
            return self._unknown(operation)
        shape, group = self.constants[weight].shape, int(operation.attributes.get("group", 1))
        if group == 1:
            self._slot(weight, 1, channels, "reads")
            out = self._fresh(shape[0])
        elif is_depthwise(operation, self.constants[weight]):
            out = channels.repeat_interleave(shape[0] // group)
        else:
            return self._unknown(operation)
        self._write(operation, weight, 0, rest, out)
        return None

    def _transposed(self, operation: Operation) -> None:
        source, weight, *rest = operation.inputs
        channels = self._read(source, 1)
        if weight not in self.constants or channels is None:
            return self._unknown(operation)
        shape, group = self.constants[weight].shape, int(operation.attributes.get("group", 1))
        if group == 1:
            self._slot(weight, 0, channels, "reads")
            out = self._fresh(shape[1])
            self._write(operation, weight, 1, rest, out)
        elif is_depthwise(operation, self.constants[weight]) and shape[1] == 1:
            self._write(operation, weight, 0, rest, channels)
        else:
            self._unknown(operation)
        return None

    def _write(self, operation: Operation, weight: str, axis: int, biases: Sequence[str], out: Tensor) -> None:
        is_own = not is_depthwise(operation, self.constants[weight])  # a depthwise layer passes channels on
        self._slot(weight, axis, out, "writes" if is_own else "follows")
        for name in biases:
            if name:
                self._slot(name, 0, out, "follows")
        self.values[operation.outputs[0]] = self._on(out, 1, self.shapes[operation.outputs[0]])

    def _product(self, operation: Operation) -> None:
        source, weight, *rest = operation.inputs
        a = operation.attributes
        is_plain = weight in self.constants and self.constants[weight].dim() == 2 and not a.get("transA", 0)
        is_plain = is_plain and all(name in self.constants for name in rest if name)
        channels = self._read(source, -1) if is_plain else None
        if channels is None:
            return self._unknown(operation)
        axis_in, axis_out = (1, 0) if a.get("transB", 0) else (0, 1)
        out = self._fresh(self.constants[weight].shape[axis_out])
        self._slot(weight, axis_in, channels, "reads")
        self._slot(weight, axis_out, out, "writes")
        for name in rest:
            if name and self.constants[name].dim() and self.constants[name].shape[-1] == len(out):
                self._slot(name, self.constants[name].dim() - 1, out, "follows")
        name = operation.outputs[0]
        self.values[name] = self._on(out, len(self.shapes[name]) - 1, self.shapes[name])
        return None

    def _normalization(self, operation: Operation) -> None:
        source, scale, *rest = operation.inputs
        channels = self._read(source, 1)
        if channels is None:
            return self._unknown(operation)
        self._slot(scale, 0, channels, "gain")
        for name in rest:
            self._slot(name, 0, channels, "follows")
        self.values[operation.outputs[0]] = self.values[source]
        return None

    def _layer_normalization(self, operation: Operation) -> None:
        source, *rest = operation.inputs
        rank = len(self.shapes[source]) if source in self.shapes else 0
        channels = self._read(source, -1)
        if channels is None or operation.attributes.get("axis", -1) % rank != rank - 1:
            return self._unknown(operation)
        for place, name in enumerate(rest):
            if name and self.constants[name].numel() == len(channels):
                self._slot(name, self.constants[name].dim() - 1, channels, "follows" if place else "gain")
        self.values[operation.outputs[0]] = self.values[source]
        return None

    def _softmax(self, operation: Operation) -> None:
        numbers = self.values.get(operation.inputs[0])
        if numbers is None or operation.attributes.get("axis", -1) % numbers.dim() in self._varying(numbers):
            return self._unknown(operation)
        self.values[operation.outputs[0]] = numbers
        return None

    def _together(self, operation: Operation) -> None:
        shape = self.shapes[operation.outputs[0]]
        whole = [n for n in operation.inputs if n in self.values and self.values[n].shape == shape]
        if not whole:
            return self._unknown(operation)
        numbers = self.values[whole[0]]
        varying = self._varying(numbers)
        for name in operation.inputs:
            if name in self.values:
                other = self.values[name]
                padded = other.reshape([1] * (len(shape) - other.dim()) + list(other.shape))
                if all(padded.shape[axis] == shape[axis] for axis in varying):
                    self._join(numbers, padded.expand(shape))
                else:
                    self._fix(other)
            elif name:
                self._constant_beside(name, numbers, varying)
        self.values[operation.outputs[0]] = numbers
        return None

    def _constant_beside(self, name: str, numbers: Tensor, varying: Sequence[int]) -> None:
        """A constant in an elementwise operation shrinks along the axis of the channels, where it has that axis."""
        constant = self.constants[name]
        for axis in varying:
            own = axis - (numbers.dim() - constant.dim())
            if own < 0 or constant.shape[own] == 1:
                continue
            channels = self._along(numbers, axis)
            if channels is None:
                self._fix(numbers)
            else:
                self._slot(name, own, channels, "follows")

    def _pooled(self, operation: Operation) -> None:
        """Positions come and go; the channels stay, if only their own axis tells them apart."""
        numbers, name = self.values.get(operation.inputs[0]), operation.outputs[0]
        varying = [] if numbers is None else self._varying(numbers)
        if numbers is None or len(varying) > 1:
            return self._unknown(operation)
        if operation.operator in REDUCING:
            inputs = [numbers.double(), *(self.constants.get(n) for n in operation.inputs[1:])]
            axes = inputs[1].tolist() if len(inputs) > 1 and inputs[1] is not None else operation.attributes.get("axes")
            if axes is None or any(axis % numbers.dim() in varying for axis in axes):
                return self._unknown(operation)
            self.values[name] = torch.amax(numbers, tuple(axes), keepdim=bool(operation.attributes.get("keepdims", 1)))
            return None
        axis = varying[0] if varying else 1
        if len(self.shapes[name]) != numbers.dim() or self.shapes[name][axis] != numbers.shape[axis]:
            return self._unknown(operation)
        channels = self._along(numbers, axis)
        assert channels is not None
        self.values[name] = self._on(channels, axis, self.shapes[name])
        return None

    def _moved(self, operation: Operation) -> None:
        """Elements change places: so do their channel numbers."""
        inputs: list[Tensor | None] = []
        for place, name in enumerate(operation.inputs):
            if name in self.values:
                inputs.append(self.values[name])
            elif operation.operator == "Concat" and name:
                constant = self._fresh(1)
                self._fix(constant)
                inputs.append(constant.expand(self.constants[name].shape))
            elif place == 0:
                return self._unknown(operation)
            else:
                inputs.append(self.constants.get(name))
        result = OPERATORS[operation.operator](inputs, {**operation.attributes, "outputs": len(operation.outputs)})
        results = result if isinstance(result, tuple) else (result,)
        for name, numbers in zip(operation.outputs, results, strict=True):
            self.values[name] = numbers
            first = inputs[0]
            is_cut = operation.operator in CUTTING and first is not None and self._is_cut(first, numbers)
            if len(self._varying(numbers)) > 1 or is_cut:
                self._fix(numbers)
                if first is not None:
                    self._fix(first)
        return None

    def _is_cut(self, source: Tensor, numbers: Tensor) -> bool:
        return any(source.shape[axis] != numbers.shape[axis] for axis in self._varying(source))
