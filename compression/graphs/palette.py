"""The few values that a palette of weights holds, by k-means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compression.codings import Coding
from compression.graphs.weighted import Layer

__all__ = ["codebook_for"]

ITERATIONS = 100


def codebook_for(layers: Sequence[Layer], coding: Coding) -> np.ndarray:
    """Return one list of values for the weights of several layers, each output channel brought to unit spread.

    Zero is one of the values, so that a sum of many small weights has no drift, and channels that were removed stay so.

    Args:
        layers: Whose weights share the list; their own scales tell them apart.
        coding: Entry of `PALETTES`: how many values there are.

    Returns:
        Values, float16, ascending, at most coding.high + 1 of them.

    Example:
        >>> import onnx.parser
        >>> from compression.codings import PALETTES
        >>> from compression.graphs.weighted import layers_of
        >>> model = onnx.parser.parse_model('''<ir_version: 8, opset_import: ["" : 17]>
        ... net (float[N, 4] x) => (float[N, 1] y) <float[4, 1] w = {1, -1, 1, -1}> { y = MatMul(x, w) }''')
        >>> codebook_for(layers_of(model), PALETTES["palette2"]).tolist()
        [-1.0, 0.0, 1.0]

    Source: Lloyd (1982) in one dimension, started from equal shares of the values.
    """
    values = np.sort(np.concatenate([_unit_spread(layer) for layer in layers]))
    count = coding.high  # zero is the last one
    centers = values[((np.arange(count) + 0.5) / count * len(values)).astype(int)]
    for _ in range(ITERATIONS):
        full = np.unique(np.concatenate([centers, [0.0]]))
        owner = np.searchsorted((full[1:] + full[:-1]) / 2, values)
        sums, sizes = np.bincount(owner, values, len(full)), np.bincount(owner, minlength=len(full))
        means = np.divide(sums, sizes, out=full.copy(), where=sizes > 0)[full != 0]
        if np.allclose(means, full[full != 0], atol=1e-5):
            break
        centers = means
    return np.unique(np.concatenate([centers, [0.0]]).astype(np.float16))


def _unit_spread(layer: Layer) -> np.ndarray:
    """Return all weights, each output channel divided by the root of its mean square."""
    channels = np.moveaxis(layer.values.astype(np.float64), layer.axis, 0).reshape(layer.channels, -1)
    spread = np.sqrt((channels**2).mean(axis=1, keepdims=True))
    return np.asarray((channels / np.where(spread > 0, spread, 1.0)).reshape(-1))
