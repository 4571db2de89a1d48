"""What a network takes at run time, from its shapes alone."""

from __future__ import annotations

import math

from compression.nets.activations import levels_of
from compression.nets.plan import Addition, Convolution, Linear, Plan, Pooling, Quantisation

__all__ = ["decoded_bytes", "macs", "peak_memory", "sides_of"]


def macs(plan: Plan) -> int:
    """Return the multiply-accumulates of one row, exact for convolutions and the linear layer."""
    sizes = sides_of(plan)
    total = 0
    for step in plan.weighted:
        positions = 1 if isinstance(step, Linear) else math.prod(sizes[step.name])
        total += plan.count(step) * positions
    return plan.views * total


def decoded_bytes(plan: Plan) -> int:
    """Return the bytes that the weights take in memory: float32, or int8 where integers are multiplied."""
    if not plan.is_integer:
        return 4 * plan.parameters
    whole = sum(plan.count(step) for step in plan.owners if isinstance(step, Convolution))
    return whole + 4 * (plan.parameters - whole)


def peak_memory(plan: Plan) -> int:
    """Return the bytes of decoded weights and of the largest set of tensors alive at once, one row.

    Values are float32, or bytes where integers are executed.
    """
    sizes, channels, levels = sides_of(plan), _channels(plan), levels_of(plan)
    elements = {name: math.prod(size) * channels[name] * (1 if name in levels else 4) for name, size in sizes.items()}
    last_use = {}
    for number, step in enumerate(plan.steps):
        for source in step.sources if isinstance(step, Addition) else (step.source,):
            last_use[source] = number
    peak, alive = 0, {"x"}
    for number, step in enumerate(plan.steps):
        alive.add(step.name)
        peak = max(peak, sum(elements[name] for name in alive))
        alive = {name for name in alive if last_use.get(name, number) > number}
    return decoded_bytes(plan) + plan.views * peak


def sides_of(plan: Plan) -> dict[str, tuple[int, ...]]:
    """Return the sides of the map that each step gives, and `x`, by name."""
    sizes: dict[str, tuple[int, ...]] = {"x": plan.signature.shape[1:]}
    for step in plan.steps:
        if isinstance(step, Addition):
            sizes[step.name] = sizes[step.sources[0]]
        elif isinstance(step, Quantisation):
            sizes[step.name] = sizes[step.source]
        elif isinstance(step, Convolution | Pooling):
            sizes[step.name] = tuple(-(-size // step.stride) for size in sizes[step.source])
        else:
            sizes[step.name] = (1,)
    return sizes


def _channels(plan: Plan) -> dict[str, int]:
    counts = {"x": plan.signature.shape[0]}
    for step in plan.steps:
        if isinstance(step, Convolution | Linear):
            counts[step.name] = step.channels_out
        else:
            counts[step.name] = counts[step.sources[0] if isinstance(step, Addition) else step.source]
    return counts
