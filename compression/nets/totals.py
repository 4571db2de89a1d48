"""What a plan adds up to once channels are removed, in one pass and without the smaller plan."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from compression.codings import CODINGS
from compression.nets.plan import Addition, Convolution, Linear, Plan, Pooling

__all__ = ["Totals", "totals"]

# About how many bytes a file takes beside its weights, scales and biases, by least squares over random networks: for
# itself, for each step, for what decodes packed digits or a bitmap, and for the mean over views.
FILE, LAYER, POOLING, ADDITION, DIGITS, BITMAP, VIEWS = 440, 65, 42, 45, 300, 350, 150
DECODING = {coding.name: DIGITS * bool(coding.digits) + BITMAP * (coding.density < 1) for coding in CODINGS.values()}
BITS = {coding.name: coding.bits for coding in CODINGS.values()}
IS_SCALED = {coding.name: int(coding.is_integer) for coding in CODINGS.values()}


@final
@dataclass(frozen=True)
class Totals:
    """Sums over the steps of a plan.

    Args:
        macs: Multiply-accumulates of one row.
        parameters: Weights and biases, scales apart; shared ones once.
        layers: With weights, without those that filter each channel.
        depthwise: Layers that filter each channel.
        poolings: Poolings.
        bytes: Length of the file, estimated: mostly within a tenth.
    """

    macs: int
    parameters: int
    layers: int
    depthwise: int
    poolings: int
    bytes: float


def totals(plan: Plan, kept: Mapping[str, int]) -> Totals:
    """Return what `plan.with_channels(kept)` adds up to.

    Args:
        plan: At full widths.
        kept: Channels that stay, by channel group.

    Example:
        >>> from engine.data import Signature
        >>> steps = (Convolution("a", "x", 1, 8, 3, 2, False, True, "int4", "input", "a"),
        ...          Linear("head", "a", 8, 2, "int8", "a"))
        >>> plan = Plan(Signature("images", "classification", (1, 8, 8), "uint8", ("no", "yes")), steps)
        >>> totals(plan, {"a": 4}).macs == 4 * 9 * 16 + 4 * 2
        True
    """
    dimensions = plan.dimensions
    sides = {"x": plan.signature.shape[1:]}
    macs = parameters = layers = depthwise = poolings = additions = channels = 0
    bits = 0.0
    codings = set()
    for step in plan.steps:
        if isinstance(step, Convolution):
            side = sides[step.source]
            if step.stride > 1:
                side = tuple([-(-length // step.stride) for length in side])
            sides[step.name] = side
            channels_out = kept.get(step.group_out, step.channels_out)
            count = channels_out * step.kernel**dimensions
            if step.is_depthwise:
                depthwise += 1
            else:
                layers += 1
                count *= kept.get(step.group_in, step.channels_in)
            macs += count * math.prod(side)
            if not step.shared_with:
                parameters += count
                bits += count * BITS[step.coding]
                codings.add(step.coding)
            biases = channels_out if step.has_bias else 0
            parameters += biases
            channels += biases + channels_out * IS_SCALED[step.coding]
        elif isinstance(step, Linear):
            layers += 1
            count = kept.get(step.group_in, step.channels_in) * step.channels_out
            macs += count
            parameters += count + step.channels_out
            bits += count * BITS[step.coding]
            codings.add(step.coding)
            channels += step.channels_out * (1 + IS_SCALED[step.coding])
        elif isinstance(step, Addition):
            sides[step.name] = sides[step.sources[0]]
            additions += 1
        elif isinstance(step, Pooling):
            poolings += 1
            sides[step.name] = tuple([-(-length // step.stride) for length in sides[step.source]])
        elif step.source in sides:
            sides[step.name] = sides[step.source]
    beside = FILE + LAYER * (layers + depthwise) + POOLING * poolings + ADDITION * additions
    beside += sum([DECODING[name] for name in codings])
    beside += VIEWS * (plan.views > 1)
    return Totals(plan.views * macs, parameters, layers, depthwise, poolings, bits / 8 + 2 * channels + beside)
