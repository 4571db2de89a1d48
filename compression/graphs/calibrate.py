"""What flows into each layer, measured on calibration rows through ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from onnx import ModelProto, ValueInfoProto

from compression.graphs.fold import attribute_of
from compression.graphs.shorten import live_nodes
from compression.graphs.weighted import Layer
from engine.artifact import session

__all__ = ["Moments", "first_rows", "fixed_batch", "inner_values", "moments"]

BATCH_ROWS = 64
BATCH_VECTORS = 4096  # of one layer, taken from a batch of rows
MAX_VECTORS = 16_384  # of one layer in all; a second moment of some hundred inputs needs no more
MAX_INPUTS = 4096  # of one sum: a second moment beyond takes more than 128 MB


@final
@dataclass(frozen=True, eq=False)
class Moments:
    """What a layer's inputs are like: x now, r in the model that is to be matched (x itself, if there is no other).

    All means run over the vectors that a row of the weight meets.

    Args:
        mean: Of x, float64, shape (groups, inputs).
        second: Of x x^T, float64, shape (groups, inputs, inputs).
        wanted_mean: Of r, like `mean`.
        cross: Of r x^T, like `second`.
    """

    mean: np.ndarray
    second: np.ndarray
    wanted_mean: np.ndarray
    cross: np.ndarray


def moments(
    model: ModelProto, layers: Sequence[Layer], rows: Mapping[str, np.ndarray], wanted: ModelProto | None = None
) -> dict[str, Moments]:
    """Measure the inputs of layers.

    Args:
        model: With these layers.
        layers: Those with a `source` are measured.
        rows: Inputs of the model by name.
        wanted: The same graph with other weights, whose inner values are to be matched.

    Returns:
        By name of the weight; without layers that cannot be measured (no source, or more than 4,096 inputs a sum).
    """
    measured = [layer for layer in layers if layer.source is not None and layer.order.shape[2] <= MAX_INPUTS]
    names = {str(layer.source) for layer in measured}
    sums: dict[str, list[np.ndarray]] = {}
    counts: dict[str, int] = {}
    now = inner_values(model, names, rows)
    matched = now if wanted is None else inner_values(wanted, names, rows)
    for values in now:
        others = values if wanted is None else next(matched)
        for layer in measured:
            source, name = str(layer.source), layer.weight
            x = _sampled(layer, values[source])
            r = x if wanted is None else _sampled(layer, others[source])
            turned = np.swapaxes(x, 0, 1)
            crossed = np.moveaxis(r, 0, 2)
            found = [x.sum(axis=0), np.moveaxis(x, 0, 2) @ turned, r.sum(axis=0), crossed @ turned]
            sums[name] = [old + new for old, new in zip(sums.get(name, [0.0] * 4), found, strict=True)]
            counts[name] = counts.get(name, 0) + len(x)
        if min(counts.values(), default=0) >= MAX_VECTORS:
            break
    return {name: Moments(*(total / counts[name] for total in totals)) for name, totals in sums.items()}


def inner_values(model: ModelProto, names: set[str], rows: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """Yield inner values of a model by name, a batch of rows after the other.

    Args:
        model: In which they are made; a fixed batch size is kept to, and rows that do not fill a batch are left out.
        names: Of values between nodes, or of inputs.
        rows: Inputs by name.
    """
    made = ModelProto()
    made.CopyFrom(model)
    inner = sorted(names - set(rows))
    del made.graph.output[:]
    made.graph.output.extend(ValueInfoProto(name=name) for name in inner)
    nodes = live_nodes(made.graph)
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    size = fixed_batch(model) or BATCH_ROWS
    count = len(next(iter(rows.values())))
    opened = session(made.SerializeToString()) if inner else None
    for start in range(0, count, size):
        batch = {name: values[start : start + size] for name, values in rows.items()}
        if fixed_batch(model) and start + size > count:
            return
        found = opened.run(inner, batch) if opened is not None else []
        yield dict(zip(inner, found, strict=True)) | {name: batch[name] for name in names & set(rows)}


def fixed_batch(model: ModelProto) -> int:
    """Return the number of rows that a model takes at a time, 0 if any."""
    given = {tensor.name for tensor in model.graph.initializer}
    entry = next(value for value in model.graph.input if value.name not in given)
    dims = entry.type.tensor_type.shape.dim
    return int(dims[0].dim_value) if dims else 0


def first_rows(model: ModelProto, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return as many rows as the model takes at a time, or a batch of them."""
    size = fixed_batch(model) or BATCH_ROWS
    return {name: values[:size] for name, values in rows.items()}


def _sampled(layer: Layer, values: np.ndarray) -> np.ndarray:
    """Return the vectors that the layer meets, or an even sample of them: float64, (vectors, groups, inputs)."""
    vectors = _vectors(layer, values)
    return vectors[:: max(1, -(-len(vectors) // BATCH_VECTORS))].astype(np.float64)


def _vectors(layer: Layer, values: np.ndarray) -> np.ndarray:
    """Return what the rows of a weight meet: shape (vectors, groups, inputs)."""
    groups, _, inputs = layer.order.shape
    if layer.node.op_type == "Conv":
        return _patches(layer, values).reshape(-1, groups, inputs)
    if layer.node.op_type == "ConvTranspose":
        return np.moveaxis(values, 1, -1).reshape(-1, groups, inputs)
    return values.reshape(-1, 1, inputs)


def _patches(layer: Layer, values: np.ndarray) -> np.ndarray:
    """Cut out what each position of a convolution sees: shape (rows, *positions, channels, *kernel)."""
    kernel = layer.values.shape[2:]
    axes = len(kernel)
    strides = _numbers(layer, "strides", [1] * axes)
    dilations = _numbers(layer, "dilations", [1] * axes)
    before, after = _pads(layer, values.shape[2:], kernel, strides, dilations)
    padded = np.pad(values, [(0, 0), (0, 0), *zip(before, after, strict=True)])
    spans = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=tuple(range(2, 2 + axes)))
    steps = [slice(None), slice(None), *(slice(None, None, step) for step in [*strides, *dilations])]
    return np.moveaxis(windows[tuple(steps)], 1, 1 + axes)


def _pads(
    layer: Layer, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[list[int], list[int]]:
    mode = attribute_of(layer.node, "auto_pad", b"NOTSET")
    if mode in (b"NOTSET", b"VALID"):
        pads = _numbers(layer, "pads", [0] * (2 * len(kernel)))
        return (
            (pads[: len(kernel)], pads[len(kernel) :]) if mode == b"NOTSET" else ([0] * len(kernel), [0] * len(kernel))
        )
    total = [
        max(0, (-(-size // stride) - 1) * stride + (width - 1) * dilation + 1 - size)
        for size, width, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True)
    ]
    small, large = [pad // 2 for pad in total], [pad - pad // 2 for pad in total]
    return (small, large) if mode == b"SAME_UPPER" else (large, small)


def _numbers(layer: Layer, name: str, default: list[int]) -> list[int]:
    return [int(number) for number in attribute_of(layer.node, name, default)]
