"""What the operators of common small networks do, in torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor

from compression.modules.windows import Attributes, convolution, max_pool, mean_pool, text, transposed_convolution

__all__ = ["OPERATORS", "batch_normalization"]

Inputs = Sequence[Tensor | None]
Result = Tensor | tuple[Tensor, ...]

TORCH_TYPES = {
    1: torch.float32, 2: torch.uint8, 3: torch.int8, 6: torch.int32, 7: torch.int64, 9: torch.bool,
    10: torch.float16, 11: torch.float64,
}  # fmt: skip


def _given(inputs: Inputs, place: int) -> Tensor:
    value = inputs[place] if place < len(inputs) else None
    if value is None:
        raise ValueError(f"input {place} is missing")
    return value


def _optional(inputs: Inputs, place: int) -> Tensor | None:
    return inputs[place] if place < len(inputs) else None


def _whole(value: Tensor | None) -> list[int] | None:
    return None if value is None else [int(number) for number in value.reshape(-1).tolist()]


def _gemm(inputs: Inputs, a: Attributes) -> Tensor:
    left, right, bias = _given(inputs, 0), _given(inputs, 1), _optional(inputs, 2)
    left = left.T if a.get("transA", 0) else left
    right = right.T if a.get("transB", 0) else right
    alpha, beta = a.get("alpha", 1.0), a.get("beta", 1.0)
    product = left @ right
    if alpha != 1:
        product = product * alpha
    if bias is None:
        return product
    return product + (bias if beta == 1 else bias * beta)


def batch_normalization(inputs: Inputs, a: Attributes, *, is_training: bool) -> Tensor:
    """Normalise by running statistics, or by those of the batch, which then enter the running ones."""
    x, scale, shift, mean, variance = (_given(inputs, place) for place in range(5))
    return functional.batch_norm(
        x, mean, variance, scale, shift, is_training, 1 - a.get("momentum", 0.9), a.get("epsilon", 1e-5)
    )


def _layer_normalization(inputs: Inputs, a: Attributes) -> Tensor:
    x = _given(inputs, 0)
    axis = a.get("axis", -1) % x.dim()
    shape = list(x.shape[axis:])
    scale, shift = _given(inputs, 1).expand(shape), _optional(inputs, 2)
    shift = None if shift is None else shift.expand(shape)
    return functional.layer_norm(x, shape, scale, shift, a.get("epsilon", 1e-5))


def _instance_normalization(inputs: Inputs, a: Attributes) -> Tensor:
    x = _given(inputs, 0)
    axes = tuple(range(2, x.dim()))
    mean, variance = x.mean(axes, keepdim=True), x.var(axes, keepdim=True, unbiased=False)
    shape = (1, -1, *[1] * len(axes))
    scale, shift = _given(inputs, 1).reshape(shape), _given(inputs, 2).reshape(shape)
    return (x - mean) * torch.rsqrt(variance + a.get("epsilon", 1e-5)) * scale + shift


def _clip(inputs: Inputs, a: Attributes) -> Tensor:  # noqa: ARG001
    low, high = _optional(inputs, 1), _optional(inputs, 2)
    x = _given(inputs, 0)
    return x if low is None and high is None else torch.clamp(x, low, high)


def _prelu(inputs: Inputs, a: Attributes) -> Tensor:  # noqa: ARG001
    x, slope = _given(inputs, 0), _given(inputs, 1)
    return torch.where(x < 0, x * slope, x)


def _gelu(inputs: Inputs, a: Attributes) -> Tensor:
    return functional.gelu(_given(inputs, 0), approximate=text(a, "approximate", "none"))


def _hard_sigmoid(inputs: Inputs, a: Attributes) -> Tensor:
    return torch.clamp(a.get("alpha", 0.2) * _given(inputs, 0) + a.get("beta", 0.5), 0, 1)


def _flatten(inputs: Inputs, a: Attributes) -> Tensor:
    x = _given(inputs, 0)
    axis = a.get("axis", 1)
    axis = axis + x.dim() if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _reshape(inputs: Inputs, a: Attributes) -> Tensor:
    x, shape = _given(inputs, 0), _whole(_given(inputs, 1)) or []
    if not a.get("allowzero", 0):
        shape = [x.shape[place] if size == 0 else size for place, size in enumerate(shape)]
    return x.reshape(shape)


def _axes(inputs: Inputs, place: int, a: Attributes) -> list[int] | None:
    return _whole(_optional(inputs, place)) if "axes" not in a else [int(axis) for axis in a["axes"]]


def _squeeze(inputs: Inputs, a: Attributes) -> Tensor:
    x, axes = _given(inputs, 0), _axes(inputs, 1, a)
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


def _unsqueeze(inputs: Inputs, a: Attributes) -> Tensor:
    x, axes = _given(inputs, 0), _axes(inputs, 1, a) or []
    rank = x.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _transpose(inputs: Inputs, a: Attributes) -> Tensor:
    x = _given(inputs, 0)
    return torch.permute(x, tuple(a.get("perm", reversed(range(x.dim())))))


def _slice(inputs: Inputs, a: Attributes) -> Tensor:  # noqa: ARG001
    x, starts, ends = _given(inputs, 0), _whole(_given(inputs, 1)) or [], _whole(_given(inputs, 2)) or []
    axes = _whole(_optional(inputs, 3)) or list(range(len(starts)))
    steps = _whole(_optional(inputs, 4)) or [1] * len(starts)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        places = range(x.shape[axis])[start:end:step]
        if step > 0:
            cut = x.narrow(axis, places.start, max(0, places.stop - places.start))
            x = cut[(slice(None),) * (axis % x.dim()) + (slice(None, None, step),)] if step > 1 else cut
        else:
            x = x.index_select(axis, torch.tensor(list(places), dtype=torch.int64))
    return x


def _split(inputs: Inputs, a: Attributes) -> tuple[Tensor, ...]:
    x, sizes, axis = _given(inputs, 0), _whole(_optional(inputs, 1)), a.get("axis", 0)
    if sizes is None:
        sizes = a.get("split")
    if sizes is None:
        return torch.split(x, math.ceil(x.shape[axis] / a["outputs"]), axis)
    return torch.split(x, list(sizes), axis)


def _pad(inputs: Inputs, a: Attributes) -> Tensor:
    x, pads, axes = _given(inputs, 0), _whole(_given(inputs, 1)) or [], _whole(_optional(inputs, 3))
    places = list(range(x.dim())) if axes is None else [axis % x.dim() for axis in axes]
    begins = dict(zip(places, pads[: len(places)], strict=True))
    ends = dict(zip(places, pads[len(places) :], strict=True))
    mode = text(a, "mode", "constant")
    if mode == "constant":
        value = _optional(inputs, 2)
        order = [side.get(axis, 0) for axis in reversed(range(x.dim())) for side in (begins, ends)]
        return functional.pad(x, order, value=0.0 if value is None else float(value))
    for axis in places:
        x = x.index_select(axis, _mirrored(x.shape[axis], begins[axis], ends[axis], mode))
    return x


def _mirrored(size: int, begin: int, end: int, mode: str) -> Tensor:
    places = torch.arange(-begin, size + end)
    if mode == "edge":
        return places.clamp(0, size - 1)
    if mode != "reflect":
        raise ValueError(f"mode {mode} of Pad is not known here")
    return (size - 1) - ((size - 1) - places.abs()).abs()


def _resize(inputs: Inputs, a: Attributes) -> Tensor:
    x, scales, sizes = _given(inputs, 0), _optional(inputs, 2), _whole(_optional(inputs, 3))
    mode = text(a, "mode", "nearest")
    if mode != "nearest" or "axes" in a or a.get("antialias", 0):
        raise ValueError(f"Resize is known here with mode nearest over all axes only, got {mode}")
    if sizes:
        factors = [new / old for new, old in zip(sizes, x.shape, strict=True)]
    else:
        factors = [float(f) for f in (scales.tolist() if scales is not None else [])]
        sizes = [math.floor(size * factor) for size, factor in zip(x.shape, factors, strict=True)]
    for axis, (new, factor) in enumerate(zip(sizes, factors, strict=True)):
        if axis and new != x.shape[axis]:
            x = x.index_select(axis, _nearest(x.shape[axis], new, factor, a))
    return x


def _nearest(old: int, new: int, factor: float, a: Attributes) -> Tensor:
    """Return which old position each new one takes."""
    transformation = text(a, "coordinate_transformation_mode", "half_pixel")
    places = torch.arange(new, dtype=torch.float64)
    if transformation == "asymmetric":
        places = places / factor
    elif transformation == "align_corners":
        places = places * ((old - 1) / max(1, new - 1))
    elif transformation in ("half_pixel", "pytorch_half_pixel"):
        places = (places + 0.5) / factor - 0.5 if transformation == "half_pixel" or new > 1 else places * 0
    else:
        raise ValueError(f"coordinate_transformation_mode {transformation} of Resize is not known here")
    rounding = text(a, "nearest_mode", "round_prefer_floor")
    rounded = {
        "round_prefer_floor": lambda: (places - 0.5).ceil(),
        "round_prefer_ceil": lambda: (places + 0.5).floor(),
        "floor": places.floor,
        "ceil": places.ceil,
    }[rounding]()
    return rounded.clamp(0, old - 1).long()


def _reduction(reduce: Callable[..., Tensor]) -> Callable[[Inputs, Attributes], Tensor]:
    def apply(inputs: Inputs, a: Attributes) -> Tensor:
        x, axes = _given(inputs, 0), _axes(inputs, 1, a)
        if not axes:
            if a.get("noop_with_empty_axes", 0):
                return x
            axes = list(range(x.dim()))
        return reduce(x, tuple(axes), keepdim=bool(a.get("keepdims", 1)))

    return apply


def _folded(combine: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Inputs, Attributes], Tensor]:
    def apply(inputs: Inputs, a: Attributes) -> Tensor:  # noqa: ARG001
        total = _given(inputs, 0)
        for place in range(1, len(inputs)):
            total = combine(total, _given(inputs, place))
        return total

    return apply


def _divide(left: Tensor, right: Tensor) -> Tensor:
    if left.is_floating_point():
        return left / right
    return torch.div(left, right, rounding_mode="trunc")


def _single(function: Callable[[Tensor], Tensor]) -> Callable[[Inputs, Attributes], Tensor]:
    return lambda inputs, _a: function(_given(inputs, 0))


OPERATORS: dict[str, Callable[[Inputs, Attributes], Result]] = {
    "Conv": lambda inputs, a: convolution(_given(inputs, 0), _given(inputs, 1), _optional(inputs, 2), a),
    "ConvTranspose": lambda inputs, a: transposed_convolution(
        _given(inputs, 0), _given(inputs, 1), _optional(inputs, 2), a
    ),
    "Gemm": _gemm,
    "MatMul": lambda inputs, _a: _given(inputs, 0) @ _given(inputs, 1),
    "BatchNormalization": lambda inputs, a: batch_normalization(inputs, a, is_training=False),
    "LayerNormalization": _layer_normalization,
    "InstanceNormalization": _instance_normalization,
    "Relu": _single(torch.relu),
    "Sigmoid": _single(torch.sigmoid),
    "Tanh": _single(torch.tanh),
    "HardSwish": _single(functional.hardswish),
    "Mish": _single(functional.mish),
    "Softplus": _single(functional.softplus),
    "Softsign": _single(functional.softsign),
    "Erf": _single(torch.erf),
    "Sqrt": _single(torch.sqrt),
    "Exp": _single(torch.exp),
    "Log": _single(torch.log),
    "Abs": _single(torch.abs),
    "Neg": _single(torch.neg),
    "Reciprocal": _single(torch.reciprocal),
    "Identity": _single(lambda x: x),
    "Dropout": _single(lambda x: x),
    "LeakyRelu": lambda inputs, a: functional.leaky_relu(_given(inputs, 0), a.get("alpha", 0.01)),
    "Elu": lambda inputs, a: functional.elu(_given(inputs, 0), a.get("alpha", 1.0)),
    "Selu": _single(functional.selu),
    "PRelu": _prelu,
    "HardSigmoid": _hard_sigmoid,
    "Gelu": _gelu,
    "Clip": _clip,
    "Softmax": lambda inputs, a: torch.softmax(_given(inputs, 0), a.get("axis", -1)),
    "LogSoftmax": lambda inputs, a: torch.log_softmax(_given(inputs, 0), a.get("axis", -1)),
    "MaxPool": lambda inputs, a: max_pool(_given(inputs, 0), a),
    "AveragePool": lambda inputs, a: mean_pool(_given(inputs, 0), a),
    "GlobalAveragePool": _single(lambda x: x.mean(tuple(range(2, x.dim())), keepdim=True)),
    "GlobalMaxPool": _single(lambda x: x.amax(tuple(range(2, x.dim())), keepdim=True)),
    "ReduceMean": _reduction(torch.mean),
    "ReduceSum": _reduction(torch.sum),
    "ReduceMax": _reduction(torch.amax),
    "ReduceMin": _reduction(torch.amin),
    "Add": _folded(torch.add),
    "Sub": _folded(torch.sub),
    "Mul": _folded(torch.mul),
    "Div": _folded(_divide),
    "Sum": _folded(torch.add),
    "Max": _folded(torch.maximum),
    "Min": _folded(torch.minimum),
    "Pow": lambda inputs, _a: _given(inputs, 0) ** _given(inputs, 1),
    "Concat": lambda inputs, a: torch.cat([x for x in inputs if x is not None], a["axis"]),
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Slice": _slice,
    "Split": _split,
    "Gather": lambda inputs, a: _gathered(_given(inputs, 0), _given(inputs, 1), a.get("axis", 0)),
    "Shape": lambda inputs, a: torch.tensor(_given(inputs, 0).shape[a.get("start", 0) : a.get("end")]),
    "Cast": lambda inputs, a: _given(inputs, 0).to(TORCH_TYPES[a["to"]]),
    "Pad": _pad,
    "Resize": _resize,
}


def _gathered(x: Tensor, places: Tensor, axis: int) -> Tensor:
    chosen = torch.where(places < 0, places + x.shape[axis], places)
    flat = x.index_select(axis, chosen.reshape(-1))
    axis %= x.dim()
    return flat.reshape([*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]])
