"""From an imported network to its file: normalisations folded, weights coded, behind the parity gate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np
import onnx
import torch
from torch import Tensor

from compression.graphs.footprint import peak_memory
from compression.graphs.operation import Layer, Operation
from compression.graphs.recode import Recoded, as_floats, recode
from compression.modules.forms import form_of
from compression.modules.importing import ImportedNetwork
from engine.artifact import session
from engine.errors import ArtifactError

__all__ = ["Written", "write_network"]

TOLERANCE = 1e-4  # of the largest output
FOLDED = ("Conv", "ConvTranspose", "Gemm")


@final
@dataclass(frozen=True)
class Written:
    """A written network.

    Args:
        model: The file.
        parameters: Trained numbers in it.
        rows: On which the gate compared.
        difference: Largest difference of an output, as a share of the largest output.
        flips: Rows whose largest output is another.
        rounding_flips: Rows whose largest output folding normalisations and rounding scales and biases changed.
        peak_memory: Estimate of the working set of one row, in bytes; None where shapes do not follow from the graph.
    """

    model: bytes
    parameters: int
    rows: int
    difference: float
    flips: int
    rounding_flips: int
    peak_memory: int | None


@torch.no_grad()
def write_network(network: ImportedNetwork, x: np.ndarray) -> Written:
    """Write a network as an ONNX file; nothing is returned that does not pass the gate.

    Weights with a form are written as it says; the others, biases among them, as float16 where they fit. The gate holds
    the decoded weights bit-equal to those that are trained, the file in ONNX Runtime equal to its float twin (both in
    `compression.graphs.recode`), and equal to the folded, rounded network in torch (here).

    Args:
        network: Trained, in evaluation mode.
        x: Rows of the data, as the file takes them, for the gate.

    Raises:
        ArtifactError: If the file is not the network.
    """
    network.eval()
    plain, weights = _folded(network)
    x = x.astype(onnx.helper.tensor_dtype_to_np_dtype(network.port.kind))
    rows = {network.port.name: x}
    model = plain.to_model()
    content = recode(model, weights, rows)
    tensors = plain.tensors() | {name: torch.from_numpy(as_floats(weight)) for name, weight in weights.items()}
    twin = plain.rebuilt(plain.operations, tensors).eval()
    expected = twin(torch.from_numpy(np.ascontiguousarray(x))).numpy()
    found = session(content).run(None, rows)[0]
    difference = float(np.abs(found - expected).max()) / max(1.0, float(np.abs(expected).max()))
    flips = _flips(found, expected)
    if not difference <= TOLERANCE:
        raise ArtifactError(
            f"The file does not do what the network does: outputs differ by up to {difference:.2g} of the largest one "
            f"({TOLERANCE:.0e} is allowed) and {flips} of {len(x)} labels changed. The file was not written."
        )
    parameters = sum(weight.codes.size for weight in weights.values())
    trained = network(torch.from_numpy(np.ascontiguousarray(x))).numpy()
    return Written(content, parameters, len(x), difference, flips, _flips(trained, expected), peak_memory(model))


def _folded(network: ImportedNetwork) -> tuple[ImportedNetwork, dict[str, Recoded]]:
    """Return the network without the normalisations that a layer can take in, and its weights as they are written."""
    layers = {layer.operation.outputs[0]: layer for layer in network.layers}
    uses = [layer.weight for layer in network.layers]
    tensors, operations, weights = network.tensors(), [], {}
    renamed: dict[str, str] = {}
    for operation in network.operations:
        inputs = tuple(renamed.get(name, name) for name in operation.inputs)
        operation = replace(operation, inputs=inputs)
        layer = layers.get(operation.outputs[0])
        norm = _normalization(network, layer) if layer is not None and uses.count(layer.weight) == 1 else None
        if layer is not None and norm is not None:
            gain, bias = _gain_and_bias(network, layer, norm)
            is_own = sum(layer.bias in other.inputs for other in network.operations) == 1
            name = layer.bias if layer.bias is not None and is_own else f"{layer.weight}_folded_bias"
            tensors[name] = bias
            weights[name] = _half_if_it_fits(bias)
            weights[layer.weight] = _recoded(network, layer, gain)
            operation = replace(operation, inputs=(*operation.inputs[:2], name))
            renamed[norm.outputs[0]] = operation.outputs[0]
        elif layer is not None and layer.weight not in weights:
            weights[layer.weight] = _recoded(network, layer, None)
        if operation.operator != "BatchNormalization" or operation.outputs[0] not in renamed:
            operations.append(operation)
    outputs = {port.name: port.name for port in network.outputs}
    operations = [_keeping(operation, renamed, outputs) for operation in operations]
    for name in network.trained:
        weights.setdefault(name, _half_if_it_fits(tensors[name]))
    plain = network.rebuilt(operations, tensors)
    return plain, {name: weight for name, weight in weights.items() if name in plain.constants}


def _normalization(network: ImportedNetwork, layer: Layer) -> Operation | None:
    """Return the normalisation that alone follows a layer, if the layer can take it in."""
    name = layer.operation.outputs[0]
    users = [operation for operation in network.operations if name in operation.inputs]
    is_output = name in {port.name for port in network.outputs}
    if layer.operation.operator not in FOLDED or len(users) != 1 or is_output:
        return None
    is_grouped = layer.operation.operator == "ConvTranspose" and layer.operation.attributes.get("group", 1) != 1
    scaled = any(layer.operation.attributes.get(key, 1.0) != 1.0 for key in ("alpha", "beta"))
    is_norm = users[0].operator == "BatchNormalization" and users[0].inputs[0] == name
    return users[0] if is_norm and not is_grouped and not scaled else None


def _gain_and_bias(network: ImportedNetwork, layer: Layer, norm: Operation) -> tuple[Tensor, Tensor]:
    scale, shift, mean, variance = (network.tensor(name).detach() for name in norm.inputs[1:5])
    gain = scale / torch.sqrt(variance + norm.attributes.get("epsilon", 1e-5))
    bias = torch.zeros_like(gain) if layer.bias is None else network.tensor(layer.bias).detach()
    return gain, shift + (bias - mean) * gain


def _recoded(network: ImportedNetwork, layer: Layer, gain: Tensor | None) -> Recoded:
    found = form_of(network, layer.weight)
    if found is not None:
        form, weight = found
        return form.recoded(weight, gain)
    weight = network.tensor(layer.weight).detach()
    if gain is not None:
        line = [1] * weight.dim()
        line[layer.axis_out] = -1
        weight = weight * gain.reshape(line)
    return Recoded("float32", weight.numpy())


def _half_if_it_fits(values: Tensor) -> Recoded:
    numbers = values.detach().contiguous().numpy()
    is_half = numbers.ndim > 0 and bool(np.abs(numbers).max(initial=0.0) <= np.finfo(np.float16).max)
    return Recoded("float16" if is_half else "float32", numbers)


def _keeping(operation: Operation, renamed: dict[str, str], outputs: dict[str, str]) -> Operation:
    """Let an operation whose normalisation was an output of the file give that output itself."""
    own = {inner: outer for outer, inner in renamed.items() if outer in outputs}
    return replace(
        operation,
        inputs=tuple(own.get(name, name) for name in operation.inputs),
        outputs=tuple(own.get(name, name) for name in operation.outputs),
    )


def _flips(found: np.ndarray, expected: np.ndarray) -> int:
    if found.ndim != 2 or found.shape[1] < 2:
        return 0
    return int((found.argmax(1) != expected.argmax(1)).sum())
