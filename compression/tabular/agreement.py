"""The parity gate of fitted estimators: a file is returned only if it answers as the estimator does."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import pandas as pd

from compression.tables import TableColumns
from compression.tabular.estimators import answers_of
from engine.artifact import session
from engine.errors import ArtifactError, DataError
from engine.loaders.columns import canonical_text, is_missing

__all__ = ["Agreement", "Losses", "Oracle", "compare", "losses"]

TOLERANCE = 1e-4  # of a probability; of a value, in shares of its size and of the spread of the values
TIED_SHARE = 0.02  # of rows whose label may change because their best classes are equally probable
LARGEST_LOSS = 0.1  # beyond it a rounded file is another model
EXAMPLE_ROWS = 500
MADE_ROWS = 64
UNKNOWN = "\N{WHITE QUESTION MARK ORNAMENT} never seen"


@final
@dataclass(frozen=True)
class Agreement:
    """What the gate measured.

    Args:
        rows: Compared, of the example and made up.
        made_up: Kinds of rows that were made up; one that the estimator itself refuses is left out.
        difference: Largest difference of a probability, or of a value in shares of its tolerance's unit.
        flips: Rows of the example with another label than `predict` gives; ties within the tolerance aside, 0.
    """

    rows: int
    made_up: tuple[str, ...]
    difference: float
    flips: int


@final
@dataclass(frozen=True)
class Losses:
    """What rounding the weights changed on the example.

    Args:
        rounding_difference: Root mean square, of probabilities, or of values in shares of their spread.
        rounding_flips: Share of the rows with another label; None for values.
    """

    rounding_difference: float
    rounding_flips: float | None


@final
@dataclass(frozen=True, eq=False)
class Oracle:
    """What the estimator says of rows: what every file has to say of them.

    Args:
        kinds: Name, inputs of the file, expected outputs and labels (class indices; None for values) of some rows.
        unit: What a difference is measured in: 1 for probabilities, else for each value, by name of the kind.
        classes: Names in the order of the outputs; None for regression.
    """

    kinds: tuple[tuple[str, dict[str, np.ndarray], np.ndarray, np.ndarray | None], ...]
    spread: float
    classes: tuple[str, ...] | None

    @staticmethod
    def ask(estimator: Any, last: Any, example: Any, columns: TableColumns, *, seed: int = 0) -> Oracle:
        """Let the estimator answer for its example and for rows made up from it.

        Args:
            estimator: The whole, with its preparation.
            last: Its last step, which says what is answered.
            example: Rows as the estimator takes them.
            columns: Of the example.
            seed: Of the rows that are made up.

        Raises:
            ArtifactError: If it answers with several values a row.
            DataError: If the estimator refuses its own example.
        """
        answers = answers_of(last)
        frame = pd.DataFrame(example) if not isinstance(example, pd.DataFrame) else example
        gaps = [_gap(frame.iloc[:, place]) for place in range(frame.shape[1])]
        frame = frame.iloc[np.unique(np.linspace(0, len(frame) - 1, min(len(frame), EXAMPLE_ROWS)).astype(int))]
        shape: Callable[[pd.DataFrame], Any] = _shaped_like(example)
        kinds = []
        for name, rows in _made_up(_in_float32(frame, columns), columns, gaps, np.random.default_rng(seed)):
            try:
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")
                    expected, labels = _asked(estimator, answers, shape(rows))
            except ArtifactError:
                raise
            except Exception as error:  # whatever an estimator raises on rows that it does not take
                if name == "example":
                    raise DataError(f"{type(last).__name__} does not take the rows of example: {error}") from error
                continue
            if np.isfinite(expected).all():
                kinds.append((name, columns.inputs(rows), expected, labels))
        if not kinds:
            raise DataError(f"{type(last).__name__} must give finite numbers for the rows of example.")
        values = kinds[0][2]
        spread = 1.0 if answers != "values" else float(values.std()) or float(np.abs(values).max()) or 1.0
        classes = None if answers == "values" else tuple(map(canonical_text, np.asarray(last.classes_).tolist()))
        return Oracle(tuple(kinds), spread, classes)

    def answered_by(self, model: bytes) -> Oracle:
        """Return the same rows with the answers of a file."""
        opened = session(model)
        kinds = []
        for name, inputs, expected, labels in self.kinds:
            found = _run(opened, inputs, expected.shape)
            kinds.append((name, inputs, found, None if labels is None else found.argmax(axis=1)))
        return replace(self, kinds=tuple(kinds))

    @property
    def outputs(self) -> int:
        """Width of `y`."""
        return int(self.kinds[0][2].shape[1])


def losses(oracle: Oracle, model: bytes) -> Losses:
    """Measure on the example what rounding the weights changed.

    Raises:
        ArtifactError: If the file is no longer the estimator.
    """
    _, inputs, expected, labels = oracle.kinds[0]
    found = _run(session(model), inputs, expected.shape)
    difference = float(np.sqrt(((found - expected) ** 2).mean())) / oracle.spread
    changed = None if labels is None else float((found.argmax(axis=1) != labels).mean())
    if not difference <= LARGEST_LOSS:
        raise ArtifactError(
            f"rounding the weights moves the answers by {difference:.2g} (root mean square; at most {LARGEST_LOSS} is "
            "allowed): scale the columns before the model, or take a coding of more bits."
        )
    return Losses(difference, changed)


def compare(oracle: Oracle, model: bytes) -> Agreement:
    """Run a file on the rows of an oracle, with graph optimisation and without.

    Raises:
        ArtifactError: If it differs by more than the tolerance or in a label; with the largest difference.
    """
    worst, where, flips, rows = 0.0, "", 0, 0
    for is_optimized in (True, False):
        opened = session(model, optimized=is_optimized)
        for name, inputs, expected, labels in oracle.kinds:
            found = _run(opened, inputs, expected.shape)
            difference, changed = _differences(oracle, name, found, expected, labels)
            rows += len(expected) if is_optimized else 0
            flips = max(flips, changed)
            if difference > worst or np.isnan(difference):
                worst, where = difference, name
    if worst <= TOLERANCE and flips:
        raise ArtifactError(
            f"probabilities agree within {worst:.2g}, but {flips} labels that predict gives do not follow from them."
        )
    if not worst <= TOLERANCE:
        what = "probabilities" if oracle.classes else "values, in shares of their size and spread,"
        raise ArtifactError(
            f"{what} differ by up to {worst:.2g} on rows of the kind '{where}' (at most {TOLERANCE:.0e} is allowed) "
            f"and {flips} labels changed."
        )
    return Agreement(rows, tuple(name for name, *_ in oracle.kinds[1:]), worst, flips)


def _run(opened: Any, inputs: dict[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    try:
        found = np.asarray(opened.run(None, inputs)[0], np.float64)
    except Exception as error:  # its exception types share no public root
        raise ArtifactError(f"ONNX Runtime cannot run the file: {error!s:.300}") from error
    if found.shape != shape:
        raise ArtifactError(f"y must have shape {shape}, the file gives {found.shape}.")
    return found


def _differences(
    oracle: Oracle, name: str, found: np.ndarray, expected: np.ndarray, labels: np.ndarray | None
) -> tuple[float, int]:
    gaps = np.abs(found - expected)
    if labels is None:
        return float((gaps / np.maximum(oracle.spread, np.abs(expected))).max()), 0
    ranked = np.sort(expected, axis=1)
    is_tied = ranked[:, -1] - ranked[:, -2] <= 2 * TOLERANCE if expected.shape[1] > 1 else np.zeros(len(found), bool)
    is_changed = found.argmax(axis=1) != labels
    is_accident = (is_changed & is_tied).sum() <= TIED_SHARE * len(found)
    if name != "example" or is_accident:  # far outside probabilities saturate; on the example predict decides otherwise
        is_changed &= ~is_tied
    return float(gaps.max()), int(is_changed.sum())


def _asked(estimator: Any, answers: str, rows: Any) -> tuple[np.ndarray, np.ndarray | None]:
    if answers == "values":
        values = np.asarray(estimator.predict(rows), np.float64)
        if values.ndim == 2 and values.shape[1] > 1:
            raise ArtifactError(f"a file gives one value a row, the estimator {values.shape[1]}: fit one for each.")
        return values.reshape(-1, 1), None
    classes = np.asarray(estimator.classes_)
    labels = (np.asarray(estimator.predict(rows)).reshape(-1, 1) == classes).argmax(axis=1)
    if answers == "probabilities":
        return np.asarray(estimator.predict_proba(rows), np.float64), labels
    if answers == "labels":
        return np.eye(len(classes))[labels], labels
    scores = np.asarray(estimator.decision_function(rows), np.float64)
    if scores.ndim == 1:
        scores = np.stack([np.zeros_like(scores), scores], axis=1)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True), labels


def _made_up(
    rows: pd.DataFrame, columns: TableColumns, gaps: Sequence[Any], rng: np.random.Generator
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the example, then rows with missing values, unknown categories and numbers far outside."""
    yield "example", rows
    few = rows.iloc[rng.integers(0, len(rows), MADE_ROWS)].reset_index(drop=True)
    missing, unknown, extreme = few.copy(), few.copy(), few.copy()
    for place, kind in enumerate(columns.kinds):
        name = few.columns[place]
        gone = rng.random(len(few)) < 0.3
        if kind == "number":
            numbers = few[name].astype(np.float64)
            missing[name] = numbers.mask(gone)
            low, high = np.nan_to_num([numbers.min(), numbers.max()], nan=0.0)
            reach = (high - low) or 1.0
            values = rng.choice([low - 3 * reach, low, (low + high) / 2, high, high + 3 * reach, 0.0], len(few))
            extreme[name] = values.astype(np.float32).astype(np.float64)
        elif kind == "text":
            missing[name] = few[name].where(~gone, gaps[place])
            unknown[name] = few[name].astype(object).mask(gone, UNKNOWN)
    yield "missing", missing
    if columns.categorical:
        yield "unknown", unknown
    if columns.numeric:
        yield "extreme", extreme


def _gap(values: pd.Series) -> Any:
    """Return what a column has where something is missing; to an encoder None, NaN and "" differ."""
    missing = values[is_missing(values)]
    return missing.iloc[0] if len(missing) else np.nan


def _in_float32(frame: pd.DataFrame, columns: TableColumns) -> pd.DataFrame:
    """Return rows whose numbers float32 holds: what is compared is the arithmetic, not the rounding of `x`."""
    made = frame.copy()
    for name, kind in zip(frame.columns, columns.kinds, strict=True):
        if kind == "number":
            values = pd.to_numeric(frame[name]).to_numpy(np.float64, na_value=np.nan)
            rounded = values.astype(np.float32).astype(np.float64)
            is_whole = pd.api.types.is_integer_dtype(frame[name].dtype) and not np.isnan(rounded).any()
            made[name] = rounded.astype(np.int64) if is_whole else rounded
    return made.reset_index(drop=True)


def _shaped_like(example: Any) -> Callable[[pd.DataFrame], Any]:
    if isinstance(example, pd.DataFrame):
        return lambda rows: rows
    dtype = np.asarray(example).dtype
    return lambda rows: rows.to_numpy(dtype if dtype.kind == "f" else None)
