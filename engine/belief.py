"""How far the labels of few rows are believed, where models that did not see the rows have opinions about them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from engine.data import Rows

__all__ = ["BELIEVED", "label_share", "shrunk"]

BELIEVED = ("auc", "log_loss", "brier", "accuracy", "average_precision")  # metrics that judge rows weighted by class
LEAST_WEIGHT = 1e-3  # of a class in a row, below which it is left out


def label_share(answers: Iterable[np.ndarray], opinions: np.ndarray, y: np.ndarray) -> float:
    """Return how much labels count against opinions when files are told apart, in [0, 1].

    By squared errors a file is told from the opinions by two parts: how far it lies from them, which is known, and
    whether it lies on the side of the labels, which is known but for the luck of so many rows. If labels were drawn
    from the opinions, the second part would be luck alone, and the opinions say how large. The share is that part of
    what the files' second parts vary which lies beyond it.

    Args:
        answers: Probabilities of each file for the rows, each of shape (n_rows, n_classes).
        opinions: Probabilities by models that did not see the rows, shape (n_rows, n_classes).
        y: Class index of each row, shape (n_rows,).

    Source: James and Stein (1961), Estimation with quadratic loss: estimates are moved to a common place by what they
    vary less than their noise; differs in that the place is told by opinions, and the noise by their uncertainty.
    """
    labels = np.eye(opinions.shape[1])[y]
    signals, noises = [], []
    for own in answers:
        side = 2 * (own - opinions)
        signals.append(float((side * (opinions - labels)).sum(axis=1).mean()))
        spread = (side**2 * opinions).sum(axis=1) - (side * opinions).sum(axis=1) ** 2
        noises.append(float(spread.mean()) / len(y))
    luck = float(np.mean(noises))
    beyond = max(0.0, float(np.mean(np.square(signals))) - luck)
    return beyond / (beyond + luck) if beyond + luck > 0 else 1.0


def shrunk(rows: Rows, opinions: np.ndarray, share: float) -> tuple[np.ndarray, Rows]:
    """Return rows whose labels count by a share, and opinions about them for the rest: one for each likely class.

    Args:
        rows: With class indices, and weights where there are any.
        opinions: Probabilities, shape (n_rows, n_classes).
        share: Of the labels, in [0, 1].

    Returns:
        For each new row the place of the old one, and the new rows with their weights.

    Example:
        >>> places, believed = shrunk(Rows(np.array([1])), np.array([[0.5, 0.5]]), 0.5)
        >>> places.tolist(), believed.y.tolist(), believed.weight.tolist()
        ([0, 0], [0, 1], [0.25, 0.75])
    """
    mixed = share * np.eye(opinions.shape[1])[rows.y] + (1 - share) * opinions
    places, classes = np.nonzero(mixed > LEAST_WEIGHT)
    weight = mixed[places, classes] * (1.0 if rows.weight is None else np.asarray(rows.weight)[places])
    return places, Rows(classes, weight=weight)
