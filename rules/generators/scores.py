"""Scored rules: the best few of a boosted pool, chosen together; one fit gives every number of rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, final, get_args

import numpy as np

from engine.errors import SpaceError
from rules.atoms import Condition
from rules.generators.binned import Box
from rules.generators.examples import Examples
from rules.generators.pool import boosted_pool
from rules.generators.refit import Fitted, Patterns, fitted, patterns, probabilities
from rules.generators.subset import Surrogate, improved, surrogate
from rules.generators.whole import Card, whole_points
from rules.outputs import Points
from rules.rule import Rule
from rules.ruleset import RuleSet
from rules.signs import sign_of

__all__ = ["PointsKind", "ScoreGenes", "scored", "scores"]

PointsKind = Literal["real", "integer"]

POOL = 400
RENEWALS = (0, 3, 8, 16, 32)  # numbers of rules from which on the loss is seen anew
LEAST_ROWS = 3


@final
@dataclass(frozen=True)
class ScoreGenes:
    """How scored rules are chosen.

    Args:
        rules: Most of them.
        depth: Most columns in a condition.
        ridge: Of squared points, in rows of average weight.
        brevity: How much dearer each further comparison of a condition makes it, as a power.
        points: `real`: log-odds, or values; `integer`: whole numbers up to 5, and a staircase from their total to the
            probability; for two classes.
    """

    rules: int = 10
    depth: int = 1
    ridge: float = 3.0
    brevity: float = 0.1
    points: PointsKind = "real"


def scores(examples: Examples, genes: ScoreGenes) -> Iterator[tuple[int, RuleSet]]:
    """Yield scored rules, from few to many, each with the number of rules that was allowed."""
    data, constraints = examples.data, examples.constraints
    targets, weights = examples.targets[examples.sample], examples.weights[examples.sample]
    found = boosted_pool(
        data, targets, weights, depth=genes.depth, most=POOL, monotone=constraints.monotone, seed=examples.seed
    )
    boxes, masks = distinct(examples, found)
    must = [rule.condition for rule in constraints.must]
    fixed = [examples.holds(condition)[examples.sample] for condition in must]
    held = np.array([*fixed, *masks], bool).reshape(len(must) + len(boxes), len(targets)).T
    signs = np.array(
        [sign_of(c, constraints.monotone) or 0 for c in must] + [constraints.sign(data, box) or 0 for box in boxes],
        np.int64,
    )
    favour = np.array(
        [1.0] * len(must) + [constraints.favour(data, box) / data.size(box) ** genes.brevity for box in boxes]
    )
    chain = _Chain(examples, held.astype(np.float32), targets, weights, signs, favour, genes.ridge, len(must))
    chosen = chain.path(genes.rules)
    conditions = [*must, *(data.condition(box) for box in boxes)]
    sizes = [0] * len(must) + [data.size(box) for box in boxes]
    within = [c for c in chosen if constraints.within(len(c), sum(sizes[n] for n in c))]
    chosen = within or [list(range(len(must)))]
    yield from scored(examples, conditions, chosen, signs, genes.ridge, points=genes.points)


def distinct(examples: Examples, boxes: Sequence[Box]) -> tuple[list[Box], list[np.ndarray]]:
    """Return the boxes that may be rules and apply to different rows of the sample, and those rows.

    Of two boxes with the same rows, or with all the others, the first stays; a single cut is written the way that needs
    no word of missing values.
    """
    kept: list[Box] = []
    masks: list[np.ndarray] = []
    seen: set[bytes] = set()
    for box in boxes:
        mask = box.mask(examples.data.codes)
        support = float(mask.mean())
        if not LEAST_ROWS <= mask.sum() <= len(mask) - LEAST_ROWS:
            continue
        if not examples.constraints.allows(examples.data, box, support):
            continue
        first = mask if mask[0] else ~mask
        key = np.packbits(first).tobytes()
        if key not in seen:
            seen.add(key)
            kept.append(box)
            masks.append(mask)
    return kept, masks


def scored(
    examples: Examples,
    conditions: Sequence[Condition],
    chosen: Sequence[Sequence[int]],
    signs: np.ndarray,
    ridge: float,
    *,
    points: PointsKind = "real",
) -> Iterator[tuple[int, RuleSet]]:
    """Fit the points of each choice of conditions on all rows, and yield it as a rule set with the size of the choice.

    Args:
        examples: All rows.
        conditions: To choose from.
        chosen: Numbers of conditions, a list a rule set.
        signs: As in `Surrogate`.
        ridge: Of squared points.
        points: As in `ScoreGenes`.

    Raises:
        SpaceError: If integers are asked for, of values or of more than two classes; or something unknown.
    """
    if points not in get_args(PointsKind):
        raise SpaceError(f"points must be one of {', '.join(get_args(PointsKind))}, got '{points}'.")
    if points == "integer" and examples.kind != "logistic":
        raise SpaceError("Integer points need two classes: take points='real' for values and for more classes.")
    union = sorted({number for numbers in chosen for number in numbers})
    place = {number: n for n, number in enumerate(union)}
    held = [examples.holds(conditions[number]) for number in union]
    masks = np.array(held, bool).reshape(len(union), len(examples.targets)).T
    merged = patterns(masks, examples.targets, examples.weights)
    truth = merged if examples.truth is None else patterns(masks, examples.truth, examples.weights)
    for numbers in chosen:
        kept, made = fitted(merged, [place[n] for n in numbers], kind=examples.kind, ridge=ridge, signs=signs[union])
        told = [conditions[union[n]] for n in kept]
        if points == "integer":
            columns = replace(merged, masks=merged.masks[:, kept])
            card = whole_points(columns, made.points[:, 0], truth.targets, ridge=ridge, signs=signs[union][kept])
            yield len(numbers), _card(examples, told, card)
        else:
            if examples.truth is not None and examples.kind != "multinomial":
                made = _stretched(examples, truth, kept, made)
            yield len(numbers), _ruleset(examples, told, made)


def _stretched(examples: Examples, truth: Patterns, kept: Sequence[int], made: Fitted) -> Fitted:
    """Return points that were learned from a teacher alone, who is careful, on the scale that fits what is true."""
    totals = made.totals(truth.masks[:, kept])
    rows = Patterns(totals, truth.targets, truth.weights, truth.rows)
    _, line = fitted(rows, [0], kind=examples.kind, ridge=0.0, signs=np.zeros(1, np.int64))
    slope = float(line.points[0, 0])
    return Fitted(made.points * slope, made.base * slope + line.base) if slope > 0 else made


@final
@dataclass(eq=False)
class _Chain:
    """The path of choices, from few conditions to many, on the sample."""

    examples: Examples
    masks: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    signs: np.ndarray
    favour: np.ndarray
    ridge: float
    n_fixed: int

    def path(self, most: int) -> list[list[int]]:
        """Return a choice for each number of rules."""
        chosen = list(range(self.n_fixed))
        problem = self._seen_from(chosen)
        made: list[list[int]] = []
        for size in range(max(1, self.n_fixed), most + 1):
            if size - 1 in RENEWALS[1:]:
                problem = self._seen_from(chosen)
            chosen = improved(problem, chosen, size, n_fixed=self.n_fixed)
            if len(chosen) < size and made:
                break
            made.append(list(chosen))
        return made

    def _seen_from(self, chosen: list[int]) -> Surrogate:
        """Return the loss as it looks from the best points of a choice."""
        kind = self.examples.kind
        working, curve = self.targets, self.weights
        if kind != "squares":
            merged: Patterns = patterns(self.masks[:, chosen] > 0, self.targets, self.weights)
            every = list(range(len(chosen)))
            kept, made = fitted(merged, every, kind=kind, ridge=self.ridge, signs=self.signs[chosen])
            totals = made.totals(merged.masks[:, kept])
            p = probabilities(totals, kind)
            slope = np.clip(p * (1 - p), 0.01, None).mean(axis=1)
            curve = self.weights * slope[merged.rows]
            working = totals[merged.rows] + (self.targets - p[merged.rows]) / slope[merged.rows, None]
        return surrogate(self.masks, working, curve, ridge=self.ridge, signs=self.signs, favour=self.favour)


def _ruleset(examples: Examples, conditions: Sequence[Condition], made: Fitted) -> RuleSet:
    """Write points as short decimals: hundredths of log-odds, or thousandths of the spread of the values."""
    digits = 2
    if examples.kind == "squares":
        spread = float(examples.targets.std())
        digits = 3 - int(np.floor(np.log10(spread))) if spread > 0 else 6
    points, base = np.round(made.points, digits), np.round(made.base, digits)
    return examples.ruleset(_rules(examples, conditions, points), "sum", Points(tuple(base.tolist())))


def _card(examples: Examples, conditions: Sequence[Condition], card: Card) -> RuleSet:
    """Write whole points, and what their totals mean."""
    rules = _rules(examples, conditions, card.points[:, None])
    return replace(examples.ruleset(rules, "sum", Points((0.0,))), calibration=card.calibration)


def _rules(examples: Examples, conditions: Sequence[Condition], points: np.ndarray) -> tuple[Rule, ...]:
    """Return a rule for each condition with points, float64, shape (n_conditions, n_outputs); a person's rules stay."""
    user = {rule.condition: rule.id for rule in examples.constraints.must}
    rules = []
    for condition, values in zip(conditions, points, strict=True):
        if condition in user:
            rules.append(Rule(user[condition], condition, Points(tuple(values.tolist())), source="user"))
        elif np.any(values):
            rules.append(Rule(f"r{len(rules) + 1}", condition, Points(tuple(values.tolist()))))
    return tuple(rules)
