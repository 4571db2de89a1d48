"""Float or integer execution of a model: which of two finished files takes less time, measured on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from compression.graphs.latency import Paired, paired_latency

__all__ = ["Executed", "compared"]


@final
@dataclass(frozen=True)
class Executed:
    """How a file computes, and what the other form of the same model would take.

    Args:
        execution: Of the file that is written: `float` or `integer`.
        paired: Latency of the float form, and of the integer form by it; None where there is no integer form.
        error: Of the integer form on validation rows; None where there is none.
        reason: Why it is this one.
    """

    execution: str
    paired: Paired | None
    error: float | None
    reason: str

    def told(self) -> dict[str, Any]:
        """Return what a card says of it."""
        if self.paired is None:
            return {"execution": self.execution, "integer_pays": None, "reason": self.reason}
        return {
            "execution": self.execution,
            "integer_pays": self.paired.is_second_faster,
            "float_latency_us": round(self.paired.first_us, 1),
            "integer_latency_us": round(self.paired.second_us, 1),
            "ratio": round(self.paired.ratio, 4),
            "ratio_low": round(self.paired.low, 4),
            "ratio_high": round(self.paired.high, 4),
            "pairs": self.paired.pairs,
            "integer_error": self.error,
            "reason": self.reason,
        }


def compared(
    in_floats: bytes,
    in_integers: bytes,
    one: Mapping[str, np.ndarray],
    *,
    error: float,
    largest_error: float | None = None,
) -> Executed:
    """Choose between the two forms of one model by the time that they take.

    Args:
        in_floats: The file that computes with float32.
        in_integers: The file that computes with eight-bit integers.
        one: Inputs of one call, by name.
        error: Of the integer form, on validation rows.
        largest_error: That is allowed; None where integers were asked for, whatever they cost.

    Returns:
        `integer` where that keeps the error and takes less time beyond chance (or was asked for), else `float`.
    """
    paired = paired_latency(in_floats, in_integers, one)
    figures = (
        f"{paired.second_us:.0f} us with integers, {paired.first_us:.0f} us with floats: {paired.ratio:.2f} x "
        f"({paired.low:.2f} to {paired.high:.2f}, {paired.pairs} pairs)"
    )
    if largest_error is None:
        word = "pays" if paired.is_second_faster else "does not pay"
        return Executed("integer", paired, error, f"On this machine it {word}: {figures}.")
    if not error <= largest_error:
        return Executed("float", paired, error, f"Integers would lose too much (error {error:.4f}); {figures}.")
    if not paired.is_second_faster:
        return Executed("float", paired, error, f"Integers are not faster on this machine; {figures}.")
    return Executed("integer", paired, error, f"Integers are faster on this machine: {figures}.")
