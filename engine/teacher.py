"""A model of the user's whose outputs the winners learn from, checked before the search begins."""

from __future__ import annotations

import numpy as np

from engine.artifact import Artifact
from engine.data import Dataset
from engine.errors import ArtifactError, SettingsError

__all__ = ["checked_teacher"]

ROWS = 32
TOLERANCE = 1e-3  # of the sum of the probabilities of a row


def checked_teacher(path: str, data: Dataset) -> Artifact:
    """Read a teacher and run it on a few training rows.

    Args:
        path: Of the ONNX file.
        data: What the students are trained on.

    Raises:
        ArtifactError: If the file cannot be read.
        SettingsError: If it does not take these rows, or does not give a probability for each class, in their order.
    """
    teacher = Artifact.load(path)
    rows = data.rows.take(data.splits[-1].train[:ROWS])
    classes = data.signature.classes
    try:
        outputs = teacher.outputs(rows.inputs())
    except ArtifactError as error:
        raise SettingsError(f"teacher={path} must take the rows of the data: {error}") from error
    if outputs.ndim != 2 or outputs.shape[1] != len(classes):
        raise SettingsError(
            f"teacher={path} must give {len(classes)} probabilities a row, as the data has classes; its outputs have "
            f"shape {outputs.shape[1:]}."
        )
    if outputs.min() < 0 or np.abs(outputs.sum(axis=1) - 1).max() > TOLERANCE:
        raise SettingsError(f"teacher={path} must give probabilities that sum to 1; end its graph with a Softmax.")
    if "classes" in teacher.metadata and teacher.classes != classes:
        raise SettingsError(
            f"teacher={path} must have the classes of the data in their order, {list(classes)[:5]}...; it has "
            f"{list(teacher.classes)[:5]}..."
        )
    return teacher
