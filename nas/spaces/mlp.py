"""Dense layers, for tables of numbers and small vectors: `+space=mlp`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, final

from compression.codings import CODINGS
from compression.nets.plan import Convolution, Plan, Standardisation, Step
from engine.data import Signature
from engine.errors import DataError, SettingsError
from engine.space import Candidate, Choice, Condition, Domain, Int, Space
from nas.describe import Description, Part
from nas.network import with_answer
from nas.ranges import EXECUTIONS, option_problems
from nas.space import NetworkSpace

__all__ = ["SPACE", "Genome", "Layer", "MlpSettings", "plan_of"]

MEMBERS = 6


@final
@dataclass(frozen=True)
class MlpSettings:
    """What `conf/space/mlp.yaml` may set.

    Args:
        name: Of the space.
        layers: Most hidden layers; none is a linear model.
        widths: Units of a hidden layer, before units are removed.
        codings: Of the weights of a hidden layer.
        head_codings: Of the last layer.
        keeps: Share of the units of a layer that stay.
        executions: How networks compute: `float`, or `integer` (activations of eight bits too); null is both where
            latency is the cost, and otherwise float.
    """

    name: str = "mlp"
    layers: int = 3
    widths: tuple[int, ...] = (2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128)
    codings: tuple[str, ...] = ("ternary", "sparse4", "int2", "int4", "int8", "float16", "float32")
    head_codings: tuple[str, ...] = ("int4", "int8", "float16")
    keeps: tuple[float, ...] = (0.5, 0.75, 1.0)
    executions: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        problems = [f"space.name must be mlp, got {self.name}."] if self.name != "mlp" else []
        problems += option_problems(
            self,
            named={"codings": CODINGS, "head_codings": CODINGS, "executions": EXECUTIONS},
            numbers={"widths": (1, 4096), "keeps": (1e-9, 1.0)},
            single={"layers": (0, 8)},
        )
        if problems:
            raise SettingsError("\n".join(problems))


@final
@dataclass(frozen=True)
class Layer:
    """A hidden layer: `width` units while training starts, `kept` in the file."""

    width: int
    coding: str
    keep: float

    @property
    def kept(self) -> int:
        """Units that stay."""
        return max(1, round(self.width * self.keep))


@final
@dataclass(frozen=True)
class Genome:
    """Hidden layers and the coding of the last one, frozen and JSON."""

    layers: tuple[Layer, ...]
    head_coding: str

    def candidate(self) -> Candidate:
        """Return the candidate that `genome_of` reads."""
        genes: dict[str, Any] = {"layers": len(self.layers)}
        for number, layer in enumerate(self.layers):
            genes |= {f"layer{number}.{gene}": value for gene, value in asdict(layer).items()}
        return Candidate.of({**genes, "head.coding": self.head_coding})


def genome_of(candidate: Candidate, settings: MlpSettings) -> Genome:  # noqa: ARG001
    """Read a candidate of `mlp_space`."""
    genes = candidate.genes
    layers = tuple(
        Layer(*(genes[f"layer{number}.{field.name}"] for field in fields(Layer)))  # type: ignore[arg-type]
        for number in range(int(genes["layers"]))
    )
    return Genome(layers, str(genes["head.coding"]))


def mlp_space(settings: MlpSettings) -> Space:
    """Return the space as data.

    Example:
        >>> print(mlp_space(MlpSettings(layers=0, head_codings=("int8",))))
        layers: Int(low=0, high=0, log=False)
        head.coding: Choice(options=('int8',), ordered=True)
    """
    domains: dict[str, Domain] = {"layers": Int(0, settings.layers)}
    conditions = {}
    for number in range(settings.layers):
        layer: dict[str, Domain] = {
            "width": Choice(settings.widths, ordered=True),
            "coding": Choice(settings.codings, ordered=True),
            "keep": Choice(settings.keeps, ordered=True),
        }
        for gene, domain in layer.items():
            domains[f"layer{number}.{gene}"] = domain
            conditions[f"layer{number}.{gene}"] = Condition("layers", tuple(range(number + 1, settings.layers + 1)))
    domains["head.coding"] = Choice(settings.head_codings, ordered=True)
    return Space(domains, conditions)


def canonical(genome: Genome, settings: MlpSettings) -> Genome:
    """Return the representative of all genomes that build the same network: of equal shares the first."""
    layers = [
        replace(layer, keep=next(keep for keep in settings.keeps if replace(layer, keep=keep).kept == layer.kept))
        for layer in genome.layers
    ]
    return replace(genome, layers=tuple(layers))


def plan_of(genome: Genome, signature: Signature) -> Plan:
    """Return the plan at full widths, before units are removed.

    Args:
        genome: What to build.
        signature: A table of numbers; classification or regression.
    """
    columns = signature.shape[0]
    steps: list[Step] = [Standardisation("columns", "x", (0,) * columns, (0.0,) * columns)]
    source, group, width = "columns", "input", columns
    for number, layer in enumerate(genome.layers):
        name = f"layer{number}"
        steps.append(Convolution(name, source, width, layer.width, 1, 1, False, True, layer.coding, group, name))
        source, group, width = name, name, layer.width
    return with_answer(steps, source, width, genome.head_coding, group, signature)


def channel_counts(genome: Genome) -> dict[str, int]:
    """Return the number of units of each layer that stay in the file."""
    return {f"layer{number}": layer.kept for number, layer in enumerate(genome.layers)}


def portfolio(settings: MlpSettings, signature: Signature) -> Sequence[Candidate]:  # noqa: ARG001
    """Return a linear model and networks of one and of two layers, from narrow to wide."""
    coding = "int4" if "int4" in settings.codings else settings.codings[0]
    widths = sorted(settings.widths)[1::2][:MEMBERS]
    layered: list[tuple[int, ...]] = [(), *((width,) for width in widths), *((width, width) for width in widths[2:])]
    found = [
        Genome(tuple(Layer(width, coding, max(settings.keeps)) for width in member), settings.head_codings[-1])
        for member in layered
        if len(member) <= settings.layers
    ]
    return list(dict.fromkeys(canonical(genome, settings).candidate() for genome in found))


def describe(genome: Genome) -> Description:
    """Return the layers in words, and a chain of them."""
    words = [f"{layer.kept} units {layer.coding}" for layer in genome.layers]
    names = ["columns", *(f"layer {number}" for number in range(len(words))), "output"]
    labels = [*words, f"last layer {genome.head_coding}"]
    count = f"{len(words)} hidden layer{'s' if len(words) > 1 else ''}: {', '.join(words)}"
    return Description(
        count if words else "a linear model",
        [Part(f"layer {n}", layer.width, layer.kept, layer.coding) for n, layer in enumerate(genome.layers)],
        {"last layer": genome.head_coding},
        {"nodes": names, "edges": [[a, b, label] for a, b, label in zip(names, names[1:], labels, strict=False)]},
    )


def _check(signature: Signature) -> None:
    """Raise unless the data are a table of numbers."""
    if signature.kind != "table":
        raise DataError(
            f"The space mlp takes tables of numbers, got {signature.kind}. Use a table: data=csv, "
            "data=breast_cancer or data=npz data.kind=table; for images +space=cells, for signals +space=cells1d."
        )
    if signature.categorical_columns:
        names = ", ".join(signature.categorical_columns[:5])
        more = len(signature.categorical_columns) - 5
        raise DataError(
            f"The space mlp takes tables of numbers, got columns of text: {names}"
            f"{f' and {more} more' if more > 0 else ''}. Search with python -m automl.search, which encodes them, or "
            f"leave them out: data.drop=[{', '.join(signature.categorical_columns[:5])}{', ...' if more > 0 else ''}]."
        )


SPACE = NetworkSpace(
    MlpSettings, _check, mlp_space, genome_of, canonical, plan_of, channel_counts, portfolio, describe
)  # fmt: skip
