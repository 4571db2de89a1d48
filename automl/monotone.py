"""Directions that an answer must keep with a column, verified on the file itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.artifact import Artifact
from engine.errors import ArtifactError

if TYPE_CHECKING:
    from automl.writing import Paper

__all__ = ["check_directions", "violation"]

ROWS = 50
VALUES = 25
ROUNDING = 1e-6  # of the spread of the answers: what float32 may get wrong


def check_directions(
    artifact: Artifact, paper: Paper, monotone: Sequence[tuple[str, int]]
) -> dict[str, dict[str, Any]]:
    """Sweep each constrained column over its values, for some rows, through the file.

    Args:
        artifact: The file.
        paper: With rows as the file takes them.
        monotone: Column and direction.

    Returns:
        By column: direction, rows and values of the sweep, and the largest step against the direction.

    Raises:
        ArtifactError: If the answer goes against a direction.
    """
    told = {}
    names = paper.table.signature.numeric_columns
    for name, sign in monotone:
        worst, rows, values = violation(artifact, paper.inputs, names.index(name), sign)
        if worst > ROUNDING * paper.spread:
            raise ArtifactError(
                f"The answer must not {'fall' if sign > 0 else 'rise'} with {name}; in the file it does by {worst:.2g}."
            )
        told[name] = {"direction": sign, "rows": rows, "values": values, "largest_step_against": worst}
    return told


def violation(
    artifact: Artifact, inputs: dict[str, np.ndarray], column: int, sign: int, *, rows: int = ROWS, values: int = VALUES
) -> tuple[float, int, int]:
    """Return the largest step against a direction, and how many rows and values were tried.

    Args:
        artifact: The file; the last column of its answer counts.
        inputs: Rows as it takes them; the values of the column come from them, too.
        column: Of `x`.
        sign: 1 if the answer must not fall, -1 if it must not rise.
        rows: How many, at most.
        values: How many, at most: the ends, and quantiles between them.
    """
    x = inputs["x"]
    known = x[:, column][np.isfinite(x[:, column])]
    if not len(known):
        return 0.0, 0, 0
    distinct = np.unique(known)
    grid = distinct[np.linspace(0, len(distinct) - 1, min(values, len(distinct))).astype(np.int64)]
    picked = np.linspace(0, len(x) - 1, min(rows, len(x))).astype(np.int64)
    made = {name: np.repeat(array[picked], len(grid), axis=0) for name, array in inputs.items()}
    made["x"][:, column] = np.tile(grid, len(picked))
    answers = artifact.outputs(made)[:, -1].astype(np.float64).reshape(len(picked), len(grid))
    steps = -sign * np.diff(answers, axis=1)
    return float(max(steps.max(initial=0.0), 0.0)), len(picked), len(grid)
