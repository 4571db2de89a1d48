"""What a model shall answer for its training rows: labels, a teacher's opinion, or both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

__all__ = ["Targets"]

LEAST_SHARE = 0.02  # of a probability that a model without soft targets is told of


@final
@dataclass(frozen=True, eq=False)
class Targets:
    """Targets of the training rows.

    Args:
        y: Class index, int64, or value, float64, shape (n_rows,).
        weight: Of each row, float64, shape (n_rows,).
        classes: How many; 0 for values.
        soft: A teacher's probabilities, shape (n_rows, n_classes), or values, shape (n_rows, 1); None without one.
        share: Of the teacher, in [0, 1].
    """

    y: np.ndarray
    weight: np.ndarray
    classes: int
    soft: np.ndarray | None = None
    share: float = 0.0

    @property
    def is_soft(self) -> bool:
        """Whether a teacher has a say."""
        return self.soft is not None and self.share > 0

    @property
    def goal(self) -> np.ndarray:
        """Probabilities, float64, shape (n_rows, n_classes), or values, shape (n_rows, 1)."""
        hard = np.eye(self.classes)[self.y] if self.classes else np.asarray(self.y, np.float64)[:, None]
        if self.soft is None or not self.share:
            return np.asarray(hard)
        return np.asarray((1 - self.share) * hard + self.share * self.soft)

    @property
    def link(self) -> str:
        """From scores to answers: `identity`, `sigmoid` of one score, or `softmax`."""
        return {0: "identity", 2: "sigmoid"}.get(self.classes, "softmax")

    @property
    def scores(self) -> np.ndarray:
        """What one score a column shall reach through the link, shape (n_rows, n_scores)."""
        return self.goal[:, 1:] if self.classes == 2 else self.goal

    def take(self, index: np.ndarray) -> Targets:
        """Return the targets of some rows."""
        soft = None if self.soft is None else self.soft[index]
        return Targets(self.y[index], self.weight[index], self.classes, soft, self.share)

    def repeated(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | slice]:
        """Return hard targets for models that take nothing else: each row once for each likely class.

        Returns:
            Targets, weights, and for each the number of its row (a slice of all where rows are not repeated).
        """
        if not self.is_soft:
            return self.y, self.weight, slice(None)
        if not self.classes:
            return self.goal[:, 0], self.weight, slice(None)
        row, label = np.nonzero(self.goal > LEAST_SHARE)
        return label, self.weight[row] * self.goal[row, label], row
