"""Plain networks of many widths: what a search of cells begins with."""

from __future__ import annotations

import math
from collections.abc import Sequence

from engine.space import Candidate
from nas.cells import CellOptions, Genome, Stage, edges, is_convolution

__all__ = ["portfolio"]

MEMBERS = 7
STAGES = 3
LEAST_SIDE = 3  # positions along a side that the last stage keeps


def portfolio(settings: CellOptions, side: int) -> list[Candidate]:
    """Return plain networks from narrow to wide: one convolution after another, twice and three times as wide.

    Dense 3 x 3 convolutions in the coarsest coding that the space holds are near the front of every image set that was
    tried, and quick to train.

    Args:
        settings: Of the space; no candidate leaves it.
        side: Positions along the shorter side of an image, or of a signal.

    Example:
        >>> from nas.cells import CellsSettings
        >>> len(portfolio(CellsSettings(), 28))
        7
    """
    known = [op for op in ("conv3", *sorted(settings.operations)) if op in settings.operations and is_convolution(op)]
    if not known:
        return []
    op, n_edges = known[0], len(edges(settings.nodes))
    to_output = edges(settings.nodes).index((0, settings.nodes - 1))
    cell = tuple(op if place == to_output else "none" for place in range(n_edges))
    reduction = op if op in settings.reductions else "conv3"
    count = min(STAGES, settings.stages)
    halvings = min(count, max(0, math.floor(math.log2(side / LEAST_SIDE))))
    longest = max(settings.strides)
    stride = longest if side / longest**count >= LEAST_SIDE else 2
    found = []
    for width in sorted(settings.widths)[:MEMBERS]:
        stages = tuple(
            Stage(
                _nearest(width * (number + 1), settings.widths),
                _nearest(int(number == min(1, count - 1)), settings.depths),
                _nearest(stride if number in _halved(count, halvings) else 1, settings.strides),
                "ternary" if "ternary" in settings.codings else settings.codings[0],
                max(settings.keeps),
                settings.shares[0] if settings.shares else None,
            )
            for number in range(count)
        )
        edge = settings.edge_codings[-1]
        found.append(Genome(settings.nodes, cell, stages, reduction, edge, edge).canonical(settings).candidate())
    return list(dict.fromkeys(found))


def _halved(count: int, halvings: int) -> set[int]:
    """Return the stages that halve the image: all but the stem first, for details that a small image cannot spare."""
    return set([*range(1, count), 0][:halvings])


def _nearest(value: int, options: Sequence[int]) -> int:
    return min(options, key=lambda option: (abs(option - value), option))
