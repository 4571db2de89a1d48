"""Single comparisons worth making: the cuts of a boosted model, and their opposites."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rules.generators.binned import EVERY, Binned, Box
from rules.generators.examples import Examples
from rules.generators.pool import boosted_pool

__all__ = ["both", "cuts", "opposite"]

GUESS_DEPTH = 3  # deep enough to see columns that matter only beside others
FEW_CODES = 6  # a column with no more codes has every cut
LEAST_ROWS = 3


def cuts(examples: Examples, *, most: int, rounds: int = 60) -> list[Box]:
    """Return cuts as boxes with one side, one of each pair of opposites, the most useful first.

    Args:
        examples: Training rows.
        most: Number of cuts.
        rounds: Of the boosted model that guesses them.

    Source: McTavish et al. (2022), arXiv:2112.00798, "Fast sparse decision tree optimization via reference ensembles",
    threshold guessing; differs in that columns of few codes keep every cut.
    """
    data, constraints = examples.data, examples.constraints
    targets, weights = examples.targets[examples.sample], examples.weights[examples.sample]
    guessed = boosted_pool(
        data,
        targets,
        weights,
        depth=GUESS_DEPTH,
        most=100 * most,
        monotone=constraints.monotone,
        seed=examples.seed,
        rounds=rounds,
    )
    few = [box for column in range(len(data.columns)) for box in _every_cut(examples, column)]
    kept: list[Box] = []
    seen: set[bytes] = set()
    for box in [*(box for box in guessed if _is_cut(data, box)), *few]:
        mask = box.mask(data.codes)
        if LEAST_ROWS <= mask.sum() <= len(mask) - LEAST_ROWS:
            key = np.packbits(mask if mask[0] else ~mask).tobytes()
            if key not in seen:
                seen.add(key)
                kept.append(box)
    return kept[:most]


def opposite(examples: Examples, box: Box) -> Box | None:
    """Return the box of all other rows, of a box with one side; None where there is none."""
    ((column, bits),) = box.sides
    return examples.data.simplified(Box.of({column: ~bits & EVERY}))


def both(examples: Examples, boxes: Sequence[Box]) -> list[Box]:
    """Return cuts with their opposites."""
    pairs = [(box, opposite(examples, box)) for box in boxes]
    return [box for pair in pairs for box in pair if box is not None]


def _is_cut(data: Binned, box: Box) -> bool:
    """Say whether a box asks one column one question whose opposite is one too: an interval has one end."""
    if len(box.sides) != 1:
        return False
    ((column, bits),) = box.sides
    held = data.columns[column]
    return not held.is_numeric or (bool(bits & 1) != bool(bits >> len(held.edges) & 1))


def _every_cut(examples: Examples, column: int) -> list[Box]:
    held = examples.data.columns[column]
    if held.values is not None:
        if len(held.values) > FEW_CODES:
            return []
        return [Box.of({column: 1 << code}) for code in range(len(held.values))]
    if len(held.edges) + 1 > FEW_CODES:
        return []
    return [Box.of({column: (1 << (code + 1)) - 1}) for code in range(len(held.edges))]
