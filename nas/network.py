"""From a genome of cells to the plan of its network."""

from __future__ import annotations

from functools import lru_cache

from compression.nets.plan import Addition, Convolution, Linear, Mean, Plan, Pooling, Rescaling, Step
from engine.data import Signature
from nas.cells import Genome, Stage, edges

__all__ = ["channel_counts", "depthwise_coding", "plan_of", "with_answer"]

# Nine or twenty-five weights a filter leave no room for few levels, and they are few: they stay at eight bits.
DEPTHWISE_CODINGS = {"float32": "float32", "float16": "float16"}
STEM_KERNELS = {1: 9, 2: 3}  # as many weights a filter in one dimension as in two


def plan_of(genome: Genome, signature: Signature) -> Plan:
    """Return the plan at full widths, before channels are removed.

    Args:
        genome: What to build.
        signature: Images (C, H, W) or signals (C, L).
    """
    steps: list[Step] = []
    first = genome.stages[0]
    kernel = STEM_KERNELS[len(signature.shape) - 1]
    steps.append(
        Convolution("stem", "x", signature.shape[0], first.width, kernel, first.stride, False, True, genome.stem_coding,
                    "input", "stage0")
    )  # fmt: skip
    source = "stem"
    for number, stage in enumerate(genome.stages):
        group = f"stage{number}"
        before = genome.stages[number - 1].width if number else 0
        added, source = _stage(genome.nodes, genome.cell, genome.reduction, stage, number, before, source)
        steps += added
    return with_answer(steps, source, genome.stages[-1].width, genome.head_coding, group, signature)


def with_answer(
    steps: list[Step], source: str, width: int, coding: str, group: str, signature: Signature
) -> Plan:  # fmt: skip
    """Return the plan that ends as every network does: mean over positions, linear layer, units of the target.

    Args:
        steps: Of the network so far.
        source: Name of the last of them that counts.
        width: Its channels.
        coding: Of the linear layer.
        group: Of these channels.
        signature: Of the data.
    """
    ended = [*steps]
    if len(signature.shape) > 1:
        ended.append(Mean("mean", source))
        source = "mean"
    ended.append(Linear("head", source, width, signature.outputs, coding, group))
    if signature.task == "regression":
        ended.append(Rescaling("answer", "head"))
    return Plan(signature, tuple(ended))


def channel_counts(genome: Genome) -> dict[str, int]:
    """Return the number of channels of each group that stay in the file."""
    return {f"stage{number}": stage.kept for number, stage in enumerate(genome.stages)}


def depthwise_coding(coding: str) -> str:
    """Return the coding of the depthwise filters in a stage of this coding."""
    return DEPTHWISE_CODINGS.get(coding, "int8")


@lru_cache(maxsize=10_000)
def _stage(
    nodes: int, cell: tuple[str, ...], reduction: str, stage: Stage, number: int, before: int, source: str
) -> tuple[tuple[Step, ...], str]:
    """Return the steps of a stage and the name of its output; neighbours of a network have most stages in common."""
    steps: list[Step] = []
    group = f"stage{number}"
    if number:
        steps += _unit(f"{group}_reduction", source, reduction, before, stage.width, stage.stride,
                       stage.coding, f"stage{number - 1}", group)  # fmt: skip
        source = steps[-1].name
    for depth in range(stage.depth):
        first = f"{group}_0" if depth and stage.is_shared else ""
        source = _cell(steps, nodes, cell, stage, f"{group}_{depth}", source, group, first)
    return tuple(steps), source


@lru_cache(maxsize=10_000)
def _wires(nodes: int, cell: tuple[str, ...]) -> tuple[tuple[int, tuple[tuple[int, str], ...]], ...]:
    """Return each node that the input reaches, with the nodes that it takes from and what is done on the way."""
    reached, found = {0}, []
    for target in range(1, nodes):
        into = tuple(
            (start, op)
            for (start, end), op in zip(edges(nodes), cell, strict=True)
            if end == target and op != "none" and start in reached
        )
        if into:
            reached.add(target)
            found.append((target, into))
    return tuple(found)


def _cell(
    steps: list[Step],
    nodes: int,
    cell: tuple[str, ...],
    stage: Stage,
    name: str,
    source: str,
    group: str,
    first: str,
) -> str:
    """Add one cell, with the codes of the first if it is named; without a path from input to output it adds nothing."""
    values = {0: source}
    for target, into in _wires(nodes, cell):
        parts = tuple(
            [_operation(steps, name, f"_{start}{target}", values[start], op, stage, group, first) for start, op in into]
        )
        if len(parts) == 1:
            values[target] = parts[0]
        else:
            values[target] = f"{name}_{target}"
            steps.append(Addition(values[target], parts))
    return values.get(nodes - 1, source)


def _operation(
    steps: list[Step], cell: str, edge: str, source: str, op: str, stage: Stage, group: str, first: str
) -> str:
    if op == "skip":
        return source
    name = cell + edge
    if op in ("average3", "max3"):
        steps.append(Pooling(name, source, op[:-1]))
        return name
    shared = first and first + edge
    steps += _unit(name, source, op, stage.width, stage.width, 1, stage.coding, group, group, shared)
    return name


@lru_cache(maxsize=10_000)
def _unit(
    name: str,
    source: str,
    op: str,
    width_in: int,
    width_out: int,
    stride: int,
    coding: str,
    group_in: str,
    group_out: str,
    shared: str = "",
) -> tuple[Step, ...]:
    """Return a dense convolution, or a depthwise one and a pointwise one, whose name is the unit's.

    They have the codes of the unit named `shared`, or codes of their own.
    """
    steps: list[Step] = []
    kernel = int(op[-1])
    if op.startswith("separable"):
        steps.append(
            Convolution(f"{name}_depthwise", source, width_in, width_in, kernel, stride, True, False,
                        depthwise_coding(coding), group_in, group_in, shared_with=shared and f"{shared}_depthwise")
        )  # fmt: skip
        source, kernel, stride = f"{name}_depthwise", 1, 1
    steps.append(
        Convolution(name, source, width_in, width_out, kernel, stride, False, True, coding, group_in, group_out,
                    shared_with=shared)
    )  # fmt: skip
    return tuple(steps)
