"""About how much a candidate costs, by what it has in common with others: which exact costs are worth telling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np

__all__ = ["RoughCost"]

RIDGE = 0.3  # squared weights that count as much as one squared residual
LEAST_SPREAD = 1e-6
LEAST_SCALE = 1e-3  # of a column that hardly differs from row to row


@final
@dataclass(frozen=True)
class RoughCost:
    """A ridge regression of log cost on features. Make it with `of`.

    A column is held back the less, the more it tells of the cost alone: a family that tells about the size is believed
    after few rows, though that is one column beside a hundred of genes.

    Args:
        center: Mean of each feature.
        weights: One a feature.
        start: Mean log cost.
        spread: How far off it is for a row that it was not fitted on: the root of the mean squared residual when each
            row is left out in turn.
    """

    center: np.ndarray
    weights: np.ndarray
    start: float
    spread: float

    @staticmethod
    def of(features: np.ndarray, log_costs: np.ndarray) -> RoughCost:
        """Return the regression over these rows.

        Args:
            features: n x d, without the cost.
            log_costs: n, exact.

        Example:
            >>> features = np.arange(12.0).reshape(6, 2)
            >>> rough = RoughCost.of(features, features[:, 0] / 2 + 1)
            >>> bool(abs(rough.expected(np.array([[20.0, 21.0]]))[0] - 11.0) < 0.3)
            True
        """
        center, start = features.mean(axis=0), float(log_costs.mean())
        scale = 1.0 / np.maximum(features.std(axis=0), LEAST_SCALE)
        away, rest = (features - center) * scale, log_costs - start
        telling = np.abs(away.T @ rest) / (len(rest) * max(LEAST_SPREAD, float(rest.std())))  # their correlation
        away, scale = away * telling, scale * telling
        inverse = np.linalg.inv(away.T @ away + RIDGE * np.eye(features.shape[1]))
        spanned = away @ inverse
        weights = spanned.T @ rest
        leverage = (spanned * away).sum(axis=1) + 1.0 / len(rest)
        residuals = (rest - away @ weights) / np.maximum(1e-3, 1.0 - leverage)
        return RoughCost(center, weights * scale, start, max(LEAST_SPREAD, math.sqrt(float((residuals**2).mean()))))

    def expected(self, features: np.ndarray) -> np.ndarray:
        """Return the log cost to expect of each row of features."""
        return np.asarray(self.start + (features - self.center) @ self.weights)
