"""From a genome to the plan of its network."""

from __future__ import annotations

from compression.plan import Addition, Convolution, Linear, Mean, Plan, Pooling, Step
from engine.data import Signature
from nas.cells import Genome, Stage, edges

__all__ = ["channel_counts", "plan_of"]

# Nine or twenty-five weights a filter leave no room for few levels, and they are few: they stay at eight bits.
DEPTHWISE_CODINGS = {"float32": "float32", "float16": "float16"}


def plan_of(genome: Genome, signature: Signature) -> Plan:
    """Return the plan at full widths, before channels are removed.

    Args:
        genome: What to build.
        signature: Images (C, H, W) or signals (C, L); classification.
    """
    steps: list[Step] = []
    first = genome.stages[0]
    steps.append(
        Convolution("stem", "x", signature.shape[0], first.width, 3, first.stride, False, True, genome.stem_coding,
                    "input", "stage0")
    )  # fmt: skip
    source = "stem"
    for number, stage in enumerate(genome.stages):
        group = f"stage{number}"
        if number:
            before = genome.stages[number - 1].width
            source = _unit(steps, f"{group}_reduction", source, genome.reduction, before, stage.width, stage.stride,
                           stage.coding, f"stage{number - 1}", group)  # fmt: skip
        for depth in range(stage.depth):
            source = _cell(steps, genome, stage, f"{group}_{depth}", source, group)
    last = genome.stages[-1]
    steps.append(Mean("mean", source))
    steps.append(
        Linear("head", "mean", last.width, signature.outputs, genome.head_coding, f"stage{len(genome.stages) - 1}")
    )
    return Plan(signature, tuple(steps))


def channel_counts(genome: Genome) -> dict[str, int]:
    """Return the number of channels of each group that stay in the file."""
    return {f"stage{number}": stage.kept for number, stage in enumerate(genome.stages)}


def _cell(steps: list[Step], genome: Genome, stage: Stage, name: str, source: str, group: str) -> str:
    """Add one cell; a cell without a path from input to output is the identity."""
    values = {0: source}
    for target in range(1, genome.nodes):
        parts = []
        for (start, end), op in zip(edges(genome.nodes), genome.cell, strict=True):
            if end == target and op != "none" and start in values:
                parts.append(_operation(steps, f"{name}_{start}{end}", values[start], op, stage, group))
        if len(parts) == 1:
            values[target] = parts[0]
        elif parts:
            steps.append(Addition(f"{name}_{target}", tuple(parts)))
            values[target] = f"{name}_{target}"
    return values.get(genome.nodes - 1, source)


def _operation(steps: list[Step], name: str, source: str, op: str, stage: Stage, group: str) -> str:
    if op == "skip":
        return source
    if op in ("average3", "max3"):
        steps.append(Pooling(name, source, op[:-1]))
        return name
    return _unit(steps, name, source, op, stage.width, stage.width, 1, stage.coding, group, group)


def _unit(
    steps: list[Step],
    name: str,
    source: str,
    op: str,
    width_in: int,
    width_out: int,
    stride: int,
    coding: str,
    group_in: str,
    group_out: str,
) -> str:
    """Add a dense convolution, or a depthwise one and a pointwise one."""
    kernel = int(op[-1])
    if op.startswith("separable"):
        depthwise = DEPTHWISE_CODINGS.get(coding, "int8")
        steps.append(
            Convolution(f"{name}_depthwise", source, width_in, width_in, kernel, stride, True, False, depthwise,
                        group_in, group_in)
        )  # fmt: skip
        source, kernel, stride = f"{name}_depthwise", 1, 1
    steps.append(
        Convolution(name, source, width_in, width_out, kernel, stride, False, True, coding, group_in, group_out)
    )
    return name
