"""Reading trained tree models of scikit-learn and LightGBM as neutral ensembles."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from compression.trees.check import edge_rows
from compression.trees.ensemble import Ensemble
from engine.errors import ArtifactError

__all__ = ["read_ensemble"]

TOLERANCE = 1e-6  # float64 sums in another order, and the rounding of nothing else


def read_ensemble(estimator: Any, *, takes_missing: bool = True) -> Ensemble:
    """Read a trained model and check that the ensemble says what the model says.

    Known: scikit-learn's decision trees, random forests, extremely randomised trees, gradient boosting and histogram
    gradient boosting, classifiers and regressors of one target; LightGBM's classifiers, regressors, rankers and
    Booster.

    Args:
        estimator: Trained.
        takes_missing: Whether rows will have missing values; if not, files are a little smaller.

    Raises:
        ArtifactError: If the model is not known, or has something that trees here have not; it says what.

    Example:
        >>> from sklearn.tree import DecisionTreeRegressor
        >>> x = np.arange(6, dtype=np.float32).reshape(6, 1)
        >>> read_ensemble(DecisionTreeRegressor(max_depth=1).fit(x, x[:, 0])).n_splits
        1
    """
    known = _readers()
    for kind in type(estimator).__mro__:
        read = known.get(f"{kind.__module__.split('.')[0]}.{kind.__name__}")
        if read is not None:
            ensemble, says = read(estimator, takes_missing)
            _check(ensemble, says, type(estimator).__name__)
            return ensemble
    names = ", ".join(sorted({name.split(".")[1] for name in known}))
    raise ArtifactError(f"No trees can be read from {type(estimator).__name__}. Known: {names}.")


def _readers() -> dict[str, Callable[[Any, bool], tuple[Ensemble, Callable[[np.ndarray], np.ndarray]]]]:
    from compression.trees import from_lightgbm, from_sklearn

    return {**from_sklearn.READERS, **from_lightgbm.READERS}


def _check(ensemble: Ensemble, says: Callable[[np.ndarray], np.ndarray], name: str) -> None:
    """Compare with the model at the thresholds: a library may change what its trees mean."""
    rows = edge_rows(ensemble, np.random.default_rng(0), rows=64, infinite=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the rows carry no column names
        expected = np.asarray(says(rows), np.float64).reshape(len(rows), -1)
    found = ensemble.predict(rows)
    if expected.shape[1] == 1 and ensemble.link == "sigmoid":
        found = found[:, 1:]
    difference = np.abs(found - expected) / (1 + np.abs(expected))
    if found.shape != expected.shape or not (difference <= TOLERANCE).all():
        raise ArtifactError(
            f"The trees read from {name} do not say what it says: predictions differ by up to "
            f"{float(difference.max()) if found.shape == expected.shape else 'their shape'}. Its release may have "
            "changed the meaning of its trees; please report it."
        )
