"""Stacks of searched cells, for signals: `+space=cells1d`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from engine.data import Signature
from engine.errors import DataError, SettingsError
from nas.cells import cell_problems, cells_space
from nas.network import channel_counts, plan_of
from nas.space import NetworkSpace
from nas.spaces.cells import canonical, describe, genome_of, portfolio_of

__all__ = ["OPERATIONS", "SPACE", "Cells1dSettings"]

OPERATIONS = ("none", "skip", "conv1", "conv3", "conv5", "conv9", "separable5", "separable9", "average3", "max3")
REDUCTIONS = ("conv3", "conv5", "separable9")


@final
@dataclass(frozen=True)
class Cells1dSettings:
    """What `conf/space/cells1d.yaml` may set.

    Args:
        name: Of the space.
        nodes: Of a cell, input and output included.
        operations: That an edge may have.
        stages: Most stages.
        widths: Channels of a stage, before channels are removed.
        depths: Cells in a stage.
        strides: Of the layer that leads into a stage.
        codings: Of the weights of a stage.
        edge_codings: Of the first and of the last layer.
        keeps: Share of the channels of a stage that stay.
        shares: Whether all cells of a stage have the weights of its first.
        executions: How networks compute: `float`, or `integer` (activations of eight bits too); null is both where
            latency is the cost, and otherwise float.
    """

    name: str = "cells1d"
    nodes: int = 4
    operations: tuple[str, ...] = OPERATIONS
    stages: int = 3
    widths: tuple[int, ...] = (4, 6, 8, 12, 16, 24, 32, 48, 64)
    depths: tuple[int, ...] = (0, 1, 2, 3)
    strides: tuple[int, ...] = (1, 2, 4)
    codings: tuple[str, ...] = ("ternary", "sparse4", "int2", "int4", "int8", "float16", "float32")
    edge_codings: tuple[str, ...] = ("int4", "int8")
    keeps: tuple[float, ...] = (0.5, 0.75, 1.0)
    shares: tuple[bool, ...] = (False, True)
    executions: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        problems = [f"space.name must be cells1d, got {self.name}."] if self.name != "cells1d" else []
        problems += cell_problems(self, OPERATIONS)
        if problems:
            raise SettingsError("\n".join(problems))

    @property
    def reductions(self) -> tuple[str, ...]:
        """Between two stages."""
        return REDUCTIONS


def _check(signature: Signature) -> None:
    """Raise unless the data are signals."""
    if signature.kind != "signals":
        raise DataError(
            f"The space cells1d takes signals (N x C x L), got {signature.kind}. Give them with data=npz "
            "data.kind=signals; for images +space=cells, for tables +space=mlp."
        )


SPACE = NetworkSpace(
    Cells1dSettings, _check, cells_space, genome_of, canonical, plan_of, channel_counts, portfolio_of, describe
)  # fmt: skip
