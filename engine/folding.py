"""Values that follow from a model file alone, where they are few numbers: what shapes are computed from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

__all__ = ["MAX_FOLDED", "Shape", "folded"]

Shape = tuple[int, ...]
Evaluate = Callable[[list[np.ndarray], dict[str, Any]], np.ndarray]

MAX_FOLDED = 512  # elements: shapes and axes are far smaller, and two such arrays broadcast to 2 MiB


def folded(node: onnx.NodeProto, known: Mapping[str, np.ndarray], shapes: Mapping[str, Shape]) -> np.ndarray | None:
    """Return what a node computes, or None where that does not follow, or is no small array of numbers.

    Args:
        node: Of a standard operator with one output.
        known: Values by name.
        shapes: Complete shapes by name, for operators that need no values.
    """
    evaluate = _OPERATORS.get(node.op_type)
    if evaluate is None or node.domain not in ("", "ai.onnx") or len(node.output) != 1:
        return None
    try:
        given = {attribute.name: _value(attribute) for attribute in node.attribute}
        if node.op_type in ("Shape", "Size"):
            if node.input[0] not in shapes:
                return None
            inputs = [np.asarray(shapes[node.input[0]], np.int64)]
        elif all(name in known for name in node.input):
            inputs = [known[name] for name in node.input]
        else:
            return None
        with np.errstate(all="ignore"):
            value = np.asarray(evaluate(inputs, given))
    except Exception:  # a node that contradicts itself has no value here; ONNX Runtime will say what is wrong
        return None
    return value if value.size <= MAX_FOLDED and value.dtype.kind in "biuf" else None


def _value(attribute: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    return _array(value) if isinstance(value, onnx.TensorProto) else value


def _array(tensor: onnx.TensorProto) -> np.ndarray:
    if math.prod(tensor.dims) > MAX_FOLDED:
        raise ValueError("not a small array")
    return np.asarray(numpy_helper.to_array(tensor))


def _small(shape: Sequence[int]) -> list[int]:
    if math.prod(shape) > MAX_FOLDED or min(shape, default=0) < 0:
        raise ValueError("not a small array")
    return [int(size) for size in shape]


def _constant(_inputs: list[np.ndarray], given: dict[str, Any]) -> np.ndarray:
    ((name, value),) = given.items()
    kinds = {"value_int": np.int64, "value_ints": np.int64, "value_float": np.float32, "value_floats": np.float32}
    return np.asarray(value) if name == "value" else np.asarray(value, kinds[name])


def _shape(inputs: list[np.ndarray], given: dict[str, Any]) -> np.ndarray:
    return inputs[0][given.get("start", 0) : given.get("end", len(inputs[0]))]


def _cast(inputs: list[np.ndarray], given: dict[str, Any]) -> np.ndarray:
    return inputs[0].astype(helper.tensor_dtype_to_np_dtype(given["to"]))


def _divide(inputs: list[np.ndarray], _given: dict[str, Any]) -> np.ndarray:
    first, second = inputs
    if first.dtype.kind == "f":
        return np.asarray(first / second)
    return np.asarray(np.trunc(first.astype(np.float64) / second).astype(first.dtype))


def _constant_of_shape(inputs: list[np.ndarray], given: dict[str, Any]) -> np.ndarray:
    return np.full(_small(inputs[0].tolist()), given.get("value", np.zeros(1, np.float32)).reshape(-1)[0])


def _range(inputs: list[np.ndarray], _given: dict[str, Any]) -> np.ndarray:
    start, limit, step = (value.reshape(-1)[0].item() for value in inputs)
    _small([max(0, math.ceil((limit - start) / step))])
    return np.arange(start, limit, step, dtype=inputs[0].dtype)


def _expand(inputs: list[np.ndarray], _given: dict[str, Any]) -> np.ndarray:
    shape = np.broadcast_shapes(inputs[0].shape, _small(inputs[1].tolist()))
    return np.broadcast_to(inputs[0], _small(shape))


def _reshape(inputs: list[np.ndarray], given: dict[str, Any]) -> np.ndarray:
    if given.get("allowzero"):
        return inputs[0].reshape(inputs[1].tolist())
    return inputs[0].reshape(
        [inputs[0].shape[axis] if size == 0 else size for axis, size in enumerate(inputs[1].tolist())]
    )


def _axes(inputs: list[np.ndarray], given: dict[str, Any]) -> tuple[int, ...] | None:
    """Return the axes as all opsets give them: a second input, or an attribute."""
    axes = inputs[1].reshape(-1).tolist() if len(inputs) > 1 else given.get("axes")
    return None if axes is None else tuple(axes)


def _unsqueeze(inputs: list[np.ndarray], given: dict[str, Any]) -> np.ndarray:
    return np.expand_dims(inputs[0], _axes(inputs, given) or ())


def _slice(inputs: list[np.ndarray], given: dict[str, Any]) -> np.ndarray:
    starts, ends, axes, steps = (
        inputs[place].tolist() if len(inputs) > place else given.get(name, [])
        for place, name in enumerate(("starts", "ends", "axes", "steps"), start=1)
    )
    places = [slice(None)] * inputs[0].ndim
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis, step = axes[number] if axes else number, steps[number] if steps else 1
        # Beyond the front, a backward slice ends before the first element, which Python writes as None.
        places[axis] = slice(start, None if step < 0 and end < -inputs[0].shape[axis] else end, step)
    return inputs[0][tuple(places)]


def _reduced(reduce: Callable[..., Any]) -> Evaluate:
    return lambda inputs, given: reduce(
        inputs[0], axis=_axes(inputs, given), keepdims=bool(given.get("keepdims", 1)), dtype=inputs[0].dtype
    )


def _plain(function: Callable[..., Any]) -> Evaluate:
    return lambda inputs, _given: function(*inputs)


def _many(function: Callable[..., Any]) -> Evaluate:
    return lambda inputs, _given: _left(function, inputs)


def _left(function: Callable[..., Any], inputs: list[np.ndarray]) -> np.ndarray:
    made = inputs[0]
    for value in inputs[1:]:
        _small(np.broadcast_shapes(made.shape, value.shape))
        made = function(made, value)
    return made


_OPERATORS: dict[str, Evaluate] = {
    "Shape": _shape,
    "Size": lambda inputs, _given: np.asarray(math.prod(inputs[0].tolist()), np.int64),
    "Constant": _constant,
    "Cast": _cast,
    "Div": _divide,
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "Expand": _expand,
    "Reshape": _reshape,
    "Slice": _slice,
    "Unsqueeze": _unsqueeze,
    "Transpose": lambda inputs, given: np.transpose(inputs[0], given.get("perm")),
    "Squeeze": lambda inputs, given: np.squeeze(inputs[0], _axes(inputs, given)),
    "Concat": lambda inputs, given: np.concatenate(inputs, axis=given["axis"]),
    "Gather": lambda inputs, given: np.take(inputs[0], inputs[1], axis=given.get("axis", 0)),
    "ReduceProd": _reduced(np.prod),
    "ReduceSum": _reduced(np.sum),
    "Add": _plain(np.add),
    "Sub": _plain(np.subtract),
    "Mul": _plain(np.multiply),
    "Mod": _plain(np.mod),
    "Equal": _plain(np.equal),
    "Greater": _plain(np.greater),
    "GreaterOrEqual": _plain(np.greater_equal),
    "Less": _plain(np.less),
    "LessOrEqual": _plain(np.less_equal),
    "And": _plain(np.logical_and),
    "Or": _plain(np.logical_or),
    "Where": _plain(np.where),
    "Not": _plain(np.logical_not),
    "Neg": _plain(np.negative),
    "Abs": _plain(np.abs),
    "Ceil": _plain(np.ceil),
    "Floor": _plain(np.floor),
    "Identity": _plain(np.asarray),
    "Min": _many(np.minimum),
    "Max": _many(np.maximum),
}
