"""Rule lists: if, else if, else; each rule is the best next question to what is left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np

from rules.generators.beam import beam_search
from rules.generators.binned import Box
from rules.generators.cuts import both, cuts
from rules.generators.examples import Examples
from rules.generators.monotone import listed
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

    A column with a direction is asked for its large values by rules that say more than the rest, for its small ones by
    rules that say less, or the other way round; what still breaks the direction further down is made equal.

    Source: Proença and van Leeuwen (2020), arXiv:1905.00328, "Interpretable multiclass classification by MDL-based rule
    lists": each rule maximises the gain in likelihood; differs in the price of a condition, which is a constant here.
    """
    constraints = examples.constraints
    literals = both(examples, cuts(examples, most=CUTS))
    must = [examples.holds(rule.condition) for rule in examples.must]
    left = ~np.any(must, axis=0) if must else np.ones(len(examples.targets), bool)
    n_conditions = sum(len(rule.condition) for rule in examples.must)
    boxes: list[Box] = []
    said: list[tuple[np.ndarray, float]] = []  # of each rule, what it says and the weight of its rows
    held = (
        np.stack([box.mask(examples.data.codes) for box in literals], axis=1).astype(np.float32) if literals else None
    )
    while held is not None and len(must) + len(boxes) < genes.rules:
        box = _next(examples, literals, held, left, genes)
        n_conditions += examples.data.size(box) if box is not None else 0
        if box is None or not constraints.within(len(must) + len(boxes) + 1, n_conditions):
            break
        inside = examples.inside(box) & left
        boxes.append(box)
        said.append((examples.mean_of(inside, prior=PRIOR), float(examples.weights[inside].sum())))
        left &= ~inside
        yield len(must) + len(boxes), _ruleset(examples, boxes, said, left)
    if not boxes:
        yield len(must), _ruleset(examples, boxes, said, left)


def _ruleset(examples: Examples, boxes: list[Box], said: list[tuple[np.ndarray, float]], left: np.ndarray) -> RuleSet:
    """Return the list, and for all that is left its mean."""
    everything = [*said, (examples.mean_of(left, prior=PRIOR), float(examples.weights[left].sum()))]
    values = np.stack([mean for mean, _ in everything])
    values = listed(examples, [*boxes, Box()], values, np.array([weight for _, weight in everything]))
    outputs = [examples.output(mean) for mean in values]
    rules = [
        Rule(f"r{number}", examples.data.condition(box), output)
        for number, (box, output) in enumerate(zip(boxes, outputs[:-1], strict=True), 1)
    ]
    return examples.ruleset((*examples.must, *rules), "first", outputs[-1])


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
    priced = [(worth, box) for worth, box in priced if worth > 0 and _keeps_direction(examples, box, left)]
    return max(priced, key=lambda pair: pair[0])[1] if priced else None


def _keeps_direction(examples: Examples, box: Box, left: np.ndarray) -> bool:
    """Say whether a rule on a column with a direction says more than the rest, or less, as its sign asks."""
    sign = examples.constraints.sign(examples.data, box)
    if not sign:
        return True
    inside = examples.inside(box) & left
    more = examples.mean_of(inside, prior=0.0)[-1] - examples.mean_of(left & ~inside, prior=PRIOR)[-1]
    return bool(sign * more >= 0)


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
