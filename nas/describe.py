"""What a card says of a cell network in words, and what the report draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compression.codings import coding_named
from engine.trial import Point, Trial
from nas.cells import Genome, edges

__all__ = ["describe"]


def describe(genome: Genome, point: Point, trials: Sequence[Trial]) -> dict[str, Any]:
    """Return description, compression steps and the graph of the cell.

    Args:
        genome: Of the winner.
        point: As the search scored it.
        trials: All trials, for the reason where nothing was removed.
    """
    stages = genome.stages
    words = ", ".join(
        f"{stage.kept} channels {stage.coding}" + (f" in {stage.depth} cells" if stage.depth else "")
        for stage in stages
    )
    return {
        "description": f"{len(stages)} stage{'s' if len(stages) > 1 else ''}: {words}",
        "steps": [_removal(genome, point, trials), *_thinning(genome), _quantization(genome)],
        "graph": _graph(genome),
    }


def _removal(genome: Genome, point: Point, trials: Sequence[Trial]) -> dict[str, str]:
    cut = [
        f"stage {number}: {stage.kept} of {stage.width}"
        for number, stage in enumerate(genome.stages)
        if stage.kept < stage.width
    ]
    if cut:
        return {
            "step": "channels removed",
            "detail": "by L1 norm and gain, after a quarter of the training; kept " + "; ".join(cut),
        }
    limit = point.values["bytes"]
    rivals = [
        other.values["error"]
        for trial in trials
        for other in trial.points
        if other.values["bytes"] <= limit and any(_is_cut(name, value) for name, value in other.candidate.values)
    ]
    found = f"the best of {len(rivals)} tried had {min(rivals):.2%}" if rivals else "none that small was tried"
    return {
        "step": "channels kept at 100 %",
        "detail": f"no network with removed channels did better than {point.values['error']:.2%} in "
        f"{limit:.0f} bytes: {found}",
    }


def _thinning(genome: Genome) -> list[dict[str, str]]:
    shares = {number: coding_named(stage.coding).density for number, stage in enumerate(genome.stages)}
    parts = [f"stage {number}: {share:.0%} of the weights stay" for number, share in shares.items() if share < 1]
    detail = "by magnitude, in steps while training went on; " + "; ".join(parts)
    return [{"step": "small weights removed", "detail": detail}] if parts else []


def _is_cut(name: str, value: object) -> bool:
    return name.endswith(".keep") and isinstance(value, float) and value < 1.0


def _quantization(genome: Genome) -> dict[str, str]:
    parts = [f"first layer {genome.stem_coding}"]
    parts += [f"stage {number} {stage.coding}" for number, stage in enumerate(genome.stages)]
    return {
        "step": "weights quantized",
        "detail": "in training, a scale for each channel: " + ", ".join([*parts, f"last layer {genome.head_coding}"]),
    }


def _graph(genome: Genome) -> dict[str, Any]:
    used = [(s, t, op) for (s, t), op in zip(edges(genome.nodes), genome.cell, strict=True) if op != "none"]
    names = {0: "input", genome.nodes - 1: "output"}
    inner = sorted({node for link in used for node in link[:2]} - set(names))
    names |= {node: f"sum {place + 1}" for place, node in enumerate(inner)}
    return {
        "nodes": [names[node] for node in sorted(names)],
        "edges": [[names[source], names[target], op] for source, target, op in used],
    }
