"""Sums of trees: every new rule refines the whole or a rule that is there, whichever helps most."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np

from rules.generators.binned import Box
from rules.generators.cuts import both, cuts, opposite
from rules.generators.examples import Examples
from rules.generators.refit import fitted, patterns, probabilities
from rules.generators.scores import PointsKind, scored
from rules.ruleset import RuleSet
from rules.signs import sign_of

__all__ = ["SumGenes", "sums"]

CUTS = 150


@final
@dataclass(frozen=True)
class SumGenes:
    """How sums of trees are grown.

    Args:
        rules: Most of them: one for each cut.
        length: Most cuts on the way to a rule.
        ridge: Of squared points, in rows of average weight.
        points: As of scored rules: `real` or `integer`.
    """

    rules: int = 10
    length: int = 3
    ridge: float = 3.0
    points: PointsKind = "real"


def sums(examples: Examples, genes: SumGenes) -> Iterator[tuple[int, RuleSet]]:
    """Yield sums of trees, from few cuts to many, each with the number of rules that was allowed.

    A tree with n cuts is written as n rules, one for the path to one side of each cut: with a common base they say all
    that its leaves can say.

    Source: Tan et al. (2022), arXiv:2201.11931, "Fast interpretable greedy-tree sums"; differs in that a cut is chosen
    by the gain of the logistic loss, and that all points are fitted anew after each one.
    """
    data, constraints = examples.data, examples.constraints
    literals = both(examples, cuts(examples, most=CUTS))
    literals = [box for box in literals if constraints.allows(data, box, 1.0)]
    targets, weights = examples.targets[examples.sample], examples.weights[examples.sample]
    must = [rule.condition for rule in constraints.must]
    conditions, signs = list(must), [sign_of(condition, constraints.monotone) or 0 for condition in must]
    columns = [examples.holds(condition)[examples.sample] for condition in must]
    chosen: list[list[int]] = [list(range(len(must)))] if must else []
    if literals:
        held = np.stack([box.mask(data.codes) for box in literals], axis=1).astype(np.float32)
        regions: dict[Box, np.ndarray] = {Box(): np.ones(len(targets), bool)}
        size = 0
        while len(conditions) < genes.rules:
            slope, curve = _slope_and_curve(examples, columns, targets, weights, signs, genes.ridge)
            best = _best_cut(examples, regions, literals, held, slope, curve, genes, set(conditions))
            if best is None:
                break
            region, number, box = best
            size += data.size(box)
            if not constraints.within(len(conditions) + 1, size):
                break
            inside = regions[region] & (held[:, number] > 0)
            conditions.append(data.condition(box))
            signs.append(constraints.sign(data, box) or 0)
            columns.append(inside)
            chosen.append(list(range(len(conditions))))
            if len(region.sides) + 1 < genes.length:
                other = opposite(examples, literals[number])
                regions[box] = inside
                beside = None if other is None else data.simplified(region & other)
                if beside is not None:
                    regions[beside] = regions[region] & ~inside
    fixed = np.array(signs, np.int64)
    yield from scored(examples, conditions, chosen or [[]], fixed, genes.ridge, points=genes.points)


def _slope_and_curve(
    examples: Examples,
    columns: list[np.ndarray],
    targets: np.ndarray,
    weights: np.ndarray,
    signs: list[int],
    ridge: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return how the loss falls for each row, shape (n_outputs, n_rows), and its curvature, shape (n_rows,)."""
    masks = np.stack(columns, axis=1) if columns else np.zeros((len(targets), 0), bool)
    merged = patterns(masks, targets, weights)
    every = list(range(len(columns)))
    kept, made = fitted(merged, every, kind=examples.kind, ridge=ridge, signs=np.array(signs, np.int64))
    p = probabilities(made.totals(merged.masks[:, kept]), examples.kind)[merged.rows]
    curve = weights if examples.kind == "squares" else weights * np.clip(p * (1 - p), 0.01, None).mean(axis=1)
    return (weights[:, None] * (targets - p)).T, curve


def _best_cut(
    examples: Examples,
    regions: dict[Box, np.ndarray],
    literals: list[Box],
    held: np.ndarray,
    slope: np.ndarray,
    curve: np.ndarray,
    genes: SumGenes,
    taken: set[object],
) -> tuple[Box, int, Box] | None:
    """Return the region and the literal whose conjunction lowers the loss most."""
    names, masks = list(regions), np.stack(list(regions.values()))
    rising = np.stack([(masks * side).astype(np.float32) @ held for side in slope])
    bending = ((masks * curve).astype(np.float32) @ held).astype(np.float64)
    # what is known of the region as a whole is taken off: a cut counts by what it tells inside
    whole, mass = _within(masks, slope), (masks * curve).sum(axis=1)
    share = bending / np.maximum(mass, 1e-9)[:, None]
    told = ((rising - whole[:, :, None] * share[None]) ** 2).sum(axis=0)
    gains = told / (bending * (1 - share) + genes.ridge)
    counts = masks.astype(np.float32) @ held
    sizes = masks.sum(axis=1, keepdims=True)
    least = max(3.0, examples.constraints.min_support * len(curve))
    gains = np.where((counts >= least) & (sizes - counts >= 3), gains, 0.0)
    for flat in np.argsort(-gains, axis=None, kind="stable")[:200]:
        place, number = divmod(int(flat), len(literals))
        if gains[place, number] <= 1e-9:
            return None
        box = examples.data.simplified(names[place] & literals[number])
        if box is None or box == names[place] or examples.data.condition(box) in taken:
            continue
        if not examples.constraints.allows(examples.data, box, float(counts[place, number]) / len(curve)):
            continue
        slope_sign = np.sign(rising[0, place, number] - whole[0, place] * share[place, number])
        sign = examples.constraints.sign(examples.data, box)
        if sign in (0, slope_sign):
            return names[place], number, box
    return None


def _within(masks: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Return the sum of slopes over each region: float64, shape (n_outputs, n_regions)."""
    summed: np.ndarray = slope @ masks.T.astype(np.float64)
    return summed
