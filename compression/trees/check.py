"""The parity gate of tree ensembles: a file is written only if it says what the trees say."""

from __future__ import annotations

import numpy as np

from compression.trees.ensemble import Ensemble
from engine.artifact import session
from engine.errors import ArtifactError

__all__ = ["check_trees", "edge_rows"]

ROWS = 200
LARGEST = (np.finfo(np.float32).min, np.finfo(np.float32).max)
ROUNDING = 1e-6  # of the sum of the largest leaf values: what float32 sums in another order may differ by


def check_trees(model: bytes, ensemble: Ensemble, *, x: np.ndarray | None = None, seed: int = 0) -> float:
    """Compare a file with the trees it was made from, with graph optimisation and without.

    Rows: at thresholds, at the float32 next to them on both sides, infinite, missing (where the ensemble takes missing
    values), and those given.

    Args:
        model: The file: input `x`, output `y`.
        ensemble: What it must do, with the leaf values as they were written.
        x: Rows of the data, float32, shape (n_rows, n_features).
        seed: Of the rows made up here.

    Returns:
        The largest difference.

    Raises:
        ArtifactError: If an answer differs by more than float32 sums may.
    """
    rows = edge_rows(ensemble, np.random.default_rng(seed))
    if x is not None:
        rows = np.concatenate([x.astype(np.float32), rows])
    expected = ensemble.predict(rows)
    allowed = _allowed(ensemble, expected)
    worst = 0.0
    for optimized in (True, False):
        found = session(model, optimized=optimized).run(None, {"x": rows})[0]
        if found.shape != expected.shape:
            raise ArtifactError(f"The file of the trees answers in shape {found.shape}, not {expected.shape}.")
        difference = np.abs(found - expected)
        worst = max(worst, float(difference.max()))
        if not (difference <= allowed).all():
            row = int(np.flatnonzero(~(difference <= allowed).all(axis=1))[0])
            raise ArtifactError(
                f"The file does not say what the trees say: answers differ by up to {worst:.2g} (float32 sums may by "
                f"{float(allowed.max()):.1g}), first in row {row} of {len(rows)} (optimisation "
                f"{'on' if optimized else 'off'}). The file was not written."
            )
    return worst


def edge_rows(ensemble: Ensemble, rng: np.random.Generator, *, rows: int = ROWS, infinite: bool = True) -> np.ndarray:
    """Return rows where comparisons are closest, float32, shape (n_rows, n_features).

    Args:
        ensemble: Whose thresholds are taken.
        rng: Draws.
        rows: How many.
        infinite: Whether infinite values may be among them.
    """
    made = np.empty((rows, ensemble.n_features), np.float32)
    inner = [~tree.is_leaf for tree in ensemble.trees]
    features = np.concatenate([tree.feature[where] for tree, where in zip(ensemble.trees, inner, strict=True)])
    thresholds = np.concatenate([tree.threshold[where] for tree, where in zip(ensemble.trees, inner, strict=True)])
    extremes = [0.0, *([np.inf, -np.inf] if infinite else []), *([np.nan] * 3 if ensemble.takes_missing else [])]
    for column in range(ensemble.n_features):
        own = thresholds[features == column]
        own = own[np.isfinite(own)]
        drawn = rng.choice(own, rows) if len(own) else rng.normal(size=rows).astype(np.float32)
        with np.errstate(over="ignore"):
            beside = np.stack([drawn, *(np.nextafter(drawn, np.float32(way)) for way in (-np.inf, np.inf))])
        made[:, column] = beside[rng.integers(0, 3, rows), np.arange(rows)]
        if not infinite:  # the neighbour of the largest number is
            made[:, column] = np.clip(made[:, column], *LARGEST)
        is_extreme = rng.random(rows) < 0.15
        made[is_extreme, column] = rng.choice(np.array(extremes, np.float32), int(is_extreme.sum()))
    return made


def _allowed(ensemble: Ensemble, expected: np.ndarray) -> np.ndarray:
    largest = sum(float(np.abs(tree.value[tree.is_leaf]).max()) for tree in ensemble.trees)
    raw = ROUNDING * (largest / (len(ensemble.trees) if ensemble.link == "mean" else 1) + np.abs(ensemble.base).max())
    if ensemble.link in ("sigmoid", "softmax"):  # a probability moves by no more than the raw output does
        return np.full(expected.shape, raw + ROUNDING)
    return np.abs(expected) * (raw + ROUNDING) if ensemble.link == "exp" else np.full(expected.shape, raw + 1e-30)
