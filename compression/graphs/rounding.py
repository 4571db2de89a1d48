"""Choosing codes for trained weights: the best scales, and rounding that makes up for its own errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from compression.codings import CODINGS, PALETTES, Coding
from compression.graphs.calibrate import Moments
from compression.graphs.recode import Recoded, as_floats
from compression.graphs.weighted import Layer

__all__ = ["Rounded", "rounded"]

SHARES = np.geomspace(0.15, 1.0, 60)  # of the scale at which nothing is clipped, tried one after the other
SMALLEST_SCALE = 1e-6  # float16 holds no normal number below 6e-5, and sums of such weights no signal
DAMPING = 0.01  # of the mean second moment, so that inputs never seen do not make it singular
SWEEPS = 4


@final
@dataclass(frozen=True, eq=False)
class Rounded:
    """A coded weight, and how far it is from the original.

    Args:
        weight: As it is to be written.
        error: Mean square of what the layer's outputs are off, over their mean square; of the weights, where nothing
            is known of the inputs.
        shift: What is to be added to the bias, float64, shape (channels,), so that outputs have the mean that they had;
            None where that is not known, or there is no bias.
    """

    weight: Recoded
    error: float
    shift: np.ndarray | None


def rounded(
    layer: Layer,
    coding: str,
    moments: Moments | None = None,
    *,
    density: float = 1.0,
    codebook: np.ndarray | None = None,
) -> Rounded:
    """Choose scales and codes for the weight of a layer.

    Scales are searched for the least square error, a scale for each output channel. Without moments each weight goes to
    the nearest level. With moments, the error of the layer's *outputs* is made small: weights are rounded one input
    after the other, and those not yet rounded take over what the rounded ones are off (GPTQ); then each is reconsidered
    given all others, a few times (coordinate descent), and scales are refitted.

    Args:
        layer: With its weight.
        coding: Name of an entry of `CODINGS` or `PALETTES`.
        moments: Of the layer's inputs.
        density: Share of weights that a sparse coding keeps: those whose loss would cost most.
        codebook: Levels of a palette for weights of unit spread, float16, ascending.

    Where the moments tell that other inputs come in than in the original, the weight first becomes the one that gives
    the original's outputs best from them, by least squares.

    Source: Frantar et al. (2022), arXiv:2210.17323, without blocks, inputs in falling order of their second moment;
        Behdin et al. (2023), arXiv:2309.01885, for the descent. Here both work on any list of levels, per group of a
        convolution, and the best of all passes is kept for each channel.
    """
    known = (CODINGS | PALETTES)[coding]
    matrix, second = _problem(layer, moments)
    if known.is_integer:
        levels = _levels(known) if codebook is None else codebook.astype(np.float16).astype(np.float64)
        keep = _kept(matrix, second, density)
        scale = _searched_scale(layer, matrix * keep, second, levels, by_spread=codebook is not None)
        places = _nearest(levels, _divided(matrix, scale, layer), keep)
        if moments is not None:
            places, scale = _descended(layer, matrix, second, levels, keep, scale, places)
        codes = np.empty(layer.values.size, np.int64)
        codes[layer.order] = places + (0 if codebook is not None else known.low)
        weight = Recoded(
            coding,
            codes.reshape(layer.values.shape),
            scale.astype(np.float16),
            layer.axis,
            None if codebook is None else codebook.astype(np.float16),
        )
    else:
        weight = Recoded(coding, layer.values)
    off = matrix - _in_order(layer, as_floats(weight))
    whole = float(((matrix @ second) * matrix).sum())
    error = float(((off @ second) * off).sum()) / whole if whole > 0 else 0.0
    return Rounded(weight, error, _shift(layer, weight, moments))


def _in_order(layer: Layer, values: np.ndarray) -> np.ndarray:
    return np.asarray(values.reshape(-1).astype(np.float64)[layer.order])


def _problem(layer: Layer, moments: Moments | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight to come near to, (groups, rows, inputs), and what each pair of its deviations costs.

    The cost is the second moment of the inputs, about their mean where a bias can make up for that. Where the inputs
    are not those of the original any more, the weight is the one that gives its outputs best from what comes in now.
    """
    matrix = _in_order(layer, layer.values)
    groups, _, inputs = matrix.shape
    if moments is None:
        return matrix, np.broadcast_to(np.eye(inputs), (groups, inputs, inputs))
    second, cross = moments.second, moments.cross
    if layer.bias is not None:
        second = second - moments.mean[:, :, None] * moments.mean[:, None]
        cross = cross - moments.wanted_mean[:, :, None] * moments.mean[:, None]
    mean = np.trace(second, axis1=1, axis2=2) / inputs
    damping = np.where(mean > 0, DAMPING * mean, 1.0)[:, None, None] * np.eye(inputs)
    if moments.cross is not moments.second:
        matrix = np.swapaxes(np.linalg.solve(second + damping, np.swapaxes(matrix @ (cross + damping), 1, 2)), 1, 2)
    return matrix, second + damping


def _shift(layer: Layer, weight: Recoded, moments: Moments | None) -> np.ndarray | None:
    is_plain = layer.order.shape[0] * layer.order.shape[1] == layer.channels
    if moments is None or layer.bias is None or not is_plain:
        return None
    have = _in_order(layer, as_floats(weight)) @ moments.mean[:, :, None]
    want = _in_order(layer, layer.values) @ moments.wanted_mean[:, :, None]
    shift = np.zeros(layer.channels)
    shift[layer.channel_of] = (want - have)[..., 0]
    return shift


def _levels(coding: Coding) -> np.ndarray:
    return np.arange(coding.low, coding.high + 1) - coding.offset


def _kept(matrix: np.ndarray, second: np.ndarray, density: float) -> np.ndarray:
    """Choose the weights of a layer that stay: the largest products with what they meet."""
    if density >= 1:
        return np.ones(matrix.shape, bool)
    cost = matrix**2 * np.diagonal(second, axis1=1, axis2=2)[:, None]
    count = max(1, round(density * matrix.size))
    keep = np.zeros(matrix.size, bool)
    keep[np.argsort(-cost, axis=None, kind="stable")[:count]] = True
    return keep.reshape(matrix.shape)


def _nearest(levels: np.ndarray, values: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Return places of the nearest levels; of the level zero where a weight is not kept."""
    if levels[-1] - levels[0] == len(levels) - 1:  # steps of one
        places = np.clip(np.rint(values - levels[0]), 0, len(levels) - 1).astype(np.int64)
    else:
        places = np.searchsorted((levels[1:] + levels[:-1]) / 2, values)
    return np.asarray(np.where(keep, places, int(np.abs(levels).argmin())))


def _divided(matrix: np.ndarray, scale: np.ndarray, layer: Layer) -> np.ndarray:
    return np.asarray(matrix / scale[layer.channel_of][:, :, None])


def _by_channel(layer: Layer, values: np.ndarray) -> np.ndarray:
    """Sum values of rows, shape (groups, rows), over the rows of each output channel."""
    return np.bincount(layer.channel_of.reshape(-1), values.reshape(-1), layer.channels)


def _searched_scale(
    layer: Layer, matrix: np.ndarray, second: np.ndarray, levels: np.ndarray, *, by_spread: bool
) -> np.ndarray:
    """Return, for each channel, the float16 scale with the least square error of nearest levels, as float64."""
    largest = np.zeros(layer.channels)
    np.maximum.at(largest, layer.channel_of.reshape(-1), np.abs(matrix).max(axis=2).reshape(-1))
    reach = np.abs(levels).max()
    importance = np.diagonal(second, axis1=1, axis2=2)[:, None]
    best, least = np.ones(layer.channels), np.full(layer.channels, np.inf)
    keep = matrix != 0 if (levels == 0).any() else np.ones(matrix.shape, bool)
    for share in SHARES * (2 if by_spread else 1):
        scale = _halved(share * largest / reach)
        off = (
            matrix - levels[_nearest(levels, _divided(matrix, scale, layer), keep)] * scale[layer.channel_of][..., None]
        )
        error = _by_channel(layer, (off**2 * importance).sum(axis=2))
        best, least = np.where(error < least, scale, best), np.minimum(error, least)
    return best


def _halved(scale: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(scale, SMALLEST_SCALE).astype(np.float16).astype(np.float64))


def _descended(
    layer: Layer, matrix: np.ndarray, second: np.ndarray, levels: np.ndarray, keep: np.ndarray,
    scale: np.ndarray, places: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return places and scales with a smaller error of the outputs; the best of all passes for each channel."""
    best_places, best_scale = places, scale
    least = _channel_errors(layer, matrix - levels[places] * scale[layer.channel_of][..., None], second)
    for _ in range(2):
        wide = scale[layer.channel_of]
        places = _compensated(matrix, second, levels, keep, wide)
        places = _reconsidered(matrix, second, levels, keep, wide, places)
        for candidate in (scale, _refitted(layer, matrix, second, levels[places], scale)):
            off = matrix - levels[places] * candidate[layer.channel_of][..., None]
            error = _channel_errors(layer, off, second)
            is_better = error < least
            best_places = np.where(is_better[layer.channel_of][..., None], places, best_places)
            best_scale, least = np.where(is_better, candidate, best_scale), np.minimum(error, least)
            scale = candidate
    return best_places, best_scale


def _channel_errors(layer: Layer, off: np.ndarray, second: np.ndarray) -> np.ndarray:
    return _by_channel(layer, ((off @ second) * off).sum(axis=2))


def _compensated(
    matrix: np.ndarray, second: np.ndarray, levels: np.ndarray, keep: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """Round one input after the other; those that follow take over the error (GPTQ)."""
    order = np.argsort(-np.diagonal(second, axis1=1, axis2=2), axis=1, kind="stable")
    sorted_second = np.take_along_axis(np.take_along_axis(second, order[:, :, None], 1), order[:, None], 2)
    upper = np.swapaxes(np.linalg.cholesky(np.linalg.inv(sorted_second)), 1, 2)
    left = np.take_along_axis(matrix, order[:, None], 2)
    allowed = np.take_along_axis(keep, order[:, None], 2)
    places = np.zeros(matrix.shape, np.int64)
    for step in range(matrix.shape[2]):
        column = left[:, :, step]
        places[:, :, step] = _nearest(levels, column / scale, allowed[:, :, step])
        off = (column - levels[places[:, :, step]] * scale) / upper[:, step, step][:, None]
        left[:, :, step:] -= off[:, :, None] * upper[:, None, step, step:]
    made = np.empty_like(places)
    np.put_along_axis(made, np.broadcast_to(order[:, None], made.shape), places, 2)
    return made


def _reconsidered(
    matrix: np.ndarray, second: np.ndarray, levels: np.ndarray, keep: np.ndarray, scale: np.ndarray, places: np.ndarray
) -> np.ndarray:
    """Give each weight the level that is best given all others, a few times over."""
    places = places.copy()
    off = matrix - levels[places] * scale[..., None]
    pull = off @ second
    diagonal = np.diagonal(second, axis1=1, axis2=2)
    for _ in range(SWEEPS):
        before = places.copy()
        for step in range(matrix.shape[2]):
            now = levels[places[:, :, step]] * scale
            wanted = now + pull[:, :, step] / diagonal[:, step][:, None]
            places[:, :, step] = _nearest(levels, wanted / scale, keep[:, :, step])
            change = levels[places[:, :, step]] * scale - now
            group, row = np.nonzero(change)
            pull[group, row] -= change[group, row, None] * second[group, step]
        if np.array_equal(before, places):
            break
    return places


def _refitted(
    layer: Layer, matrix: np.ndarray, second: np.ndarray, values: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """Return the scales that fit these levels best, as float16 holds them."""
    met = values @ second
    above, below = _by_channel(layer, (met * matrix).sum(axis=2)), _by_channel(layer, (met * values).sum(axis=2))
    fitted = np.divide(above, below, out=scale.copy(), where=below > 0)
    return np.where(fitted > 0, _halved(fitted), scale)
