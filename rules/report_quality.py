"""How telling a single rule is: the measures of the library decision-rules, and the chance of finding it by luck."""

from __future__ import annotations

import importlib.util
import inspect
import math
import sys

__all__ = ["luck", "quality"]

SAME = ("confidence", "lord")  # precision by another name; one that wants a parameter


def quality(*, right: int, wrong: int, of_class: int, of_others: int) -> dict[str, float]:
    """Return the measures of a rule that its four counts define, by their names in decision-rules.

    A measure without a value for these counts is left out: lift where the class has no row, and the like. Without the
    extra `rules`, which brings the library, there are none.

    Args:
        right: Rows of the rule that have its class.
        wrong: Rows of the rule that have another.
        of_class: Rows of the class.
        of_others: Rows of the others.

    Example:
        >>> round(quality(right=8, wrong=2, of_class=10, of_others=90)["correlation"], 3)
        0.778
    """
    if importlib.util.find_spec("decision_rules") is None:
        return {}
    from decision_rules import measures
    from decision_rules.core.coverage import Coverage

    counts = Coverage(right, wrong, of_class, of_others)
    found = {}
    for name, measure in inspect.getmembers(measures, inspect.isfunction):
        if name in SAME or measure.__module__ != measures.__name__:
            continue
        try:
            value = float(measure(counts))
        except (ArithmeticError, ValueError):
            continue
        if math.isfinite(value) and abs(value) < sys.float_info.max:  # which stands for infinity there
            found[name] = value
    return found


def luck(*, right: int, wrong: int, of_class: int, of_others: int) -> float:
    """Return how likely rows drawn without looking at their class would be right at least as often: Fisher's test.

    Example:
        >>> luck(right=8, wrong=2, of_class=10, of_others=90) < 1e-6
        True
    """
    from scipy.stats import hypergeom

    return float(hypergeom.sf(right - 1, of_class + of_others, of_class, right + wrong))
