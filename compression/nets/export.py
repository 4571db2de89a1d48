"""From a trained network to a file behind the parity gate, with what its card says; for classes and for values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from compression.nets.integer_layers import lower_integer
from compression.nets.layers import Lowered, Weights, lower
from compression.nets.memory import decoded_bytes, peak_memory
from compression.nets.network import Network
from compression.nets.plan import Plan
from compression.nets.verify import TRIAL_ROWS, WINNER_ROWS, check_parity, check_reference, rounding_flips
from engine.artifact import Artifact

__all__ = ["export", "lowered_plan"]


def lowered_plan(plan: Plan, weights: Mapping[str, Weights]) -> Lowered:
    """Write a plan as an ONNX file that computes as the plan says: with floats, or with integers.

    Args:
        plan: The steps.
        weights: By name of the step.
    """
    return lower_integer(plan, weights) if plan.is_integer else lower(plan, weights)


def export(network: Network, x: np.ndarray, *, seed: int, is_winner: bool = False) -> Artifact:
    """Write a trained network; nothing is returned that does not pass the gate.

    Args:
        network: Trained, quantized.
        x: Rows of the data, as the file takes them, for the parity gate.
        seed: Of the gate's random rows.
        is_winner: Compare up to 2,000 rows, and a second engine too.

    Raises:
        ArtifactError: If the file is not the network.
    """
    plan, weights = network.plan, network.written()
    lowered = lowered_plan(plan, weights)
    parity = check_parity(plan, weights, lowered, x, seed=seed, rows=WINNER_ROWS if is_winner else TRIAL_ROWS)
    gate: dict[str, Any] = {"rows": parity.rows, "difference": parity.difference}
    has_classes = parity.flips is not None
    if has_classes:
        gate["flips"] = parity.flips
    if is_winner:
        gate["reference_difference"] = check_reference(plan, lowered, x)
        if has_classes:
            gate["rounding_flips"] = rounding_flips(network, weights, x[:WINNER_ROWS])
    card = {
        "bytes": len(lowered.model),
        "parameters": plan.parameters,
        "coding": ", ".join(plan.codings),
        "execution": "integer" if plan.is_integer else "float",
        "decoded_bytes": decoded_bytes(plan),
        "peak_memory": peak_memory(plan),
        "parity": gate,
    }
    return Artifact(lowered.model, card)
