"""A Gaussian process: what errors to expect of candidates that were not tried, and how surely."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import numpy as np
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

__all__ = ["Surrogate", "fitted_scales", "one_thread"]

# Priors of the logarithms: of the weight of a group of features (the inverse of its squared length scale), and of the
# noise as a share of the signal's variance. Wide: a factor of 4.5 either way is one standard deviation.
WEIGHT_PRIOR, NOISE_PRIOR, PRIOR_SPREAD = -1.0, -3.5, 1.5
BOUNDS = (-8.0, 4.0)
STEPS = 25  # of the search for the largest posterior
JITTER = 1e-6
PSEUDO_ROWS = 2.0  # rows of unit variance that the signal's variance is estimated with


@final
@dataclass(frozen=True)
class Surrogate:
    """A Gaussian process with a Matérn 5/2 kernel, conditioned on rows. Make it with `conditioned`.

    Source: Rasmussen and Williams (2006), Gaussian Processes for Machine Learning, algorithm 2.1; leave-one-out
    residuals by section 5.4.2; differs in that the variance of the signal is profiled out.
    """

    features: np.ndarray
    scales: np.ndarray
    groups: np.ndarray
    center: float
    scale: float
    variance: float
    root: np.ndarray  # inverse of the Cholesky factor
    solved: np.ndarray  # the inverse covariance times the targets

    @staticmethod
    def conditioned(features: np.ndarray, groups: np.ndarray, values: np.ndarray, scales: np.ndarray) -> Surrogate:
        """Return the process that has seen these rows.

        Args:
            features: n x d.
            groups: Group of each of the d features.
            values: What was measured, n.
            scales: As `fitted_scales` returns them.
        """
        center, scale = float(values.mean()), max(1e-9, float(values.std()))
        targets = (values - center) / scale
        scaled = _scaled(features, groups, scales)
        kernel = _matern(_distances(scaled, scaled)) + (math.exp(scales[-1]) + JITTER) * np.eye(len(values))
        root = _inverse_root(kernel)
        solved = root.T @ (root @ targets)
        variance = (float(targets @ solved) + PSEUDO_ROWS) / (len(values) + PSEUDO_ROWS)
        return Surrogate(scaled, scales, groups, center, scale, variance, root, solved)

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of the value of each row, without noise."""
        kernel = _matern(_distances(_scaled(features, self.groups, self.scales), self.features))
        mean = kernel @ self.solved
        left = np.maximum(JITTER, 1.0 - ((kernel @ self.root.T) ** 2).sum(axis=1))
        return self.center + self.scale * mean, self.scale * np.sqrt(self.variance * left)

    def surprises(self) -> np.ndarray:
        """Return the squared distance of each row from what all others predict, in units of the variance predicted."""
        return np.asarray(self.solved**2 / (self.root**2).sum(axis=0) / self.variance)


def fitted_scales(features: np.ndarray, groups: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the log weight of each group and the log share of noise with the largest posterior.

    Args:
        features: n x d.
        groups: Group of each of the d features.
        values: What was measured, n.

    Returns:
        One number a group, and the noise.

    Source: the marginal likelihood and its gradient by Rasmussen and Williams (2006), section 5.4.1.
    """
    from scipy.optimize import minimize

    n_groups = int(groups.max()) + 1
    targets = (values - values.mean()) / max(1e-9, float(values.std()))
    apart = [_distances(features[:, groups == group], features[:, groups == group]) for group in range(n_groups)]
    prior = np.array([WEIGHT_PRIOR] * n_groups + [NOISE_PRIOR])
    found = minimize(
        _loss,
        prior,
        (np.stack(apart), targets, prior),
        method="L-BFGS-B",
        jac=True,
        bounds=[BOUNDS] * len(prior),
        options={"maxiter": STEPS},
    )
    return np.asarray(found.x)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep matrix products to one thread, inside the block only.

    Beside busy workers, threads that wait for each other make a small product a hundred times slower; and with one
    thread a proposal is the same whatever the number of cores.
    """
    with _blas().limit(limits=1, user_api="blas"):
        yield


def _loss(scales: np.ndarray, apart: np.ndarray, targets: np.ndarray, prior: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the negative log posterior of scales, up to a constant, and its gradient."""
    n = len(targets)
    weights, noise = np.exp(scales[:-1]), math.exp(scales[-1])
    squared = np.tensordot(weights, apart, axes=1)
    root = np.sqrt(5.0 * squared)
    decay = np.exp(-root)
    inverse_root = _inverse_root((1.0 + root + root**2 / 3.0) * decay + (noise + JITTER) * np.eye(n))
    inverse = inverse_root.T @ inverse_root
    solved = inverse @ targets
    fit = float(targets @ solved) + PSEUDO_ROWS
    off = (scales - prior) / PRIOR_SPREAD
    loss = 0.5 * n * math.log(fit / (n + PSEUDO_ROWS)) - np.log(np.diag(inverse_root)).sum() + 0.5 * (off**2).sum()
    by_kernel = 0.5 * inverse - 0.5 * n / fit * np.outer(solved, solved)
    slope = by_kernel * (-5.0 / 6.0) * (1.0 + root) * decay
    gradient = [*weights * np.tensordot(apart, slope, axes=2), np.trace(by_kernel) * noise]
    return float(loss), np.array(gradient) + off / PRIOR_SPREAD


@functools.cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def _inverse_root(covariance: np.ndarray) -> np.ndarray:
    """Return the inverse of the Cholesky factor: triangular, so in a sixth of the time that any other inverse takes."""
    from scipy.linalg.lapack import dtrtri

    return np.asarray(dtrtri(np.linalg.cholesky(covariance), lower=1)[0])


def _scaled(features: np.ndarray, groups: np.ndarray, scales: np.ndarray) -> np.ndarray:
    return np.asarray(features * np.exp(0.5 * scales[:-1])[groups])


def _distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the squared distance of each pair of rows."""
    squared = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1) - 2 * first @ second.T
    return np.asarray(np.maximum(0.0, squared))


def _matern(squared: np.ndarray) -> np.ndarray:
    """Return the Matérn 5/2 kernel of squared scaled distances."""
    root = np.sqrt(5.0 * squared)
    return np.asarray((1.0 + root + root**2 / 3.0) * np.exp(-root))
