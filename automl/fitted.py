"""A fitted model on its way to a file: its preparation, itself, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from automl.preparation import Preparation
from automl.table import Columns
from compression.dense import Model
from compression.tabular.preprocessing import Step

__all__ = ["Fitted", "of_features"]

Answer = Callable[[Columns], np.ndarray]


@final
@dataclass(frozen=True, eq=False)
class Fitted:
    """What is written, and what it has to say.

    Args:
        step: Preparation as the file has it; its inputs are all columns of the table.
        model: As the file has it.
        answer: What the file has to answer for rows, float64, shape (n_rows, n_outputs).
        coding: Of the weights of dense layers.
        told: What the card says: `parameters`, `coding`, `description` and the like.
        genes: What differs from the candidate that was asked for, in a ladder of sizes.
    """

    step: Step
    model: Model
    answer: Answer
    coding: str = "float32"
    told: Mapping[str, Any] = field(default_factory=dict)
    genes: Mapping[str, Any] = field(default_factory=dict)


def of_features(
    preparation: Preparation,
    model: Model,
    answer: Callable[[np.ndarray], np.ndarray],
    *,
    coding: str = "float32",
    told: Mapping[str, Any] | None = None,
    genes: Mapping[str, Any] | None = None,
) -> Fitted:
    """Return a model that answers from prepared features.

    Args:
        preparation: Makes them.
        model: As the file has it.
        answer: From features, float64, shape (n_rows, n_features).
        coding: See `Fitted`.
        told: See `Fitted`.
        genes: See `Fitted`.
    """
    return Fitted(
        preparation.step(), model, lambda rows: answer(preparation.apply(rows)), coding, told or {}, genes or {}
    )
