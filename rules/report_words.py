"""Rules in words: short, for tables and explanations."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rules.atoms import Atom, Categories, Condition
from rules.outputs import Label, Output, Points, Probability

__all__ = ["condition_text", "output_text", "share_text"]

SHOWN = 6  # categories that are named before the rest is counted


def condition_text(condition: Condition) -> str:
    """Return a condition in words.

    Example:
        >>> from rules.atoms import Numbers
        >>> condition_text(Condition((Numbers("age", 18, 65), Categories("town", ("Ulm",), negated=True))))
        '18 <= age <= 65 and town is not Ulm'
    """
    return " and ".join(map(_atom_text, condition.atoms)) or "always"


def output_text(output: Output, classes: Sequence[str]) -> str:
    """Return in words what a rule says.

    Example:
        >>> output_text(Points((0.5,)), ("no", "yes")), output_text(Probability((0.2, 0.8)), ("no", "yes"))
        ('+0.5 for yes', 'yes with 80 %')
    """
    if isinstance(output, Label):
        return output.name
    if isinstance(output, Probability):
        best = max(range(len(classes)), key=lambda place: output.values[place])
        return f"{classes[best]} with {share_text(output.values[best])}"
    if not isinstance(output, Points):
        return "a person decides"
    if len(classes) > 2:
        return ", ".join(f"{value:+g} for {name}" for name, value in zip(classes, output.values, strict=True) if value)
    return f"{output.values[0]:+g} for {classes[1]}" if classes else f"{output.values[0]:+g}"


def share_text(share: float) -> str:
    """Return a share in percent, at most three digits."""
    return f"{100 * share:.3g} %"


def _atom_text(atom: Atom) -> str:
    missing = f" or {atom.column} is missing" if atom.missing else ""
    if isinstance(atom, Categories):
        if not atom.values:
            return f"{atom.column} is missing" if atom.missing else f"{atom.column} is known"
        shown = ", ".join(atom.values[:SHOWN]) + (f", ... ({len(atom.values)})" if len(atom.values) > SHOWN else "")
        if len(atom.values) == 1:
            said = f"{atom.column} is {'not ' if atom.negated else ''}{shown}"
        else:
            said = f"{atom.column} is {'none' if atom.negated else 'one'} of {shown}"
    elif atom.is_void:
        return f"{atom.column} is missing" if atom.missing else "never"
    else:
        low = "" if atom.low == -math.inf else f"{atom.low:.9g} {'<' if atom.low_open else '<='} "
        high = "" if atom.high == math.inf else f" {'<' if atom.high_open else '<='} {atom.high:.9g}"
        if low and not high:
            said = f"{atom.column} {'>' if atom.low_open else '>='} {atom.low:.9g}"
        else:
            said = f"{low}{atom.column}{high}" if low or high else f"{atom.column} is known"
    return f"({said}{missing})" if missing else said
