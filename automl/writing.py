"""From a fitted model to its file: written, checked against what it has to say, never returned otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from automl.fitted import Fitted
from automl.table import UNKNOWN, Columns, Table
from compression.dense import Manner, Model
from compression.features import start
from compression.tables import TableGraph
from engine.artifact import Artifact, session
from engine.errors import ArtifactError

__all__ = ["Paper", "write"]

TOLERANCE = 1e-4  # of a probability; of a value, in shares of its size and of the spread of the values
STRANGE = "\N{WHITE QUESTION MARK ORNAMENT} never seen"
MADE_ROWS = 64
CODED_ABOVE = 0.98  # a coding of fewer bits has to save a fiftieth


@final
@dataclass(frozen=True, eq=False)
class Paper:
    """What files of one data set have in common, and the rows on which they are checked.

    Args:
        table: For columns, vocabularies and classes.
        rows: Some rows.
        inputs: The same as a file takes them.
        spread: Of the target values; 1 for probabilities.
    """

    table: Table
    rows: Columns
    inputs: dict[str, np.ndarray]
    spread: float

    @staticmethod
    def of(table: Table, index: np.ndarray, *, seed: int = 0) -> Paper:
        """Return rows of a table, and after them rows made up from these: gaps, strange categories, far numbers.

        Args:
            table: Of the data.
            index: Of the rows.
            seed: Of the rows that are made up.
        """
        rng = np.random.default_rng(seed)
        plain = table.columns.take(index)
        few = plain.take(rng.integers(0, len(plain), MADE_ROWS))
        x, codes = few.x.copy(), few.codes.copy()
        half = np.arange(MADE_ROWS) % 2 == 0
        if table.has_missing.any():  # else trees are free to send a missing value anywhere
            x[(rng.random(x.shape) < 0.3) & half[:, None]] = np.nan
        far = (rng.random(x.shape) < 0.2) & ~half[:, None]
        x[far] = (x * rng.choice([-3.0, 3.0], x.shape))[far].astype(np.float32)
        codes[rng.random(codes.shape) < 0.3] = UNKNOWN
        rows = Columns(np.concatenate([plain.x, x]), np.concatenate([plain.codes, codes]))
        inputs: dict[str, np.ndarray] = {}
        if rows.x.shape[1]:
            inputs["x"] = rows.x
        if table.vocabularies:
            texts = [
                np.array([*known, STRANGE], object)[rows.codes[:, n]] for n, known in enumerate(table.vocabularies)
            ]
            inputs["c"] = np.stack(texts, axis=1)
        spread = 1.0 if table.signature.classes else float(np.std(table.y)) or 1.0
        return Paper(table, rows, inputs, spread)

    def file(self, fitted: Fitted, model: Model, manner: Manner) -> tuple[bytes, Model]:
        """Write a model and return the file, and the model as the file holds it."""
        graph = TableGraph()
        frame, signature = self.table.frame, self.table.signature
        blocks = fitted.step.lower(graph, start(graph, frame))
        result, held = model.lower(graph, blocks, manner)
        classes = signature.classes if signature.task == "classification" else None
        return graph.table(result, frame, signature.outputs, classes), held

    def answers(self, content: bytes) -> np.ndarray:
        """Return what a file says of the rows, float64, shape (n_rows, n_outputs)."""
        opened = session(content)
        return np.asarray(opened.run(None, self.inputs)[0], np.float64)

    def check(self, expected: np.ndarray, found: np.ndarray) -> None:
        """Raise unless a file says what it has to say.

        Raises:
            ArtifactError: With the largest difference.
        """
        if found.shape != expected.shape:
            raise ArtifactError(f"y must have shape {expected.shape}, the file gives {found.shape}.")
        unit = np.maximum(self.spread, np.abs(expected)) if self.table.signature.task == "regression" else 1.0
        worst = float((np.abs(found - expected) / unit).max())
        if not worst <= TOLERANCE:
            row = int(np.flatnonzero(~((np.abs(found - expected) / unit).max(axis=1) <= TOLERANCE))[0])
            raise ArtifactError(
                f"The file does not say what the model says: answers differ by up to {worst:.2g} (at most "
                f"{TOLERANCE:.0e} is allowed), first in row {row} of {len(expected)}. The file was not written."
            )


def write(fitted: Fitted, paper: Paper) -> Artifact:
    """Return the smallest file that answers as the model does.

    Weights are exact first, and that file is compared with the model. A coding of fewer bits is then compared with the
    exact file of the weights that it holds.

    Args:
        fitted: Model and preparation.
        paper: What to write on.

    Raises:
        ArtifactError: If no file agrees.
    """
    expected = fitted.answer(paper.rows)
    problems = []
    for folds in (True, False):
        content, _ = paper.file(fitted, fitted.model, Manner("float32", folds))
        try:
            paper.check(expected, paper.answers(content))
            break
        except ArtifactError as error:
            problems.append(str(error))
    else:
        raise ArtifactError(problems[-1])
    coding = "float32"
    if fitted.coding != "float32" and fitted.coding in fitted.model.codings:
        short = _coded(fitted, paper)
        if short is not None and len(short) < CODED_ABOVE * len(content):
            content, coding = short, fitted.coding
    return Artifact(content, {"coding": coding, **fitted.told})


def _coded(fitted: Fitted, paper: Paper) -> bytes | None:
    """Return the file in the coding that is asked for; None where its scales cannot hold the weights."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            short, held = paper.file(fitted, fitted.model, Manner(fitted.coding, folds=False))
            exact, _ = paper.file(fitted, held, Manner("float32", folds=False))
        paper.check(paper.answers(exact), paper.answers(short))
    except ArtifactError:
        return None
    return short
