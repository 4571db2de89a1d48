"""How fast one file is beside another: both timed in turn, so that whatever slows the machine slows both."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
import onnxruntime

from engine.artifact import session

__all__ = ["Paired", "paired_latency"]

PAIRS = 31
BLOCK_SECONDS = 0.004  # of calls to one file, until it is the other's turn
MIN_CALLS = 3  # that a median is taken of
WARM_UP_CALLS = 20
RANK = 10  # of the sorted ratios, from either end: 31 of them enclose the true median so in 97 of 100 cases


@final
@dataclass(frozen=True)
class Paired:
    """Latencies of two files, one call on one thread.

    Args:
        first_us: Median over the blocks of the first file, in microseconds.
        second_us: Of the second.
        ratio: Median over pairs of neighbouring blocks: the second by the first.
        low: Lower end of the 95 % interval of that median.
        high: Upper end.
        pairs: How many there were.
    """

    first_us: float
    second_us: float
    ratio: float
    low: float
    high: float
    pairs: int

    @property
    def is_second_faster(self) -> bool:
        """Whether the second file takes less time beyond chance."""
        return self.high < 1.0


def paired_latency(first: bytes, second: bytes, inputs: Mapping[str, np.ndarray]) -> Paired:
    """Time two files in turn.

    Blocks of calls alternate, and so does which file begins: a machine that is busy for a while slows both halves of a
    pair, and the ratio stays. The interval needs no shape of the noise: it lies between two of the sorted ratios.

    Args:
        first: A file.
        second: Another that takes the same inputs.
        inputs: Of one call, by name.

    Source: Hollander and Wolfe (1973), section 3.6 (the interval of a median by order statistics).
    """
    opened = [session(first), session(second)]
    counts = [_calls(one, inputs) for one in opened]
    micros: list[tuple[float, float]] = []
    for number in range(PAIRS):
        order = (0, 1) if number % 2 else (1, 0)
        found = {place: _block(opened[place], inputs, counts[place]) for place in order}
        micros.append((found[0], found[1]))
    ratios = sorted(second / first for first, second in micros)
    return Paired(
        float(np.median([first for first, _ in micros])),
        float(np.median([second for _, second in micros])),
        float(np.median(ratios)),
        ratios[RANK - 1],
        ratios[-RANK],
        PAIRS,
    )


def _calls(opened: onnxruntime.InferenceSession, inputs: Mapping[str, np.ndarray]) -> int:
    """Return how many calls make a block, after a few that warm up."""
    return max(MIN_CALLS, round(BLOCK_SECONDS * 1e6 / _block(opened, inputs, WARM_UP_CALLS)))


def _block(opened: onnxruntime.InferenceSession, inputs: Mapping[str, np.ndarray], calls: int) -> float:
    """Return the microseconds of one call, the median of some in a row: those that were interrupted do not count."""
    given, seconds = dict(inputs), []
    for _ in range(calls):
        start = time.perf_counter()
        opened.run(None, given)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds) * 1e6)
