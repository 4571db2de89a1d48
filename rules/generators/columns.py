"""Column generation for rule sets: a linear program over conditions, and a search for those that would improve it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.errors import MissingExtraError
from rules.generators.beam import Found, beam_search
from rules.generators.binned import Box
from rules.generators.examples import Examples

__all__ = ["priced"]

ROUNDS = 12
NEW_A_ROUND = 10
LP_ROWS = 2500


def priced(
    examples: Examples,
    literals: Sequence[Box],
    held: np.ndarray,
    yes: np.ndarray,
    no: np.ndarray,
    *,
    length: int,
    brevity: float,
) -> list[Found]:
    """Return conditions that a linear program over all conjunctions asks for.

    The program: minimise the weight of positive rows that no condition covers, plus that of negative rows for each
    condition that covers them, plus `brevity` a comparison. Its dual values price what a further condition would bring;
    a beam search looks for those, until it finds none.

    Args:
        examples: Training rows.
        literals: Boxes with one side.
        held: Which rows keep which literal, float32, shape (n_rows, n_literals).
        yes: Weight of each row as a positive one, float64, shape (n_rows,).
        no: Weight of each row as a negative one.
        length: Most literals in a condition.
        brevity: Price of a comparison.

    Raises:
        MissingExtraError: If HiGHS is not installed.
    """
    rows = np.arange(len(yes))
    if len(rows) > LP_ROWS:
        rows = np.sort(np.random.default_rng(examples.seed).choice(len(rows), LP_ROWS, replace=False))
    positive = rows[yes[rows] > 0]
    pool: dict[Box, Found] = {}
    duals = np.zeros(len(yes))
    duals[positive] = yes[positive]
    for _ in range(ROUNDS):
        sums = np.stack([duals, np.where(np.isin(np.arange(len(no)), rows), no, 0.0)]).astype(np.float32)
        found = beam_search(examples, literals, held, sums, _reduced, length=length, width=15, most=4 * NEW_A_ROUND)
        fresh = [
            entry
            for entry in found
            if entry.box not in pool and entry.worth > brevity * examples.data.size(entry.box) + 1e-6
        ][:NEW_A_ROUND]
        if not fresh:
            break
        pool |= {entry.box: entry for entry in fresh}
        duals[positive] = _duals(examples, list(pool.values()), positive, rows, yes, no, brevity)
    return list(pool.values())


def _reduced(counts: np.ndarray) -> np.ndarray:
    """Return what a condition saves at the prices of the dual: positive rows gained less negative rows hit."""
    made: np.ndarray = np.where(counts[0] > 1e-6, counts[0] - counts[1], -np.inf)
    return made


def _duals(
    examples: Examples,
    pool: list[Found],
    positive: np.ndarray,
    rows: np.ndarray,
    yes: np.ndarray,
    no: np.ndarray,
    brevity: float,
) -> np.ndarray:
    """Solve the program over the conditions at hand; return the price of each positive row, float64."""
    try:
        import highspy
    except ImportError as error:
        raise MissingExtraError("Column generation needs highspy: pip install 'lilliput[rules]'.") from error
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)
    covers = np.stack([entry.mask[positive] for entry in pool])
    prices = [brevity * examples.data.size(entry.box) + float(no[rows][entry.mask[rows]].sum()) for entry in pool]
    count = len(positive)
    program = highspy.HighsLp()
    program.num_col_, program.num_row_ = count + len(pool), count
    program.col_cost_ = np.concatenate([yes[positive], prices])
    program.col_lower_ = np.zeros(count + len(pool))
    program.col_upper_ = np.full(count + len(pool), highspy.kHighsInf)
    program.row_lower_, program.row_upper_ = np.ones(count), np.full(count, highspy.kHighsInf)
    indices = [np.arange(count), *(np.flatnonzero(cover) for cover in covers)]
    program.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    program.a_matrix_.start_ = np.concatenate([np.arange(count + 1), count + np.cumsum(covers.sum(axis=1))])
    program.a_matrix_.index_ = np.concatenate(indices).astype(np.int32)
    program.a_matrix_.value_ = np.ones(int(count + covers.sum()))
    solver.passModel(program)
    solver.run()
    duals: np.ndarray = np.clip(np.asarray(solver.getSolution().row_dual), 0.0, None)
    return duals
