"""How much of a model stays when its rows change: the same generator on bootstrap samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np

from engine.data import Rows, Signature
from rules.generators.choice import last_of
from rules.generators.constraints import Constraints
from rules.generators.generate import generate
from rules.ruleset import RuleSet

__all__ = ["Stability", "stability"]

ALIKE = 0.8  # rows of both over rows of either, from which on two rules count as the same
MOST_ROWS = 20_000


@final
@dataclass(frozen=True)
class Stability:
    """How a model comes back.

    Args:
        repeats: Bootstrap samples.
        dice: Mean share of rules that two models have in common: 2 x common / (rules of both).
        agreement: Mean share of rows on which the models say the same class; for values, the correlation.
        returns: By rule of the model, the share of the samples whose model has one like it.
    """

    repeats: int
    dice: float
    agreement: float
    returns: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain containers."""
        return asdict(self)


def stability(
    engine: RuleSet,
    rows: Rows,
    signature: Signature,
    genes: Mapping[str, Any],
    constraints: Constraints,
    *,
    repeats: int = 10,
    seed: int = 0,
) -> Stability:
    """Fit the same generator on bootstrap samples, and compare the rules by the rows to which they apply.

    Args:
        engine: The model.
        rows: It learned from.
        signature: Of the data.
        genes: Of the generator.
        constraints: The user's.
        repeats: Samples.
        seed: Of the samples.

    Source: Bénard et al. (2021), arXiv:1908.06852, "SIRUS: stable and interpretable rule set", the Dice index; differs
    in that two rules are the same if they apply to nearly the same rows (or, where points are added, to nearly all the
    others), not if their thresholds are equal.
    """
    rng = np.random.default_rng(seed)
    count = min(len(rows), MOST_ROWS)
    inputs = rows.inputs()
    held = engine.matches(inputs)
    said = engine.values(inputs)
    common, agreed = [], []
    returned = np.zeros(len(engine.rules))
    plain = {**genes, "teach": 0.0}
    for number in range(repeats):
        sample = rows.take(np.sort(rng.choice(len(rows), count)))
        if signature.classes and len(np.unique(sample.y)) < 2:
            continue
        other = last_of(generate(sample, signature, plain, constraints, seed=seed + number))
        there_held = other.matches(inputs)
        match = _alike(held, there_held)
        if engine.policy == "sum":
            match |= _alike(~held, there_held)  # points for the rest say the same as points against the rule
        returned += match.any(axis=1)
        common.append(2 * _paired(match) / max(sum(match.shape), 1))
        there = other.values(inputs)
        if signature.classes:
            agreed.append(float((said.argmax(axis=1) == there.argmax(axis=1)).mean()))
        else:
            is_flat = said.std() == 0 or there.std() == 0
            agreed.append(0.0 if is_flat else float(np.corrcoef(said[:, 0], there[:, 0])[0, 1]))
    done = max(len(common), 1)
    returns = {rule.id: float(share) for rule, share in zip(engine.rules, returned / done, strict=True)}
    return Stability(len(common), float(np.mean(common or [0.0])), float(np.mean(agreed or [0.0])), returns)


def _alike(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return which rules of two models apply to nearly the same rows: bool, shape (n_first, n_second)."""
    a, b = first.astype(np.float32), second.astype(np.float32)
    both = a.T @ b
    either = a.sum(axis=0)[:, None] + b.sum(axis=0)[None] - both
    found: np.ndarray = both >= ALIKE * np.maximum(either, 1)
    return found


def _paired(match: np.ndarray) -> int:
    """Return how many rules of one model have a partner of their own in the other."""
    left = match.copy()
    count = 0
    for row in left:
        partners = np.flatnonzero(row)
        if len(partners):
            count += 1
            left[:, partners[0]] = False
    return count
