"""The smallest file within a loss: codings layer by layer, each candidate's own file measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from onnx import ModelProto

from compression.codings import CODINGS
from compression.graphs.apply import Applied, Choice, apply
from compression.graphs.choices import uniform
from compression.graphs.rounding import Rounded
from compression.graphs.weighted import Layer, layers_of

__all__ = ["Candidate", "smallest_within"]

# From many bits a weight to few; each step is tried for all layers at once, then for single ones.
LADDER = (
    Choice("float16"), Choice("int8"), Choice("int4"), Choice("sparse4", 0.5), Choice("int2"), Choice("ternary"),
)  # fmt: skip
MAX_FILES = 60


@final
@dataclass(frozen=True, eq=False)
class Candidate:
    """A file that was written and measured.

    Args:
        choices: By name of the weight.
        applied: The file.
        error: On validation rows.
    """

    choices: Mapping[str, Choice]
    applied: Applied
    error: float


def smallest_within(
    model: ModelProto,
    rows: Mapping[str, np.ndarray],
    error_of: Callable[[bytes], float],
    *,
    largest_error: float,
    report: Callable[[Candidate], None] = lambda _: None,
) -> Candidate | None:
    """Search codings for the layers of a model: the smallest file whose error is within a limit.

    First all layers alike, from many bits to few. Then, from the smallest of these files that keeps the limit, one
    layer at a time goes down, most bytes saved for each unit of damage first, as far as the file that
    comes of it is smaller and keeps the limit; at most 60 files in all. Every file is measured itself.

    Args:
        model: Simplified (`compression.graphs.fold.simplified`).
        rows: Calibration rows, by name of the input.
        error_of: Of a file, on validation rows.
        largest_error: That is allowed.
        report: Told of every file.

    Returns:
        The smallest file within the limit; None if not even float16 keeps it.
    """
    layers = layers_of(model)
    known: dict[object, Rounded] = {}
    tried: dict[tuple[tuple[str, Choice], ...], Candidate] = {}

    def measured(choices: Mapping[str, Choice]) -> Candidate:
        key = tuple(choices.items())
        if key not in tried:
            applied = apply(model, choices, rows, known)
            tried[key] = Candidate(choices, applied, error_of(applied.model))
            report(tried[key])
        return tried[key]

    damage: dict[tuple[str, Choice], float] = {}
    for step in LADDER:
        found = measured(uniform(layers, step))
        damage |= {(name, choice): found.applied.errors[name] for name, choice in found.choices.items()}
    kept = [candidate for candidate in tried.values() if candidate.error <= largest_error]
    if not kept:
        return None
    best = min(kept, key=lambda candidate: (len(candidate.applied.model), candidate.error))
    refused: set[tuple[str, Choice]] = set()
    while len(tried) < MAX_FILES:
        steps = [step for step in _steps(layers, best.choices, damage) if step not in refused]
        if not steps:
            break
        name, choice = steps[0]
        found = measured({**best.choices, name: choice})
        damage[name, choice] = found.applied.errors[name]
        if found.error <= largest_error and len(found.applied.model) < len(best.applied.model):
            best = found
        else:
            refused.add((name, choice))
    return best


def _steps(
    layers: Sequence[Layer], choices: Mapping[str, Choice], damage: Mapping[tuple[str, Choice], float]
) -> list[tuple[str, Choice]]:
    """Return each layer's steps down, the most bytes for the least damage first."""
    ranked: list[tuple[float, int, tuple[str, Choice]]] = []
    for layer in layers:
        now = choices[layer.weight]
        for step in LADDER[LADDER.index(now) + 1 :]:
            saved = (_bits(now) - _bits(step)) * layer.values.size
            harm = damage.get((layer.weight, step), 4.0 ** -_bits(step))
            ranked.append((harm / saved, len(ranked), (layer.weight, step)))
    return [entry for _, _, entry in sorted(ranked)]


def _bits(choice: Choice) -> float:
    coding = CODINGS[choice.coding]
    return coding.bits if coding.density == 1 else 1 + choice.density * (coding.bits - 1) / coding.density
