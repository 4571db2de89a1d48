"""The calibration of a rule model: what it says against what is so, as figures and as a small drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engine.data import Rows
from engine.intervals import wilson
from rules.ruleset import RuleSet

__all__ = ["calibration_bins", "calibration_picture"]

BINS = 10
SIDE, MARGIN = 320, 44


def calibration_bins(engine: RuleSet, rows: Rows) -> list[dict[str, float]]:
    """Return bins of equally many rows by what the model says, with what is so; empty for values.

    Of two classes the second is meant; of more, the one that is most probable.

    Args:
        engine: The rules.
        rows: With known classes.
    """
    if not engine.classes or not len(rows):
        return []
    values, y = engine.values(rows.inputs()), np.asarray(rows.y)
    if len(engine.classes) == 2:
        said, is_so = values[:, 1], y == 1
    else:
        said, is_so = values.max(axis=1), values.argmax(axis=1) == y
    order = np.argsort(said, kind="stable")
    made = []
    for part in np.array_split(order, min(BINS, len(order))):
        right = int(is_so[part].sum())
        low, high = wilson(right, len(part))
        made.append(
            {"said": float(said[part].mean()), "so": right / len(part), "low": low, "high": high, "rows": len(part)}
        )
    return made


def calibration_picture(bins: Sequence[Mapping[str, Any]]) -> str:
    """Return a drawing of the bins with their 95 % intervals, as plain SVG."""
    size = SIDE + 2 * MARGIN

    def across(share: float) -> str:
        return f"{MARGIN + SIDE * share:.1f}"

    def down(share: float) -> str:
        return f"{MARGIN + SIDE * (1 - share):.1f}"

    parts = [
        f'<svg class="cell" viewBox="0 0 {size} {size}" width="{size}" role="img" aria-label="Calibration">',
        f'<rect x="{MARGIN}" y="{MARGIN}" width="{SIDE}" height="{SIDE}" fill="none" stroke="var(--line)"/>',
        f'<line x1="{across(0)}" y1="{down(0)}" x2="{across(1)}" y2="{down(1)}" stroke="var(--cloud)"/>',
    ]
    for entry in bins:
        x, low, high = across(entry["said"]), down(entry["low"]), down(entry["high"])
        parts.append(f'<line x1="{x}" y1="{low}" x2="{x}" y2="{high}" stroke="var(--dim)"/>')
        title = f"said {entry['said']:.3f}, so {entry['so']:.3f}, {entry['rows']} rows"
        parts.append(
            f'<circle cx="{x}" cy="{down(entry["so"])}" r="4" fill="var(--valid)"><title>{title}</title></circle>'
        )
    for share in (0, 0.5, 1):
        parts.append(f'<text x="{across(share)}" y="{size - MARGIN + 18}" text-anchor="middle" {_INK}>{share:g}</text>')
        parts.append(f'<text x="{MARGIN - 8}" y="{down(share)}" text-anchor="end" {_INK}>{share:g}</text>')
    parts.append(f'<text x="{size / 2}" y="{size - 6}" text-anchor="middle" {_INK}>what the model says</text>')
    parts.append(f'<text x="{MARGIN}" y="{MARGIN - 12}" {_INK}>share of rows for which it is so</text>')
    return "\n".join([*parts, "</svg>"])


_INK = 'fill="currentColor" font-size="13"'
