"""Inverted residual stages, for images: `+space=mobile`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, lru_cache
from typing import Any, final

from compression.codings import CODINGS, coding_named
from compression.nets.plan import Addition, Convolution, Plan, Step
from engine.data import Signature
from engine.errors import DataError, SettingsError
from engine.space import Candidate, Choice, Condition, Domain, Int, Space
from nas.describe import Description, Part
from nas.network import depthwise_coding, with_answer
from nas.ranges import EXECUTIONS, option_problems
from nas.space import NetworkSpace

__all__ = ["SPACE", "Genome", "MobileSettings", "Stage", "plan_of"]

LEAST_SIDE = 3  # positions along a side that the last stage of a member of the portfolio keeps
MEMBERS = 7


@final
@dataclass(frozen=True)
class MobileSettings:
    """What `conf/space/mobile.yaml` may set.

    Args:
        name: Of the space.
        stages: Most stages.
        widths: Channels of the first layer and of a stage, before channels are removed.
        depths: Blocks in a stage.
        expansions: How many times wider a block is inside; 1 leaves the first layer of a block out.
        kernels: Side length of the depthwise filters.
        codings: Of the weights of a stage.
        edge_codings: Of the first and of the last layer.
        keeps: Share of the channels that stay, inside the blocks and between them.
        shares: Whether all blocks of a stage but its first have the same weights.
        executions: How networks compute: `float`, or `integer` (activations of eight bits too); null is both where
            latency is the cost, and otherwise float.
        views: Of how many views of an image a file answers with the mean: 1, itself, or 2, its mirror image too; null
            is both where `train.flip` is set and networks compute with floats, and otherwise 1.
    """

    name: str = "mobile"
    stages: int = 4
    widths: tuple[int, ...] = (4, 6, 8, 12, 16, 24, 32, 48)
    depths: tuple[int, ...] = (1, 2, 3, 4)
    expansions: tuple[int, ...] = (1, 2, 3, 4, 6)
    kernels: tuple[int, ...] = (3, 5)
    codings: tuple[str, ...] = ("ternary", "sparse4", "int2", "int4", "int8", "float16", "float32")
    edge_codings: tuple[str, ...] = ("int4", "int8")
    keeps: tuple[float, ...] = (0.5, 0.75, 1.0)
    shares: tuple[bool, ...] = (False, True)
    executions: tuple[str, ...] | None = None
    views: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        problems = [f"space.name must be mobile, got {self.name}."] if self.name != "mobile" else []
        problems += option_problems(
            self,
            named={"codings": CODINGS, "edge_codings": CODINGS, "executions": EXECUTIONS},
            numbers={"widths": (1, 4096), "depths": (1, 64), "expansions": (1, 16), "kernels": (1, 9),
                     "keeps": (1e-9, 1.0), "views": (1, 2)},
            single={"stages": (1, 8)},
        )  # fmt: skip
        if any(kernel % 2 == 0 for kernel in self.kernels):
            problems.append(f"space.kernels must be odd, got {list(self.kernels)}.")
        if not self.shares or len(set(self.shares)) < len(self.shares):
            problems.append(f"space.shares must hold false, true or both, got {list(self.shares)}.")
        if problems:
            raise SettingsError("\n".join(problems))


@final
@dataclass(frozen=True)
class Stage:
    """Blocks of one width; the first may change the width and halve the image."""

    width: int
    depth: int
    expansion: int
    kernel: int
    stride: int
    coding: str
    keep: float
    shared: bool

    @property
    def kept(self) -> int:
        """Channels between blocks that stay."""
        return _kept(self.width, self.keep)

    @property
    def may_share(self) -> bool:
        """Whether there are blocks with codes to share; float weights have their normalisation folded in."""
        return self.depth > 2 and coding_named(self.coding).is_integer

    def kept_inside(self, width_in: int) -> int:
        """Return the channels that stay inside a block whose input has this width before channels are removed."""
        return _kept(width_in * self.expansion, self.keep)


@final
@dataclass(frozen=True)
class Genome:
    """A first layer and stages of inverted residual blocks, frozen and JSON."""

    width: int
    stride: int
    stages: tuple[Stage, ...]
    stem_coding: str
    head_coding: str

    def candidate(self) -> Candidate:
        """Return the candidate that `genome_of` reads."""
        genes: dict[str, Any] = {"stages": len(self.stages)}
        genes |= {"stem.width": self.width, "stem.stride": self.stride}
        for number, stage in enumerate(self.stages):
            values = (stage.width, stage.depth, stage.expansion, stage.kernel, stage.stride, stage.coding, stage.keep)
            genes |= zip(_stage_genes(number), (*values, stage.shared), strict=True)
        return Candidate.of({**genes, "stem.coding": self.stem_coding, "head.coding": self.head_coding})


def genome_of(candidate: Candidate, settings: MobileSettings) -> Genome:  # noqa: ARG001
    """Read a candidate of `mobile_space`."""
    genes = candidate.genes
    stages = tuple([_stage(*map(genes.get, _stage_genes(number))) for number in range(int(genes["stages"]))])
    stem: tuple[Any, Any] = (genes["stem.width"], genes["stem.stride"])
    return Genome(*stem, stages, str(genes["stem.coding"]), str(genes["head.coding"]))


@lru_cache(maxsize=10_000)
def _stage(*values: Any) -> Stage:
    """Return the stage with these values; candidates that are compared have most in common."""
    return Stage(*values)


@cache
def _stage_genes(number: int) -> tuple[str, ...]:
    """Return the names of the genes of a stage, in the order of its fields."""
    return tuple(f"stage{number}.{field.name}" for field in fields(Stage))


def mobile_space(settings: MobileSettings) -> Space:
    """Return the space as data.

    Example:
        >>> mobile_space(MobileSettings(stages=1)).domains["stage0.kernel"].options
        (3, 5)
    """
    domains: dict[str, Domain] = {
        "stages": Int(1, settings.stages),
        "stem.width": Choice(settings.widths, ordered=True),
        "stem.stride": Choice((1, 2)),
    }
    conditions = {}
    for number in range(settings.stages):
        stage: dict[str, Domain] = {
            "width": Choice(settings.widths, ordered=True),
            "depth": Choice(settings.depths, ordered=True),
            "expansion": Choice(settings.expansions, ordered=True),
            "kernel": Choice(settings.kernels, ordered=True),
            "stride": Choice((1, 2)),
            "coding": Choice(settings.codings, ordered=True),
            "keep": Choice(settings.keeps, ordered=True),
            "shared": Choice(settings.shares),
        }
        for gene, domain in stage.items():
            domains[f"stage{number}.{gene}"] = domain
            if number:
                conditions[f"stage{number}.{gene}"] = Condition("stages", tuple(range(number + 1, settings.stages + 1)))
    domains |= {f"{layer}.coding": Choice(settings.edge_codings, ordered=True) for layer in ("stem", "head")}
    return Space(domains, conditions)


def canonical(genome: Genome, settings: MobileSettings) -> Genome:
    """Return the representative of all genomes that build the same network: first values where others do the same."""
    stages = []
    width_in = genome.width
    for stage in genome.stages:
        stages.append(_canonical_stage(stage, width_in, settings))
        width_in = stage.width
    return replace(genome, stages=tuple(stages))


@lru_cache(maxsize=10_000)
def _canonical_stage(stage: Stage, width_in: int, settings: MobileSettings) -> Stage:
    counts = _counts(stage, width_in)
    keep = next(keep for keep in settings.keeps if _counts(replace(stage, keep=keep), width_in) == counts)
    return replace(stage, keep=keep, shared=stage.shared if stage.may_share else settings.shares[0])


def plan_of(genome: Genome, signature: Signature) -> Plan:
    """Return the plan at full widths, before channels are removed.

    A block widens its input by a 1 x 1 convolution, filters each channel, and narrows it by a linear 1 x 1 convolution;
    input and output are added where they have the same shape.

    Args:
        genome: What to build.
        signature: Images (C, H, W); classification or regression.

    Source: Sandler et al. (2018), arXiv:1801.04381, table 1; ReLU instead of ReLU6, which only fixed point needs.
    """
    channels = signature.shape[0]
    steps: list[Step] = [
        Convolution("stem", "x", channels, genome.width, 3, genome.stride, False, True, genome.stem_coding, "input",
                    "stem")
    ]  # fmt: skip
    source, group, width = "stem", "stem", genome.width
    for number, stage in enumerate(genome.stages):
        for depth in range(stage.depth):
            into = group if _is_residual(genome, number, depth) else f"stage{number}"
            shared = f"stage{number}_1" if stage.shared and stage.may_share and depth > 1 else ""
            name, stride = f"stage{number}_{depth}", 1 if depth else stage.stride
            block = _block(name, source, stage, width, stride, group, into, shared)
            steps += block
            source, group, width = block[-1].name, into, stage.width
    return with_answer(steps, source, width, genome.head_coding, group, signature)


def channel_counts(genome: Genome) -> dict[str, int]:
    """Return the number of channels of each group that stay in the file."""
    counts: dict[str, int] = {}
    width_in = genome.width
    for number, stage in enumerate(genome.stages):
        if not _is_residual(genome, number, 0):
            counts[f"stage{number}"] = stage.kept
        for depth in range(stage.depth):
            if stage.expansion > 1:
                name = 1 if depth > 1 and stage.shared and stage.may_share else depth
                counts[f"stage{number}_{name}_inside"] = stage.kept_inside(stage.width if depth else width_in)
        width_in = stage.width
    return counts


def _kept(width: int, keep: float) -> int:
    return max(1, round(width * keep))


def _counts(stage: Stage, width_in: int) -> tuple[int, ...]:
    """Return all channels of a stage that depend on its share."""
    inside = {width_in, stage.width} if stage.depth > 1 else {width_in}
    return (stage.kept, *(stage.kept_inside(width) for width in sorted(inside) if stage.expansion > 1))


def _is_residual(genome: Genome, number: int, depth: int) -> bool:
    """Say whether a block gives what it takes: the same channels, as many positions."""
    if depth:
        return True
    stage = genome.stages[number]
    if number == 0:
        return stage.stride == 1 and genome.width == stage.width == stage.kept
    before = genome.stages[number - 1]
    return stage.stride == 1 and (before.width, before.kept) == (stage.width, stage.kept)


@lru_cache(maxsize=10_000)
def _block(
    name: str,
    source: str,
    stage: Stage,
    width: int,
    stride: int,
    group_in: str,
    group_out: str,
    shared: str,
) -> tuple[Step, ...]:
    """Return the steps of one block, its output last; neighbours of a network have most blocks in common."""
    steps: list[Step] = []
    inside, group, into = width * stage.expansion, group_in, source
    if stage.expansion > 1:
        group, into = f"{shared or name}_inside", f"{name}_expanded"
        steps.append(
            Convolution(into, source, width, inside, 1, 1, False, True, stage.coding, group_in, group,
                        shared_with=shared and f"{shared}_expanded")
        )  # fmt: skip
    coding = depthwise_coding(stage.coding)
    steps += [
        Convolution(f"{name}_filtered", into, inside, inside, stage.kernel, stride, True, True, coding, group, group,
                    shared_with=shared and f"{shared}_filtered"),
        Convolution(name, f"{name}_filtered", inside, stage.width, 1, 1, False, True, stage.coding, group, group_out,
                    is_linear=True, shared_with=shared),
    ]  # fmt: skip
    if group_in == group_out:
        steps.append(Addition(f"{name}_sum", (source, name)))
    return tuple(steps)


def portfolio(settings: MobileSettings, signature: Signature) -> Sequence[Candidate]:
    """Return networks from narrow to wide: three stages that widen, of one or two blocks three times wider inside."""
    side = min(signature.shape[1:])
    count = min(3, settings.stages)
    halvings = min(count + 1, max(0, math.floor(math.log2(side / LEAST_SIDE))))
    found = []
    for place, width in enumerate(sorted(settings.widths)[:MEMBERS]):
        stages = tuple(
            Stage(
                _nearest(width * (number + 1), settings.widths),
                _nearest(2 if number and place >= MEMBERS // 2 else 1, settings.depths),
                _nearest(3, settings.expansions),
                _nearest(3, settings.kernels),
                2 if count - number <= halvings else 1,
                "int4" if "int4" in settings.codings else settings.codings[0],
                max(settings.keeps),
                settings.shares[0],
            )
            for number in range(count)
        )
        edge = settings.edge_codings[-1]
        genome = Genome(width, 2 if halvings > count else 1, stages, edge, edge)
        found.append(canonical(genome, settings).candidate())
    return list(dict.fromkeys(found))


def _nearest(value: int, options: Sequence[int]) -> int:
    return min(options, key=lambda option: (abs(option - value), option))


def describe(genome: Genome) -> Description:
    """Return the stages in words, and a chain of them."""
    words = [
        f"{stage.kept} channels {stage.coding} in {stage.depth} block{'s' if stage.depth > 1 else ''}"
        + (" that share their weights" if stage.shared and stage.may_share else "")
        for stage in genome.stages
    ]
    names = ["input", "first layer", *(f"stage {number}" for number in range(len(genome.stages)))]
    labels = [f"{genome.width} channels"]
    labels += [f"{s.depth} x {s.kernel}x{s.kernel}, {s.expansion}-fold" for s in genome.stages]
    return Description(
        f"{len(words)} stage{'s' if len(words) > 1 else ''} of inverted residual blocks: {', '.join(words)}",
        [Part(f"stage {n}", stage.width, stage.kept, stage.coding) for n, stage in enumerate(genome.stages)],
        {"first layer": genome.stem_coding, "last layer": genome.head_coding},
        {"nodes": names, "edges": [[a, b, label] for a, b, label in zip(names, names[1:], labels, strict=False)]},
    )


def _check(signature: Signature) -> None:
    """Raise unless the data are images."""
    if signature.kind != "images":
        raise DataError(
            f"The space mobile takes images (N x C x H x W), got {signature.kind}. Use images: data=digits, "
            "data=npz or data=images; for signals +space=cells1d, for tables +space=mlp."
        )


SPACE = NetworkSpace(
    MobileSettings, _check, mobile_space, genome_of, canonical, plan_of, channel_counts, portfolio, describe
)  # fmt: skip
