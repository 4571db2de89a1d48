"""From a trained network to a file behind the parity gate, for classes and for values."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from compression.codings import coding_named
from compression.export import export
from compression.gate import check_decoded
from compression.layers import Lowered, lower
from compression.memory import peak_memory
from compression.network import Network, run
from compression.plan import Plan, Pooling, Rescaling
from compression.train import prepared
from compression.verify import REFERENCE_ROWS, TRIAL_ROWS, WINNER_ROWS, check_parity, edge_rows
from engine.artifact import Artifact, session
from engine.errors import ArtifactError

__all__ = ["exported"]

TOLERANCE = 1e-4  # of a value, in shares of its size and of the spread of the target


def exported(network: Network, x: np.ndarray, *, seed: int, is_winner: bool = False) -> Artifact:
    """Write a trained network; nothing is returned that does not pass the gate.

    Args:
        network: Trained, quantized.
        x: Rows of the data, as the file takes them, for the parity gate.
        seed: Of the gate's random rows.
        is_winner: Compare up to 2,000 rows, and a second engine too.

    Raises:
        ArtifactError: If the file is not the network.
    """
    last = network.plan.steps[-1]
    if isinstance(last, Rescaling):
        return _exported_values(network, last.spread, x, seed=seed, is_winner=is_winner)
    artifact = export(network, x, seed=seed, is_winner=is_winner and _has_reference(network.plan))
    if not is_winner or _has_reference(network.plan):
        return artifact
    weights = network.written()
    lowered = lower(network.plan, weights)
    parity = check_parity(network.plan, weights, lowered, x, seed=seed, rows=WINNER_ROWS)
    return replace(artifact, card={**artifact.card, "parity": {**asdict(parity), "reference_difference": None}})


def _has_reference(plan: Plan) -> bool:
    """Say whether the reference evaluator of ONNX runs a plan: it forgets the padding of maxima in one dimension."""
    return plan.dimensions != 1 or not any(isinstance(step, Pooling) and step.kind == "max" for step in plan.steps)


def _exported_values(network: Network, spread: float, x: np.ndarray, *, seed: int, is_winner: bool) -> Artifact:
    plan, weights = network.plan, network.written()
    lowered = lower(plan, weights)
    check_decoded(lowered.model, _wanted(network, lowered))
    rows = np.concatenate([x[: WINNER_ROWS if is_winner else TRIAL_ROWS], edge_rows(plan, seed=seed)])
    expected = run(plan, weights, prepared(rows, plan.signature).float()).numpy()
    found = [session(lowered.model, optimized=on).run(None, {"x": rows})[0] for on in (True, False)]
    gate: dict[str, Any] = {"rows": len(rows), "difference": max(_difference(y, expected, spread) for y in found)}
    if is_winner and _has_reference(plan):
        reference = ReferenceEvaluator(onnx.load_model_from_string(lowered.model))
        answers = reference.run(None, {"x": rows[:REFERENCE_ROWS]})[0]
        gate["reference_difference"] = _difference(answers, expected[:REFERENCE_ROWS], spread)
    return Artifact(lowered.model, _card(plan, lowered, gate))


def _card(plan: Plan, lowered: Lowered, gate: dict[str, Any]) -> dict[str, Any]:
    return {
        "bytes": len(lowered.model),
        "parameters": plan.parameters,
        "coding": ", ".join(plan.codings),
        "decoded_bytes": 4 * plan.parameters,
        "peak_memory": peak_memory(plan),
        "parity": gate,
    }


def _difference(found: np.ndarray, expected: np.ndarray, spread: float) -> float:
    difference = float((np.abs(found - expected) / np.maximum(spread, np.abs(expected))).max())
    if not difference <= TOLERANCE:
        raise ArtifactError(
            f"The file does not do what the network does: values differ by up to {difference:.2g} of their size (at "
            f"most {TOLERANCE:.0e} is allowed). The file was not written."
        )
    return difference


def _wanted(network: Network, lowered: Lowered) -> dict[str, tuple[str, np.ndarray]]:
    """Return, by name in the graph, what a decoded tensor is and the float32 values it must have."""
    wanted = {}
    for step in network.plan.weighted:
        coding, parts, written = coding_named(step.coding), lowered.parts[step.name], network.units[step.name].written()
        codes = written.codes.reshape(-1).astype(np.float16 if coding.name == "float16" else np.float32)
        wanted[parts.weight] = (f"weights of {step.name}", codes.astype(np.float32) - np.float32(coding.offset))
        for kind, name, values in (("scale", parts.scale, written.scale), ("bias", parts.bias, written.bias)):
            if name is not None and values is not None:
                wanted[name] = (f"{kind} of {step.name}", values.astype(np.float32))
    return wanted
