"""Checks of what a space may be set to: lists of options, and the numbers beside them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from engine.errors import did_you_mean

__all__ = ["EXECUTIONS", "VIEWS", "option_problems"]

EXECUTIONS = ("float", "integer")
VIEWS = (2, 1)  # of an image: itself, or its mirror image too


def option_problems(
    settings: Any,
    *,
    named: Mapping[str, Collection[str]],
    numbers: Mapping[str, tuple[float, float]],
    single: Mapping[str, tuple[int, int]],
) -> list[str]:
    """Return what is wrong with the settings of a space, a sentence each.

    Args:
        settings: A dataclass whose lists hold the options of genes.
        named: Lists of names, and the names that each may hold.
        numbers: Lists of numbers, and their limits; `keeps` are shares above 0.
        single: Plain numbers, and their limits.

    Example:
        >>> from nas.spaces.mlp import MlpSettings
        >>> option_problems(MlpSettings(), named={}, numbers={}, single={"layers": (0, 2)})
        ['space.layers must be in [0, 2], got 3.']
    """
    problems = []
    for key, known in named.items():
        problems += [
            f"space.{key} knows no '{value}'{did_you_mean(value, known)} Known: {', '.join(known)}."
            for value in getattr(settings, key) or ()
            if value not in known
        ]
    for key in (*named, *numbers):
        values = getattr(settings, key)
        if values is None:  # what the search decides
            continue
        if not values or len(set(values)) < len(values):
            problems.append(f"space.{key} must have at least one value and none twice, got {list(values)}.")
    for key, (low, high) in numbers.items():
        lost = [value for value in getattr(settings, key) or () if not low <= value <= high]
        if lost:
            limits = "in (0, 1]" if key == "keeps" else f"in [{low}, {high}]"
            problems.append(f"space.{key} must lie {limits}, got {lost}.")
    for key, (least, most) in single.items():
        if not least <= getattr(settings, key) <= most:
            problems.append(f"space.{key} must be in [{least}, {most}], got {getattr(settings, key)}.")
    return problems
