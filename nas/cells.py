"""The genome of the `cells` space, and the canonical form of a cell."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, lru_cache
from typing import Any, Protocol, final

from compression.codings import CODINGS, coding_named
from engine.errors import SettingsError
from engine.space import Candidate, Choice, Condition, Domain, Int, Space
from nas.ranges import EXECUTIONS, option_problems

__all__ = [
    "OPERATIONS",
    "CellOptions",
    "CellsSettings",
    "Genome",
    "Stage",
    "canonical_cell",
    "cell_problems",
    "cells_space",
    "edges",
    "is_convolution",
]

OPERATIONS = ("none", "skip", "conv1", "conv3", "separable3", "separable5", "average3", "max3")
REDUCTIONS = ("conv1", "conv3", "separable3")


@final
@dataclass(frozen=True)
class CellsSettings:
    """What `conf/space/cells.yaml` may set.

    Args:
        name: Of the space.
        nodes: Of a cell, input and output included.
        operations: That an edge may have.
        stages: Most stages.
        widths: Channels of a stage, before channels are removed.
        depths: Cells in a stage.
        codings: Of the weights of a stage.
        edge_codings: Of the first and of the last layer.
        keeps: Share of the channels of a stage that stay.
        executions: How networks compute: `float`, or `integer` (activations of eight bits too); null is both where
            latency is the cost, and otherwise float.
        views: Of how many views of an image a file answers with the mean: 1, itself, or 2, its mirror image too; null
            is both where `train.flip` is set and networks compute with floats, and otherwise 1.
    """

    name: str = "cells"
    nodes: int = 4
    operations: tuple[str, ...] = OPERATIONS
    stages: int = 3
    widths: tuple[int, ...] = (4, 6, 8, 12, 16, 24, 32, 48, 64)
    depths: tuple[int, ...] = (0, 1, 2)
    codings: tuple[str, ...] = ("ternary", "sparse4", "int2", "int4", "int8", "float16", "float32")
    edge_codings: tuple[str, ...] = ("int4", "int8")
    keeps: tuple[float, ...] = (0.5, 0.75, 1.0)
    executions: tuple[str, ...] | None = None
    views: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        problems = [f"space.name must be cells, got {self.name}."] if self.name != "cells" else []
        problems += cell_problems(self, OPERATIONS)
        problems += option_problems(self, named={}, numbers={"views": (1, 2)}, single={})
        if problems:
            raise SettingsError("\n".join(problems))

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the layer that leads into a stage."""
        return (1, 2)

    @property
    def reductions(self) -> tuple[str, ...]:
        """Between two stages."""
        return REDUCTIONS

    @property
    def shares(self) -> tuple[bool, ...]:
        """Whether the cells of a stage share their weights: no gene here."""
        return ()


class CellOptions(Protocol):
    """What the genes of cells may be; each space of cells has settings of this form."""

    @property
    def nodes(self) -> int: ...  # noqa: D102
    @property
    def operations(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def stages(self) -> int: ...  # noqa: D102
    @property
    def widths(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def depths(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def codings(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def edge_codings(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def keeps(self) -> tuple[float, ...]: ...  # noqa: D102
    @property
    def strides(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def reductions(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def shares(self) -> tuple[bool, ...]: ...  # noqa: D102
    @property
    def executions(self) -> tuple[str, ...] | None: ...  # noqa: D102


def cell_problems(settings: CellOptions, operations: Sequence[str]) -> list[str]:
    """Return what is wrong with the settings of a space of cells.

    Args:
        settings: Of the space.
        operations: That an edge may have in it.
    """
    problems = option_problems(
        settings,
        named={"operations": operations, "codings": CODINGS, "edge_codings": CODINGS, "executions": EXECUTIONS},
        numbers={"widths": (1, 4096), "depths": (0, 64), "strides": (1, 8), "keeps": (1e-9, 1.0)},
        single={"nodes": (2, 6), "stages": (1, 6)},
    )
    if settings.operations and "none" not in settings.operations:
        problems.append("space.operations must hold none: it stands where a cell has no edge.")
    return problems


@final
@dataclass(frozen=True)
class Stage:
    """Cells of one width: `width` channels while training starts, `kept` in the file.

    `shared` tells whether all cells have the weights of the first; None where the space has no such gene.
    """

    width: int
    depth: int
    stride: int
    coding: str
    keep: float
    shared: bool | None = None

    @property
    def kept(self) -> int:
        """Channels that stay."""
        return max(1, round(self.width * self.keep))

    @property
    def may_share(self) -> bool:
        """Whether there are cells with codes to share; float weights have their normalisation folded in."""
        return self.depth > 1 and coding_named(self.coding).is_integer

    @property
    def is_shared(self) -> bool:
        """Whether the cells share codes."""
        return bool(self.shared) and self.may_share


@final
@dataclass(frozen=True)
class Genome:
    """A stack of cells, frozen and JSON.

    Args:
        nodes: Of the cell.
        cell: Operation of each edge, in the order of `edges(nodes)`.
        stages: In order; the stride of the first is the stem's.
        reduction: How one stage passes to the next.
        stem_coding: Of the first layer.
        head_coding: Of the last layer.
    """

    nodes: int
    cell: tuple[str, ...]
    stages: tuple[Stage, ...]
    reduction: str
    stem_coding: str
    head_coding: str

    @staticmethod
    def of(candidate: Candidate, nodes: int) -> Genome:
        """Read a candidate of `cells_space`."""
        genes: Mapping[str, Any] = candidate.genes
        stages = tuple([_stage(*map(genes.get, _stage_genes(number))) for number in range(genes["stages"])])
        cell = tuple([genes[gene] for gene in _cell_genes(nodes)])
        return Genome(nodes, cell, stages, genes.get("reduction", "conv1"), genes["stem.coding"], genes["head.coding"])

    def candidate(self) -> Candidate:
        """Return the candidate that `of` reads."""
        genes: dict[str, Any] = {"stages": len(self.stages)}
        genes |= zip(_cell_genes(self.nodes), self.cell, strict=True)
        for number, stage in enumerate(self.stages):
            values = (stage.width, stage.depth, stage.stride, stage.coding, stage.keep, stage.shared)
            genes |= zip(_stage_genes(number), values, strict=True)
            if stage.shared is None:
                del genes[_stage_genes(number)[-1]]
        if len(self.stages) > 1:
            genes["reduction"] = self.reduction
        return Candidate.of({**genes, "stem.coding": self.stem_coding, "head.coding": self.head_coding})

    def canonical(self, settings: CellOptions) -> Genome:
        """Return the representative of all genomes that build the same network.

        Dead edges become `none`; skips that only rename a node are contracted; inner nodes are renumbered; genes that
        change nothing take their first value.

        Args:
            settings: Of the space; the representative uses no value that they do not hold.
        """
        cell = canonical_cell(self.cell, self.nodes)
        stages = [_with_first_keep(stage, settings.keeps) for stage in self.stages]
        empty = ("none",) * len(cell)
        if cell == empty:
            stages = [replace(stage, depth=min(settings.depths)) for stage in stages]
        if not any(stage.depth for stage in stages):
            cell = empty
        has_weights = any(map(is_convolution, cell))
        if stages[0].depth == 0 or not has_weights:
            stages[0] = replace(stages[0], coding=settings.codings[0])
        if settings.shares:
            stages = [
                stage if stage.may_share and has_weights else replace(stage, shared=settings.shares[0])
                for stage in stages
            ]
        return replace(self, cell=cell, stages=tuple(stages))


@lru_cache(maxsize=10_000)
def _stage(*values: Any) -> Stage:
    """Return the stage with these values; candidates that are compared have most in common."""
    return Stage(*values)


@lru_cache(maxsize=10_000)
def _with_first_keep(stage: Stage, keeps: Sequence[float]) -> Stage:
    """Return a stage with the first share that leaves as many channels as its own."""
    same = (replace(stage, keep=keep) for keep in keeps)
    return next((other for other in same if other.kept == stage.kept), stage)


@cache
def _stage_genes(number: int) -> tuple[str, ...]:
    """Return the names of the genes of a stage, in the order of its fields."""
    return tuple(f"stage{number}.{field.name}" for field in fields(Stage))


@cache
def _cell_genes(nodes: int) -> tuple[str, ...]:
    """Return the names of the genes of a cell, in the order of its edges."""
    return tuple(f"cell.{source}{target}" for source, target in edges(nodes))


@cache
def is_convolution(operation: str) -> bool:
    """Say whether an operation has weights."""
    return operation.startswith(("conv", "separable"))


@cache
def edges(nodes: int) -> tuple[tuple[int, int], ...]:
    """Return the edges of a cell, (source, target), in the order of targets.

    Example:
        >>> edges(3)
        ((0, 1), (0, 2), (1, 2))
    """
    return tuple((source, target) for target in range(1, nodes) for source in range(target))


def canonical_cell(cell: Sequence[str], nodes: int) -> tuple[str, ...]:
    """Return the representative of all cells that compute the same function; all `none` for the identity.

    Args:
        cell: Operation of each edge, in the order of `edges(nodes)`.
        nodes: Of the cell.
    """
    return _canonical_cell(tuple(cell), nodes)


@lru_cache(maxsize=10_000)
def _canonical_cell(cell: tuple[str, ...], nodes: int) -> tuple[str, ...]:
    links = [(s, t, op) for (s, t), op in zip(edges(nodes), cell, strict=True) if op != "none"]
    links, output = _contracted(_live(links, nodes - 1), nodes - 1)
    if output == 0 or not links:
        return ("none",) * len(cell)
    inner = sorted({node for link in links for node in link[:2]} - {0, output})
    best: tuple[str, ...] | None = None
    for order in itertools.permutations(inner):
        placed = _placed(links, [0, *order, output], nodes)
        if placed is not None and (best is None or placed < best):
            best = placed
    if best is None:
        raise AssertionError(f"no place for the cell {tuple(cell)}")
    return best


def _live(links: list[tuple[int, int, str]], output: int) -> list[tuple[int, int, str]]:
    """Keep the links on a path from node 0 to the output."""
    ahead, behind = {0}, {output}
    for source, target, _ in sorted(links, key=lambda link: link[1]):
        if source in ahead:
            ahead.add(target)
    for source, target, _ in sorted(links, key=lambda link: -link[1]):
        if target in behind:
            behind.add(source)
    return [link for link in links if link[0] in ahead & behind and link[1] in ahead & behind]


def _contracted(links: list[tuple[int, int, str]], output: int) -> tuple[list[tuple[int, int, str]], int]:
    """Merge each node whose only input is a skip with the node before it; two nodes may get several links."""
    while True:
        incoming: dict[int, list[tuple[int, int, str]]] = {}
        for link in links:
            incoming.setdefault(link[1], []).append(link)
        alias = next(
            (found[0] for _, found in sorted(incoming.items()) if len(found) == 1 and found[0][2] == "skip"), None
        )
        if alias is None:
            return links, output
        source, gone, _ = alias
        links = [
            (source if s == gone else s, source if t == gone else t, op) for s, t, op in links if (s, t, op) != alias
        ]
        output = source if output == gone else output


def _placed(links: Sequence[tuple[int, int, str]], order: Sequence[int], nodes: int) -> tuple[str, ...] | None:
    """Write links back as a cell, nodes in this order; a second link between two nodes goes through a skip node."""
    between: dict[tuple[int, int], list[str]] = {}
    for source, target, op in links:
        between.setdefault((source, target), []).append(op)
    aliases = dict.fromkeys(order, 0)
    for (source, _), ops in between.items():
        aliases[source] = max(aliases[source], len(ops) - 1)
    place: dict[int, int] = {}
    free = 0
    for node in order[:-1]:
        place[node] = free
        free += 1 + aliases[node]
    place[order[-1]] = nodes - 1
    if free > nodes - 1:
        return None
    made: dict[tuple[int, int], str] = {}
    for (source, target), ops in between.items():
        if place[source] >= place[target]:
            return None
        for copy, op in enumerate(sorted(ops)):
            made[(place[source] + copy, place[target])] = op
            if copy:
                made[(place[source], place[source] + copy)] = "skip"
    return tuple(made.get(edge, "none") for edge in edges(nodes))


def cells_space(settings: CellOptions) -> Space:
    """Return the space as data.

    Example:
        >>> cells_space(CellsSettings(stages=1)).domains["stage0.width"].options[:3]
        (4, 6, 8)
    """
    domains: dict[str, Domain] = {"stages": Int(1, settings.stages)}
    conditions = {}
    for number in range(settings.stages):
        stage: dict[str, Domain] = {
            "width": Choice(settings.widths, ordered=True),
            "depth": Choice(settings.depths, ordered=True),
            "stride": Choice(settings.strides),
            "coding": Choice(settings.codings, ordered=True),
            "keep": Choice(settings.keeps, ordered=True),
        }
        if settings.shares:
            stage["shared"] = Choice(settings.shares)
        for gene, domain in stage.items():
            domains[f"stage{number}.{gene}"] = domain
            if number:
                conditions[f"stage{number}.{gene}"] = Condition("stages", tuple(range(number + 1, settings.stages + 1)))
    if settings.stages > 1:
        domains["reduction"] = Choice(settings.reductions)
        conditions["reduction"] = Condition("stages", tuple(range(2, settings.stages + 1)))
    domains |= {f"cell.{source}{target}": Choice(settings.operations) for source, target in edges(settings.nodes)}
    domains |= {f"{layer}.coding": Choice(settings.edge_codings, ordered=True) for layer in ("stem", "head")}
    return Space(domains, conditions)
