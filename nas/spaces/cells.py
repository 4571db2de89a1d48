"""Stacks of searched cells, for images: `+space=cells`."""

from __future__ import annotations

from typing import Any

from engine.data import Signature
from engine.errors import DataError
from engine.space import Candidate
from nas.cells import CellOptions, CellsSettings, Genome, cells_space, edges
from nas.describe import Description, Part
from nas.network import channel_counts, plan_of
from nas.portfolio import portfolio
from nas.space import NetworkSpace

__all__ = ["SPACE", "canonical", "describe", "genome_of", "portfolio_of"]


def _check(signature: Signature) -> None:
    """Raise unless the data are images of two or more classes."""
    if signature.kind != "images" or signature.task != "classification":
        raise DataError(
            f"The space cells classifies images (N x C x H x W), got a {signature.kind} for {signature.task}. "
            "Use images: data=digits, data=npz or data=images; for signals +space=cells1d, for tables +space=mlp."
        )


def genome_of(candidate: Candidate, settings: CellOptions) -> Genome:
    """Read a candidate."""
    return Genome.of(candidate, settings.nodes)


def canonical(genome: Genome, settings: CellOptions) -> Genome:
    """Return the representative of all genomes that build the same network."""
    return genome.canonical(settings)


def portfolio_of(settings: CellOptions, signature: Signature) -> list[Candidate]:
    """Return plain networks of many widths."""
    return portfolio(settings, min(signature.shape[1:]))


def describe(genome: Genome) -> Description:
    """Return the stages in words, and the graph of the cell."""
    stages = genome.stages
    words = ", ".join(
        f"{stage.kept} channels {stage.coding}"
        + (f" in {stage.depth} cells" if stage.depth else "")
        + (" that share their weights" if stage.is_shared else "")
        for stage in stages
    )
    return Description(
        f"{len(stages)} stage{'s' if len(stages) > 1 else ''}: {words}",
        [Part(f"stage {n}", stage.width, stage.kept, stage.coding) for n, stage in enumerate(stages)],
        {"first layer": genome.stem_coding, "last layer": genome.head_coding},
        _graph(genome),
    )


def _graph(genome: Genome) -> dict[str, Any]:
    used = [(s, t, op) for (s, t), op in zip(edges(genome.nodes), genome.cell, strict=True) if op != "none"]
    names = {0: "input", genome.nodes - 1: "output"}
    inner = sorted({node for link in used for node in link[:2]} - set(names))
    names |= {node: f"sum {place + 1}" for place, node in enumerate(inner)}
    return {
        "nodes": [names[node] for node in sorted(names)],
        "edges": [[names[source], names[target], op] for source, target, op in used],
    }


SPACE = NetworkSpace(
    CellsSettings, _check, cells_space, genome_of, canonical, plan_of, channel_counts, portfolio_of, describe
)  # fmt: skip
