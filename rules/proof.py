"""Proof that an exported form answers as its rule set does; what fails is not handed out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from engine.errors import ArtifactError
from rules.corners import corner_rows, random_rows
from rules.ruleset import RuleSet

__all__ = ["TOLERANCE", "Answers", "Proof", "proof_rows", "prove"]

TOLERANCE = 1e-6  # of a probability; of a value, relative to the largest one
RANDOM_ROWS = 1000
BLOCK_ROWS = 100_000  # that a form answers at a time


@final
@dataclass(frozen=True, eq=False)
class Answers:
    """What some form of a rule set said of rows.

    Args:
        values: Probabilities or values, shape (n_rows, n_classes or 1); None where the form does not tell them.
        decisions: Number of the class, shape (n_rows,), -1 where it abstains; None for regression.
    """

    values: np.ndarray | None
    decisions: np.ndarray | None


@final
@dataclass(frozen=True)
class Proof:
    """What was compared.

    Args:
        rows: How many rows: given ones, corners of boxes, random ones.
        difference: The largest one between probabilities, or between values relative to the largest of them; None where
            the form tells classes alone.
    """

    rows: int
    difference: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the proof as plain containers."""
        return {"rows": self.rows, "difference": self.difference}


def proof_rows(
    engine: RuleSet, inputs: Mapping[str, np.ndarray] | None = None, *, seed: int = 0
) -> dict[str, np.ndarray]:
    """Return rows to compare forms on: the given ones as float32, corners of every rule's box, random ones.

    Args:
        engine: The rules.
        inputs: Rows of the data, `x` and `c`.
        seed: Of what is drawn.
    """
    rng = np.random.default_rng(seed)
    parts = [corner_rows(engine, rng), random_rows(engine, RANDOM_ROWS, rng, inputs)]
    if inputs is not None:
        given = {"x": np.float32, "c": str}
        parts.append({name: np.asarray(inputs[name]).astype(given[name]) for name in parts[0]})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def prove(
    engine: RuleSet, said: Callable[[Mapping[str, np.ndarray]], Answers], rows: Mapping[str, np.ndarray], *, form: str
) -> Proof:
    """Compare a form of a rule set with the rule set itself.

    Args:
        engine: The rules.
        said: What the form answers to rows.
        rows: As from `proof_rows`.
        form: What the form is called in messages.

    Raises:
        ArtifactError: If any class differs, or any probability (or value) by more than a millionth; with the first row.
    """
    values, decisions = engine.values(rows), engine.decisions(rows)
    scale = 1.0 if engine.classes else max(float(np.abs(values).max(initial=0)), 1e-30)
    largest: float | None = 0.0
    for start in range(0, len(values), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        part = {name: array[block] for name, array in rows.items()}
        answers = said(part)
        if answers.decisions is not None:
            wrong = answers.decisions != decisions[block]
            _refuse(wrong, part, form, "class", answers.decisions, decisions[block])
        if answers.values is None or largest is None:
            largest = None
            continue
        difference = np.abs(np.asarray(answers.values, float) - values[block]).max(axis=1) / scale
        what = "probability" if engine.classes else "value"
        _refuse(~(difference <= TOLERANCE), part, form, what, answers.values, values[block])
        largest = max(largest, float(difference.max()))
    return Proof(len(values), largest)


def _refuse(
    wrong: np.ndarray, rows: Mapping[str, np.ndarray], form: str, what: str, said: np.ndarray, wanted: np.ndarray
) -> None:
    """Raise with the first wrong row, if there is one."""
    if not wrong.any():
        return
    place = int(np.argmax(wrong))
    row = {name: np.asarray(array)[place].tolist() for name, array in rows.items()}
    raise ArtifactError(
        f"The {form} form must answer as the rules do, but {int(wrong.sum())} of {len(wrong)} rows have another "
        f"{what}: row {row} has {np.asarray(said)[place].tolist()}, not {np.asarray(wanted)[place].tolist()}. "
        "The file is not written; report the rule set as a defect."
    )
