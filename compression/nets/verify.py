"""The parity gate: a file is written only if it is the network that was trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import onnx
import onnxruntime
import torch
from onnx.reference import ReferenceEvaluator

from compression.codings import coding_named
from compression.nets.integer_twin import whole_parts
from compression.nets.layers import Lowered, Weights
from compression.nets.network import Network, over_views, run
from compression.nets.plan import Convolution, Plan, Pooling, Rescaling
from compression.nets.train import prepared
from engine.artifact import session
from engine.errors import ArtifactError

__all__ = ["Parity", "check_parity", "check_reference", "edge_rows", "rounding_flips"]

# Of a probability, or of a value in shares of its size and of the spread of the target. Sums of a few hundred float32
# products in another order differ by less.
TOLERANCE = 1e-4
TRIAL_ROWS = 24
WINNER_ROWS = 2000
REFERENCE_ROWS = 4
REFERENCE_OPSET = 21


@final
@dataclass(frozen=True)
class Parity:
    """What the gate measured.

    Args:
        rows: Compared.
        difference: Largest difference of a probability, or of a value in shares of its size.
        flips: Rows with another label; ties within the tolerance aside, always 0. None for values.
    """

    rows: int
    difference: float
    flips: int | None


def check_parity(
    plan: Plan, weights: Mapping[str, Weights], lowered: Lowered, x: np.ndarray, *, seed: int, rows: int = TRIAL_ROWS
) -> Parity:
    """Compare a file with its torch twin; levels 1 and 2 of the gate.

    Level 1: the weights that the file decodes are bit for bit those that were trained. Level 2: the probabilities, or
    values, agree on rows of the data, random rows and edge rows, with graph optimisation and without.

    Args:
        plan: As written.
        weights: As written.
        lowered: The file.
        x: Rows of the data, as the file takes them.
        seed: Of the random rows.
        rows: How many rows of the data to compare: a few in a trial, hundreds for a winner.

    Raises:
        ArtifactError: If the file is not the network; it says where.
    """
    data = x[:rows]
    compared = np.concatenate([data, edge_rows(plan, seed=seed)])
    expected = _expected(plan, weights, compared)
    wanted = _wanted(plan, weights, lowered)
    kinds = {name: values.dtype for name, (_, values) in wanted.items()}
    plain, *decoded = _with_outputs(lowered.model, kinds).run(None, {"x": compared})
    for (what, values), found in zip(wanted.values(), decoded, strict=True):
        if not np.array_equal(found.reshape(-1), values):
            raise ArtifactError(f"The {what} in the file are not those that were trained. The file was not written.")
    worst, flips, margin, has_classes = 0.0, 0, 0.0, _spread(plan) is None
    for found in (session(lowered.model).run(None, {"x": compared})[0], plain):
        worst = max(worst, _difference(plan, found, expected))
        changed = np.flatnonzero(found.argmax(1)[: len(data)] != expected.argmax(1)[: len(data)])
        ranked = np.sort(expected[changed], axis=1)
        margin = max(margin, float((ranked[:, -1] - ranked[:, -2]).max(initial=0.0)) if len(changed) else 0.0)
        flips = max(flips, len(changed))
    if not worst <= TOLERANCE or margin > TOLERANCE:
        told = f" and {flips} of {len(data)} labels changed" if has_classes else " of their size"
        raise ArtifactError(
            f"The file does not do what the network does: {'probabilities' if has_classes else 'values'} differ by up "
            f"to {worst:.2g} (at most {TOLERANCE:.0e} is allowed){told}. The file was not written."
        )
    return Parity(len(compared), worst, flips if has_classes else None)


def check_reference(plan: Plan, lowered: Lowered, x: np.ndarray) -> float | None:
    """Compare ONNX Runtime with the reference evaluator of ONNX on a few rows; level 3 of the gate.

    Args:
        plan: As written.
        lowered: The file.
        x: Rows of the data, as the file takes them.

    Returns:
        The largest difference, as in `Parity`; None for what the evaluator cannot do: convolutions of integers in one
        dimension, and maxima with padding in one dimension or of integers.

    Raises:
        ArtifactError: If they differ by more than the tolerance.
    """
    has_maxima = any(isinstance(step, Pooling) and step.kind == "max" for step in plan.steps)
    is_flat = plan.dimensions != 2
    if (plan.is_integer and is_flat) or (has_maxima and (plan.is_integer or is_flat)):
        return None
    rows = x[:REFERENCE_ROWS]
    found = session(lowered.model).run(None, {"x": rows})[0]
    model = onnx.load_model_from_string(lowered.model)
    for entry in (*model.opset_import, *(entry for function in model.functions for entry in function.opset_import)):
        if not entry.domain:  # the same operators; the evaluator knows some of them in their later versions only
            entry.version = max(entry.version, REFERENCE_OPSET)
    expected = ReferenceEvaluator(model).run(None, {"x": rows})[0]
    difference = _difference(plan, np.asarray(found), np.asarray(expected))
    if not difference <= TOLERANCE:
        raise ArtifactError(
            f"ONNX Runtime and the reference evaluator differ by {difference:.2g} on this file; it was not written."
        )
    return difference


@torch.no_grad()
def rounding_flips(network: Network, weights: Mapping[str, Weights], x: np.ndarray) -> int:
    """Count the rows whose label changes when normalisations are folded and scales and biases rounded to float16.

    The file holds the rounded network, and is scored; this tells how far it is from the one that was trained.

    Args:
        network: As trained, in evaluation mode.
        weights: As written.
        x: Rows of the data, as the file takes them.
    """
    rows = prepared(x, network.plan.signature).float()
    return int((over_views(network.plan, network, rows).argmax(1) != run(network.plan, weights, rows).argmax(1)).sum())


def edge_rows(plan: Plan, *, seed: int) -> np.ndarray:
    """Return rows that data seldom has: all smallest, all largest, stripes, one bright position, noise."""
    signature = plan.signature
    rng = np.random.default_rng(seed)
    low, high = 0.0, 255.0
    if signature.dtype != "uint8":
        low, high = signature.center - 6 * signature.spread, signature.center + 6 * signature.spread
    shape = signature.shape
    stripes = np.broadcast_to(np.where(np.arange(shape[-1]) % 2, low, high), shape)
    point = np.full(shape, low)
    point.reshape(shape[0], -1)[:, math.prod(shape[1:]) // 2] = high
    noise = rng.uniform(low, high, (8, *shape))
    rows = np.concatenate([np.stack([np.full(shape, low), np.full(shape, high), stripes, point]), noise])
    return rows.astype(signature.dtype)


def _expected(plan: Plan, weights: Mapping[str, Weights], x: np.ndarray) -> np.ndarray:
    """Return what the network says in torch: probabilities, or values."""
    outputs = run(plan, weights, prepared(x, plan.signature).float())
    return np.asarray((outputs if _spread(plan) else torch.softmax(outputs, 1)).numpy())


def _spread(plan: Plan) -> float | None:
    """Return the spread of the values that a plan ends with; None for classes."""
    last = plan.steps[-1]
    return last.spread if isinstance(last, Rescaling) else None


def _difference(plan: Plan, found: np.ndarray, expected: np.ndarray) -> float:
    spread = _spread(plan)
    unit = 1.0 if spread is None else np.maximum(spread, np.abs(expected))
    return float((np.abs(found - expected) / unit).max())


def _wanted(plan: Plan, weights: Mapping[str, Weights], lowered: Lowered) -> dict[str, tuple[str, np.ndarray]]:
    """Return, by name in the graph, what a decoded tensor is and the values it must have.

    They are float32; where integers are executed, weights are int8 and biases int32.
    """
    wanted = {}
    for step in plan.weighted:
        if plan.is_integer and isinstance(step, Convolution):
            names, whole = lowered.parts[step.name], whole_parts(step, weights[step.name])
            for kind, name, values in zip(
                ("weights", "scale", "bias"), (names.weight, names.scale, names.bias), whole, strict=True
            ):
                if name is not None and values is not None:
                    wanted[name] = (f"{kind} of {step.name}", values.reshape(-1))
            continue
        coding, parts, written = coding_named(step.coding), lowered.parts[step.name], weights[step.name]
        codes = parts.stored(written.codes).reshape(-1)
        codes = codes.astype(np.float16 if coding.name == "float16" else np.float32)
        wanted[parts.weight] = (f"weights of {step.name}", codes.astype(np.float32) - np.float32(coding.offset))
        for kind, name, values in (("scale", parts.scale, written.scale), ("bias", parts.bias, written.bias)):
            if name is not None and values is not None:
                wanted[name] = (f"{kind} of {step.name}", values.astype(np.float32))
    return wanted


def _with_outputs(content: bytes, kinds: Mapping[str, np.dtype[Any]]) -> onnxruntime.InferenceSession:
    """Open a file without graph optimisation, with inner tensors of these types as further outputs."""
    model = onnx.load_model_from_string(content)
    constants = {tensor.name for tensor in model.graph.initializer}
    for name, kind in kinds.items():
        if name in constants:  # an output must be made by a node
            model.graph.node.append(onnx.helper.make_node("Identity", [name], [f"{name} "]))
        model.graph.output.append(
            onnx.helper.make_tensor_value_info(
                f"{name} " if name in constants else name, onnx.helper.np_dtype_to_tensor_dtype(kind), None
            )
        )
    return session(model.SerializeToString(), optimized=False)
