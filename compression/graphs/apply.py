"""Applying codings to a trained model without training it: layer after layer, on what comes in by then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

from compression.codings import PALETTES
from compression.graphs.calibrate import first_rows, moments
from compression.graphs.palette import codebook_for
from compression.graphs.recode import Recoded, as_floats, recode, with_floats
from compression.graphs.rounding import Rounded, rounded
from compression.graphs.weighted import Layer, layers_of

__all__ = ["Applied", "Choice", "apply", "halved"]

SMALLEST_HALVED = 8  # elements; cutting a tensor out of the shared one takes more than it spares below
HALF_ERROR = 1e-3  # relative; float16 keeps half of it wherever it does not run out of exponents


@final
@dataclass(frozen=True)
class Choice:
    """What one layer is to become.

    Args:
        coding: Name of an entry of `CODINGS` or `PALETTES`.
        density: Share of weights that a sparse coding keeps.
    """

    coding: str
    density: float = 1.0


@final
@dataclass(frozen=True, eq=False)
class Applied:
    """A compressed file, and what each layer of it lost.

    Args:
        model: The file, behind the parity gate.
        errors: By name of the weight: mean square that the outputs of the layer are off, over their mean square.
    """

    model: bytes
    errors: Mapping[str, float]


def apply(
    model: ModelProto,
    choices: Mapping[str, Choice],
    rows: Mapping[str, np.ndarray],
    known: dict[object, Rounded] | None = None,
) -> Applied:
    """Write a model with the layers coded as chosen, and everything else that can be in float16.

    Layer by layer in the order in which they run: the inputs that the layer gets by now and those that it had are
    measured on the rows, its weight is rounded so that its outputs come nearest to the original's
    (`compression.graphs.rounding`), and its bias takes the mean of what is still off.

    Args:
        model: Simplified (`compression.graphs.fold.simplified`); left as it is.
        choices: By name of the weight; layers that are not named stay float32.
        rows: Calibration rows, by name of the input; some hundred are enough.
        known: What was rounded in earlier calls with this model and these rows; new results are added. Layers after
            the first one that is chosen differently are rounded anew.

    Raises:
        ArtifactError: If the file is not at parity with what was rounded.
    """
    layers = [layer for layer in layers_of(model) if layer.weight in choices]
    books = _codebooks(layers, choices)
    weights: dict[str, Recoded] = {}
    biases: dict[str, np.ndarray] = {}
    errors = {}
    known = {} if known is None else known
    key: tuple[object, ...] = tuple((name, book.tobytes()) for name, book in books.items())
    now = model
    for layer in layers:
        choice = choices[layer.weight]
        key = (*key, layer.weight, choice)
        if key not in known:
            found = moments(now, [layer], rows, None if now is model else model).get(layer.weight)
            book = books.get(choice.coding)
            known[key] = rounded(layer, choice.coding, found, density=choice.density, codebook=book)
        made = known[key]
        weights[layer.weight], errors[layer.weight] = made.weight, made.error
        biases |= moved_bias(model, layer, made)
        now = with_floats(model, {name: as_floats(weight) for name, weight in weights.items()} | biases)
    rest = halved(with_floats(model, biases), besides=weights)
    return Applied(recode(with_floats(model, biases), weights | rest, first_rows(model, rows)), errors)


def moved_bias(model: ModelProto, layer: Layer, made: Rounded) -> dict[str, np.ndarray]:
    """Return the bias of a layer that gives its outputs the mean that they had; nothing where none is known."""
    if made.shift is None or layer.bias is None:
        return {}
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == layer.bias)
    bias = numpy_helper.to_array(tensor)
    moved = bias.reshape(-1) + made.shift
    return {layer.bias: _half_values(moved).reshape(bias.shape).astype(np.float32)}


def halved(model: ModelProto, besides: Mapping[str, object]) -> dict[str, Recoded]:
    """Return all other float32 tensors that float16 holds well: biases, normalisations, tables.

    Args:
        model: With these tensors.
        besides: Names to leave out.
    """
    made = {}
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or tensor.name in besides:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size >= SMALLEST_HALVED and _fits_half(values):
            made[tensor.name] = Recoded("float16", values)
    return made


def _codebooks(layers: Sequence[Layer], choices: Mapping[str, Choice]) -> dict[str, np.ndarray]:
    """Return one list of values for all layers of each palette."""
    named = {name: [layer for layer in layers if choices[layer.weight].coding == name] for name in PALETTES}
    return {name: codebook_for(group, PALETTES[name]) for name, group in named.items() if group}


def _half_values(values: np.ndarray) -> np.ndarray:
    """Round to float16 where it holds the values well."""
    return values.astype(np.float16) if _fits_half(values) else values


def _fits_half(values: np.ndarray) -> bool:
    """Whether float16 keeps each value, or loses less than a thousandth of the largest."""
    with np.errstate(over="ignore"):
        off = np.abs(values.astype(np.float16).astype(np.float64) - values)
    return bool((off <= HALF_ERROR * np.maximum(np.abs(values), HALF_ERROR * np.abs(values).max(initial=0.0))).all())
