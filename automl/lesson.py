"""What a model is trained on, and under which terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from automl.table import Columns, Table
from automl.targets import Targets
from engine.space import Value

__all__ = ["RUNGS", "Genes", "Lesson"]

RUNGS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768)
STEPS_DOWN = 5  # files of one training: all trees, half of them, a quarter, ...

Genes = Mapping[str, Value]


@final
@dataclass(frozen=True, eq=False)
class Lesson:
    """Training rows of one fold, and the terms.

    Args:
        table: Of all rows, for vocabularies.
        rows: Training rows.
        targets: Of them.
        signs: 1 or -1 where the answer must not fall or rise with a column, shape (n_columns,), numbers first.
        metric: By which files are scored.
        seed: Of everything random.
        fidelity: Share of the full effort.
        goes_on: Asked from time to time; False means: stop with what there is.
        sizes: Shares of the trees that files are made of, instead of a ladder of sizes.
    """

    table: Table
    rows: Columns
    targets: Targets
    signs: np.ndarray
    metric: str
    seed: int
    fidelity: float = 1.0
    goes_on: Callable[[], bool] = lambda: True
    sizes: tuple[float, ...] = ()

    @property
    def n_outputs(self) -> int:
        """Columns of the answer."""
        return self.targets.classes or 1

    @property
    def is_monotone(self) -> bool:
        """Whether a column has a sign."""
        return bool(self.signs.any())

    def rungs(self, trees: int, trained: int, smallest: int) -> list[int]:
        """Return the numbers of trees of which one training yields files, from the most down.

        Args:
            trees: As the candidate has them.
            trained: As many as were trained.
            smallest: That the gene can have.
        """
        if self.sizes:
            return sorted({max(1, round(share * trained)) for share in self.sizes}, reverse=True)
        found: list[int] = []
        rung = trees
        while rung >= smallest and len(found) < STEPS_DOWN:
            if rung <= trained:
                found.append(rung)
            rung = max((known for known in RUNGS if known <= rung / 2), default=0)
        return found or [trees]

    def effort(self, full: int) -> int:
        """Return the share of a number of trees or steps that the fidelity leaves, at least 1."""
        return max(1, round(full * self.fidelity))

    def rng(self) -> np.random.Generator:
        """Return a fresh generator of the lesson's seed."""
        return np.random.default_rng(self.seed)
