"""Whole arrays: the layout of images and signals, the smallest element type, and what may not be in them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from engine.errors import DataError

__all__ = ["as_images", "as_signals", "blocks", "compact", "count_not_finite"]

BLOCK_ELEMENTS = 2**22  # checks run over blocks, so that no temporary copy has the size of the data
CHANNELS = (1, 3, 4)


def blocks(x: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the rows in blocks of a few million elements."""
    step = max(1, BLOCK_ELEMENTS // max(1, int(np.prod(x.shape[1:], dtype=np.int64))))
    for start in range(0, len(x), step):
        yield x[start : start + step]


def as_images(x: np.ndarray) -> np.ndarray:
    """Return images as N x C x H x W; N x H x W has one channel, and 1, 3 or 4 channels may come last.

    Raises:
        DataError: If x has neither three nor four dimensions.
    """
    if x.ndim == 3:
        return x[:, None]
    if x.ndim != 4:
        raise DataError(f"x must be N x H x W, N x H x W x C or N x C x H x W for images, got {_shape(x)}.")
    if x.shape[3] in CHANNELS and x.shape[1] not in CHANNELS:
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    return x


def as_signals(x: np.ndarray) -> np.ndarray:
    """Return signals as N x C x L; N x L has one channel.

    Raises:
        DataError: If x has neither two nor three dimensions.
    """
    if x.ndim == 2:
        return x[:, None]
    if x.ndim != 3:
        raise DataError(f"x must be N x C x L or N x L for signals, got {_shape(x)}.")
    return x


def compact(x: np.ndarray) -> np.ndarray:
    """Return x as uint8 where all values are whole numbers in 0..255, otherwise as float32.

    Raises:
        DataError: If x does not hold numbers.
    """
    if x.dtype == np.uint8:
        return x
    if x.dtype.kind not in "biuf":
        raise DataError(f"x must hold numbers, got {x.dtype}; write text columns to a csv file.")
    if all(_is_pixels(block) for block in blocks(x)):
        return x.astype(np.uint8)
    with np.errstate(over="ignore"):  # what overflows is found, and named, by count_not_finite
        return x.astype(np.float32, copy=False)


def count_not_finite(x: np.ndarray) -> int:
    """Return how many values are NaN or infinite."""
    if x.dtype.kind != "f":
        return 0
    return sum(int(block.size - np.isfinite(block).sum()) for block in blocks(x))


def _is_pixels(block: np.ndarray) -> bool:
    if block.dtype.kind == "b" or not block.size:
        return True
    low, high = block.min(), block.max()
    if not (low >= 0 and high <= 255):  # NaN fails too
        return False
    return block.dtype.kind in "iu" or bool((block == np.rint(block)).all())


def _shape(x: np.ndarray) -> str:
    return " x ".join(map(str, x.shape))
