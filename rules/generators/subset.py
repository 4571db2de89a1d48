"""The best few of many conditions: least squares under a limit on their number, for every number at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

__all__ = ["Surrogate", "improved", "surrogate"]

TINY = 1e-9
SWAP_ROUNDS = 6


@final
@dataclass(frozen=True, eq=False)
class Surrogate:
    """A loss around some point, as a quadratic function of the points of all conditions; the intercept is gone.

    Args:
        gram: float64, shape (n_pool, n_pool).
        slopes: float64, shape (n_pool, n_outputs).
        signs: int, shape (n_pool,): 1 or -1 where the points of a condition must have that sign, else 0.
        favour: float64, shape (n_pool,): by how much the gain of each condition counts.
    """

    gram: np.ndarray
    slopes: np.ndarray
    signs: np.ndarray
    favour: np.ndarray


def surrogate(
    masks: np.ndarray,
    working: np.ndarray,
    weights: np.ndarray,
    *,
    ridge: float,
    signs: np.ndarray,
    favour: np.ndarray,
) -> Surrogate:
    """Return the quadratic function of one step of Newton's method.

    Args:
        masks: Conditions of the pool, float32, shape (n_rows, n_pool).
        working: What the weighted least squares shall meet, float64, shape (n_rows, n_outputs).
        weights: Of the rows in it, float64, shape (n_rows,).
        ridge: Added to the diagonal, in rows of average weight.
        signs: As in `Surrogate`.
        favour: As in `Surrogate`.
    """
    total = float(weights.sum())
    weighted = masks * weights[:, None].astype(np.float32)
    means = weighted.sum(axis=0, dtype=np.float64) / total
    center = (weights[:, None] * working).sum(axis=0) / total
    gram = (weighted.T @ masks).astype(np.float64) - total * np.outer(means, means)
    slopes = (
        weighted.T.astype(np.float64) @ (working - center)
        if len(masks) < 20_000
        else _slopes(weighted, working - center)
    )
    gram[np.diag_indices_from(gram)] += ridge * total / len(masks) + TINY
    return Surrogate(gram, slopes, signs, favour)


def _slopes(weighted: np.ndarray, residual: np.ndarray) -> np.ndarray:
    return (weighted.T @ residual.astype(np.float32)).astype(np.float64)


def improved(problem: Surrogate, chosen: list[int], size: int, *, n_fixed: int = 0) -> list[int]:
    """Grow a choice to a size, and exchange members as long as that helps.

    Args:
        problem: What is minimised.
        chosen: Members of the pool to begin with, at most `size`.
        size: Number of members wanted; fewer come back where nothing helps.
        n_fixed: How many of the first members are never exchanged.

    Source: Hazimeh and Mazumder (2020), arXiv:1803.01454, "Fast best subset selection: coordinate descent and local
    combinatorial optimization algorithms", the swap neighbourhood with one member; here on the Gram matrix.
    """
    chosen = list(chosen)
    if not len(problem.gram):
        return chosen
    while len(chosen) < size:
        best, gain = _best_addition(problem, chosen)
        if gain <= TINY:
            break
        chosen.append(best)
    for _ in range(SWAP_ROUNDS):
        if not _exchange(problem, chosen, n_fixed):
            break
    return chosen


def _exchange(problem: Surrogate, chosen: list[int], n_fixed: int) -> bool:
    """Exchange members in turn where another one gains more; say whether any was."""
    is_changed = False
    for place in range(n_fixed, len(chosen)):
        member = chosen[place]
        others = chosen[:place] + chosen[place + 1 :]
        gains = _gains(problem, others)
        best = int(gains.argmax())
        if best != member and gains[best] > gains[member] * (1 + 1e-4) + TINY:
            chosen[place] = best
            is_changed = True
    return is_changed


def _best_addition(problem: Surrogate, chosen: list[int]) -> tuple[int, float]:
    gains = _gains(problem, chosen)
    best = int(gains.argmax())
    return best, float(gains[best])


def _gains(problem: Surrogate, chosen: list[int]) -> np.ndarray:
    """Return by how much the loss falls for each condition beside the chosen ones: float64, shape (n_pool,)."""
    gram, slopes = problem.gram, problem.slopes
    diagonal, left = np.diagonal(gram).copy(), slopes
    if chosen:
        inner = np.linalg.solve(gram[np.ix_(chosen, chosen)], np.hstack([gram[chosen], slopes[chosen]]))
        cross = gram[chosen]
        diagonal -= np.einsum("ij,ij->j", cross, inner[:, : gram.shape[1]])
        left = slopes - cross.T @ inner[:, gram.shape[1] :]
    is_new = diagonal > 1e-6 * np.diagonal(gram)
    gains: np.ndarray = np.where(is_new, (left**2).sum(axis=1) / np.where(is_new, diagonal, 1.0), 0.0) * problem.favour
    gains[(problem.signs != 0) & (np.sign(left[:, 0]) != problem.signs)] = 0.0
    gains[chosen] = 0.0
    return gains
