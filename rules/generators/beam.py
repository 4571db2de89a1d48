"""Beam search for conjunctions: all refinements of all conditions at hand are counted in one matrix product."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from rules.generators.binned import Box
from rules.generators.examples import Examples

__all__ = ["Found", "Worth", "beam_search"]

Worth = Callable[[np.ndarray], np.ndarray]


@final
@dataclass(frozen=True, eq=False)
class Found:
    """A conjunction, the rows of the sample that keep it, and what it is worth."""

    box: Box
    mask: np.ndarray
    worth: float


def beam_search(
    examples: Examples,
    literals: Sequence[Box],
    held: np.ndarray,
    sums: np.ndarray,
    worth: Worth,
    *,
    length: int,
    width: int,
    most: int,
) -> list[Found]:
    """Return the best conjunctions, best first.

    Args:
        examples: Training rows; their constraints are kept.
        literals: Boxes with one side.
        held: Which rows keep which literal, float32, shape (n_rows, n_literals).
        sums: What is summed over the rows of a conjunction, float32, shape (n_sums, n_rows).
        worth: From the sums, shape (n_sums, n_conjunctions), to what each is worth, higher is better; -inf for never.
        length: Most literals in a conjunction.
        width: Conjunctions that are refined further.
        most: Conjunctions that come back.
    """
    found: dict[Box, Found] = {}
    beam = [Found(Box(), np.ones(len(held), bool), -np.inf)]
    for _ in range(length):
        stacked = np.concatenate([sums * parent.mask for parent in beam])
        counted = (stacked @ held).reshape(len(beam), len(sums), len(literals)).astype(np.float64)
        values = np.stack([worth(entry) for entry in counted])
        fresh: dict[Box, Found] = {}
        for flat in np.argsort(-values, axis=None, kind="stable")[: 6 * width]:
            parent, literal = divmod(int(flat), len(literals))
            value = float(values[parent, literal])
            if not np.isfinite(value) or len(fresh) >= width:
                break
            box = examples.data.simplified(beam[parent].box & literals[literal])
            if box is None or box in found or box in fresh or box == beam[parent].box:
                continue
            mask = beam[parent].mask & (held[:, literal] > 0)
            if examples.constraints.allows(examples.data, box, float(mask.mean())):
                fresh[box] = Found(box, mask, value)
        if not fresh:
            break
        found |= fresh
        beam = list(fresh.values())
    return sorted(found.values(), key=lambda entry: (-entry.worth, len(entry.box.sides), entry.box.sides))[:most]
