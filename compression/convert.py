"""From a fitted scikit-learn estimator, with all its preparation, to one small file that answers as it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np
import onnx
from sklearn.base import is_classifier, is_regressor

from compression.dense import DENSE_CODINGS, Manner, Model, dense_coding
from compression.features import matrix, start, width
from compression.graphs.strip import stripped
from compression.tables import TableColumns, TableGraph, columns_of
from compression.tabular.agreement import Oracle, compare, losses
from compression.tabular.estimators import foreign_model, parts, read_model, unwrapped
from compression.tabular.preprocessing import Chain, Step
from compression.tabular.transformers import read_step
from engine.artifact import Artifact, session
from engine.errors import ArtifactError, MissingExtraError
from engine.guard import checked_model

WORTHWHILE = 0.95  # of the length: a coding of fewer bits has to save a twentieth
SMALL_LOSS = 0.01  # root mean square of what rounding moves; below it the smaller file is the better one

__all__ = ["to_onnx"]


def to_onnx(estimator: Any, example: Any, *, coding: str = "float32", names: Sequence[str] | None = None) -> Artifact:
    """Write a fitted scikit-learn estimator as an ONNX file: `x` and `c` to `y`.

    Preparation is part of the file: it takes rows as the estimator does, NaN and empty text for what is missing.
    Linear models, perceptrons, Bayes classifiers, trees and the usual transformers are written by ourselves, whatever
    else by skl2onnx. The file is compared with the estimator before it is returned.

    Args:
        estimator: A fitted classifier or regressor, or a Pipeline that ends with one.
        example: Some rows as the estimator takes them, DataFrame or array: they tell numbers from texts, and the file
            must answer as the estimator does on them and on rows made up from them.
        coding: Of the weights of linear models and perceptrons: float32, float16, int8 or int4. Below float32 the
            answers change; how much is in the card. A coding of more bits is kept where fewer save next to nothing.
        names: Of the columns, where the example is an array; a DataFrame has its own.

    Returns:
        The file. A classifier without `predict_proba` answers with the softmax of its decision function: the labels
        are right, the probabilities are not calibrated.

    Raises:
        ArtifactError: If it cannot be written, or answers differently; with the largest difference.
        DataError: If the example does not fit.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import StandardScaler
        >>> x, y = load_iris(return_X_y=True)
        >>> pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)
        >>> artifact = to_onnx(pipeline, x)
        >>> artifact.size, artifact.predict({"x": x[:2]}).tolist()
        (171, ['0', '0'])
    """
    dense_coding(coding)
    whole = unwrapped(estimator)
    transformers, last = parts(whole)
    if not (is_classifier(last) or is_regressor(last)):
        raise ArtifactError(f"estimator must be or end with a classifier or a regressor, got {type(last).__name__}.")
    columns = columns_of(example, names)
    oracle = Oracle.ask(whole, last, example, columns)
    job = _Job(Chain(tuple(map(read_step, transformers))), last, columns, oracle)
    own, problems = None, []
    try:
        own = read_model(last, takes_missing=job.passes_missing())
    except ArtifactError as error:
        problems.append(f"our own form: {error}")
    best, measured = _exact(job, own, problems)
    best_coding = "float32"
    for tried in DENSE_CODINGS[1 : DENSE_CODINGS.index(coding) + 1]:
        if own is None or tried not in own[1].codings:
            continue
        try:
            content, lost = _rounded(job, own, tried)
        except ArtifactError:
            if tried == coding:
                raise
            continue
        if len(content) < WORTHWHILE * len(best):
            best, best_coding, measured = content, tried, measured | lost
    return _artifact(best, job, best_coding, measured)


@final
@dataclass(frozen=True, eq=False)
class _Job:
    """What every way to write one estimator has in common.

    Args:
        preparation: Its transformers.
        last: The classifier or regressor.
        columns: Of the table.
        oracle: What a file has to answer.
    """

    preparation: Step
    last: Any
    columns: TableColumns
    oracle: Oracle

    def write(self, way: tuple[Step, Model], manner: Manner) -> tuple[bytes, Model]:
        """Return a file, and the model as the file holds it.

        Args:
            way: The last estimator: what else prepares the features, and the model.
            manner: Coding and folding.
        """
        graph = TableGraph()
        step, model = way
        blocks = Chain((self.preparation, step)).lower(graph, start(graph, self.columns))
        result, held = model.lower(graph, blocks, manner)
        content = graph.table(result, self.columns, self.oracle.outputs, self.oracle.classes)
        if graph.is_spliced:
            content = stripped(onnx.load_model_from_string(content)).SerializeToString(deterministic=True)
        checked_model(content)
        return content, held

    def passes_missing(self) -> bool:
        """Say whether NaN reaches the last estimator, by what the preparation makes of rows with missing values."""
        rows = [inputs for name, inputs, *_ in self.oracle.kinds if name == "missing"]
        graph = TableGraph()
        try:
            blocks = self.preparation.lower(graph, start(graph, self.columns))
            features = graph.node("Identity", matrix(graph, blocks))
            opened = session(graph.table(features, self.columns, width(blocks), None))
        except ArtifactError:  # told when the whole is written
            return True
        return any(bool(np.isnan(opened.run(None, inputs)[0]).any()) for inputs in rows)

    def failed(self, what: str, problems: Sequence[str]) -> ArtifactError:
        """Return the error that tells why no way led to a file."""
        title = f"{type(self.last).__name__} cannot be written as a file that answers as it does{what}:"
        return ArtifactError("\n  ".join([title, *problems]))


def _exact(job: _Job, own: tuple[Step, Model] | None, problems: list[str]) -> tuple[bytes, dict[str, Any]]:
    """Return the first file that answers as the estimator does, the smallest form first, and what was measured."""
    ways: list[tuple[str, tuple[Step, Model], bool]] = []
    if own is not None:
        ways += [("our own form", own, True), ("our own form, scaling apart", own, False)]
    ways.append(("by skl2onnx", (Chain(()), foreign_model(job.last)), False))
    for title, way, folds in ways:
        try:
            content, _ = job.write(way, Manner("float32", folds))
            return content, asdict(compare(job.oracle, content))
        except (ArtifactError, MissingExtraError) as error:
            problems.append(f"{title}: {error}")
    raise job.failed("", problems)


def _rounded(job: _Job, own: tuple[Step, Model], coding: str) -> tuple[bytes, dict[str, Any]]:
    """Return a file whose weights are rounded, compared with the exact file of the weights that it holds.

    Codes of integers lose more where weights take over scales that differ. So scaling is folded or apart, whatever is
    smaller, as long as little is lost; else whatever loses less.
    """
    found, problems = [], []
    for folds in (True, False):
        try:
            content, held = job.write(own, Manner(coding, folds))
            reference, _ = job.write((own[0], held), Manner("float32", folds=False))
            decoded = compare(job.oracle.answered_by(reference), content)
            lost = losses(job.oracle, content)
            found.append((content, {"coded_difference": decoded.difference} | asdict(lost), lost.rounding_difference))
        except ArtifactError as error:
            problems.append(f"scaling {'folded' if folds else 'apart'}: {error}")
    if not found:
        raise job.failed(f" with the coding {coding}", problems)
    content, measured, _ = min(found, key=lambda entry: (max(entry[2], SMALL_LOSS), len(entry[0])))
    return content, measured


def _artifact(content: bytes, job: _Job, coding: str, measured: dict[str, Any]) -> Artifact:
    columns, classes = job.columns, job.oracle.classes
    artifact = Artifact(content)
    card = {
        "task": "regression" if classes is None else "classification",
        "classes": list(classes or ()),
        "numeric_columns": list(columns.numeric) if columns.is_named else [],
        "categorical_columns": list(columns.categorical) if columns.is_named else [],
        "bytes": artifact.size,
        "sha256": artifact.sha256,
        "estimator": type(job.last).__name__,
        "coding": coding,
        "parity": measured,
    }
    return Artifact(content, card)
