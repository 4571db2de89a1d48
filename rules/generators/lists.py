"""Rule lists: if, else if, else; each rule is the best next question to what is left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from rules.generators.beam import beam_search
from rules.generators.binned import Box
from rules.generators.cuts import both, cuts
from rules.generators.examples import Examples
from rules.rule import Rule
from rules.ruleset import RuleSet

__all__ = ["ListGenes", "lists"]

CUTS = 120
PRIOR = 1.0  # rows of the whole that every rule's share begins with


@final
@dataclass(frozen=True)
class ListGenes:
    """How rule lists are grown.

    Args:
        rules: Most of them.
        length: Most comparisons in a rule.
        width: Of the beam.
        brevity: Gain in log-likelihood, in nats, that a rule must bring for each comparison.
    """

    rules: int = 10
    length: int = 2
    width: int = 8
    brevity: float = 2.0


def lists(examples: Examples, genes: ListGenes) -> Iterator[tuple[int, RuleSet]]:
    """Yield rule lists, from short to long, each with the number of rules that was allowed.

    Columns with a direction are left out: a list of rules cannot promise to keep it.

    Source: Proença and van Leeuwen (2020), arXiv:1905.00328, "Interpretable multiclass classification by MDL-based rule
    lists": each rule maximises the gain in likelihood; differs in the price of a condition, which is a constant here.
    """
    constraints = examples.constraints
    examples = replace(
        examples, constraints=replace(constraints, without=constraints.without | set(constraints.monotone), monotone={})
    )
    banned = set(constraints.monotone)
    literals = [
        box
        for box in both(examples, cuts(examples, most=CUTS))
        if examples.data.columns[box.sides[0][0]].name not in banned
    ]
    rules = list(examples.must)
    masks = [examples.holds(rule.condition) for rule in rules]
    boxes: list[Box] = []
    left = ~np.any(masks, axis=0) if masks else np.ones(len(examples.targets), bool)
    n_conditions = sum(len(rule.condition) for rule in rules)
    held = (
        np.stack([box.mask(examples.data.codes) for box in literals], axis=1).astype(np.float32) if literals else None
    )
    while held is not None and len(rules) < genes.rules:
        box = _next(examples, literals, held, left, genes)
        n_conditions += examples.data.size(box) if box is not None else 0
        if box is None or not constraints.within(len(rules) + 1, n_conditions):
            break
        inside = examples.inside(box) & left
        boxes.append(box)
        output = examples.output(examples.mean_of(inside, prior=PRIOR))
        rules.append(Rule(f"r{len(boxes)}", examples.data.condition(box), output))
        left &= ~inside
        yield len(rules), examples.ruleset(tuple(rules), "first", examples.output(examples.mean_of(left, prior=PRIOR)))
    if not boxes:
        yield len(rules), examples.ruleset(tuple(rules), "first", examples.output(examples.mean_of(left, prior=PRIOR)))


def _next(examples: Examples, literals: list[Box], held: np.ndarray, left: np.ndarray, genes: ListGenes) -> Box | None:
    """Return the condition that tells most about the rows that are left."""
    open_rows = left[examples.sample]
    weights = (examples.weights[examples.sample] * open_rows).astype(np.float64)
    shares = examples.shares[examples.sample]
    if examples.kind == "squares":
        mean, spread = np.average(examples.targets[:, 0]), float(examples.targets.std()) or 1.0
        z = (shares[:, 0] - mean) / spread
        sums = np.stack([weights, weights * z, weights * z * z])
        gain = _gain_squares(sums)
    else:
        sums = (shares * weights[:, None]).T
        gain = _gain_shares(sums, examples.constraints.min_precision)
    found = beam_search(
        examples, literals, held, sums.astype(np.float32), gain, length=genes.length, width=genes.width, most=50
    )
    priced = [(entry.worth - genes.brevity * examples.data.size(entry.box), entry.box) for entry in found]
    priced = [(worth, box) for worth, box in priced if worth > 0]
    return max(priced, key=lambda pair: pair[0])[1] if priced else None


def _gain_shares(sums: np.ndarray, min_precision: float):  # type: ignore[no-untyped-def]
    whole = sums.sum(axis=1, keepdims=True)

    def gain(counts: np.ndarray) -> np.ndarray:
        inside = np.clip(counts, 0, whole)
        outside = whole - inside
        total = inside.sum(axis=0)
        made = _likelihood(inside) + _likelihood(outside) - _likelihood(whole)
        precise = inside.max(axis=0) >= min_precision * total
        return np.where((total >= 2.5) & precise, made, -np.inf)

    return gain


def _likelihood(counts: np.ndarray) -> np.ndarray:
    """Return the log-likelihood of counts under their own shares, half a row of prior each, float64, shape (n,)."""
    smooth = counts + 0.5
    made: np.ndarray = (counts * np.log(smooth / smooth.sum(axis=0))).sum(axis=0)
    return made


def _gain_squares(sums: np.ndarray):  # type: ignore[no-untyped-def]
    whole = sums.sum(axis=1, keepdims=True)
    variance = max(float(whole[2, 0] / whole[0, 0] - (whole[1, 0] / whole[0, 0]) ** 2), 1e-9)

    def gain(counts: np.ndarray) -> np.ndarray:
        outside = whole - counts
        between = counts[1] ** 2 / np.maximum(counts[0], 1e-9) + outside[1] ** 2 / np.maximum(outside[0], 1e-9)
        made = (between - whole[1, 0] ** 2 / whole[0, 0]) / (2 * variance)
        return np.where((counts[0] >= 2.5) & (outside[0] >= 0.5), made, -np.inf)

    return gain
