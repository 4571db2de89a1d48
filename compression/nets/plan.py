"""A network as data: the steps that both the torch twin and the file are made from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

from engine.data import Signature

__all__ = [
    "CODES",
    "Addition",
    "Convolution",
    "Linear",
    "Mean",
    "Plan",
    "Pooling",
    "Quantisation",
    "Rescaling",
    "Standardisation",
    "Step",
    "Weighted",
]


CODES = "codes"  # name of what a `Quantisation` gives


@final
@dataclass(frozen=True)
class Convolution:
    """A convolution whose batch normalisation is folded into scale and bias, with an optional ReLU.

    Rows of a table have no positions: in no dimensions a convolution is a dense layer.

    Channels belong to groups: tensors that are added to each other share one, so that pruning removes the same
    channels from all of them.

    Args:
        name: Of its output.
        source: Name of its input.
        channels_in: Input channels.
        channels_out: Output channels.
        kernel: Side length, odd; padded so that stride 1 keeps the size.
        stride: Of all axes.
        is_depthwise: One filter a channel; then channels_in equals channels_out.
        has_bias: Whether a normalisation follows, which leaves a bias (and a ReLU).
        coding: Of the weights in the file.
        group_in: Channel group of the input.
        group_out: Channel group of the output.
        is_linear: Whether its normalisation is the end: no ReLU follows.
        shared_with: Name of an earlier convolution of the same shape and coding whose codes this one uses, with a scale
            and a bias of its own; empty for codes of its own.
    """

    name: str
    source: str
    channels_in: int
    channels_out: int
    kernel: int
    stride: int
    is_depthwise: bool
    has_bias: bool
    coding: str
    group_in: str
    group_out: str
    is_linear: bool = False
    shared_with: str = ""

    @property
    def is_rectified(self) -> bool:
        """Whether a ReLU follows."""
        return self.has_bias and not self.is_linear

    @property
    def weight_shape(self) -> tuple[int, int, int]:
        """Output channels, input channels a filter, side length."""
        return (self.channels_out, 1 if self.is_depthwise else self.channels_in, self.kernel)


@final
@dataclass(frozen=True)
class Pooling:
    """Maximum or average over windows of three, padded; the average leaves the padding out."""

    name: str
    source: str
    kind: str
    stride: int = 1


@final
@dataclass(frozen=True)
class Addition:
    """The sum of several tensors."""

    name: str
    sources: tuple[str, ...]


@final
@dataclass(frozen=True)
class Mean:
    """The mean over all positions: N x C."""

    name: str
    source: str


@final
@dataclass(frozen=True)
class Linear:
    """The last layer: logits from features."""

    name: str
    source: str
    channels_in: int
    channels_out: int
    coding: str
    group_in: str


@final
@dataclass(frozen=True)
class Standardisation:
    """The columns of a table, centred and scaled: x * 2**exponent - centre, missing values 0, all within a bound.

    A power of two is within a factor of 1.5 of any scale and takes one byte a column. The numbers are measured on
    training rows (`with_numbers`), not trained.

    Args:
        name: Of its output.
        source: Name of its input.
        exponents: One a column, in [-126, 126].
        centres: One a column, of the scaled values, representable in float16.
    """

    name: str
    source: str
    exponents: tuple[int, ...]
    centres: tuple[float, ...]

    @property
    def bound(self) -> float:
        """Largest magnitude of a value that passes: farther out, a column says no more."""
        return 8.0


@final
@dataclass(frozen=True)
class Rescaling:
    """The values of a regression in the units of the target: x * spread + center, float32, measured on its rows."""

    name: str
    source: str
    center: float = 0.0
    spread: float = 1.0


@final
@dataclass(frozen=True)
class Quantisation:
    """Where inputs become eight-bit codes: from here to the mean, or the last layer, all values are.

    Bytes are codes as they are. Floats, which come in centred and scaled, take 16 steps a spread, eight spreads either
    way.

    Args:
        name: Of its output.
        source: Name of its input.
    """

    name: str
    source: str


Step = Convolution | Pooling | Addition | Mean | Linear | Standardisation | Rescaling | Quantisation
Weighted = Convolution | Linear


@final
@dataclass(frozen=True)
class Plan:
    """A whole network.

    Args:
        signature: Of the data.
        steps: In order; the first takes `x`, the last gives the logits, or the values of a regression.
        views: How many views of an image the file answers for: itself, or with 2 also its mirror image, left to right.
            Then features are averaged, which averages the logits. A network is trained on one view.
    """

    signature: Signature
    steps: tuple[Step, ...]
    views: int = 1

    @property
    def dimensions(self) -> int:
        """2 for images, 1 for signals, 0 for rows of a table."""
        return len(self.signature.shape) - 1

    @property
    def is_integer(self) -> bool:
        """Whether its convolutions are executed with eight-bit integers."""
        return any(isinstance(step, Quantisation) for step in self.steps)

    @cached_property
    def weighted(self) -> tuple[Weighted, ...]:
        """The steps that have weights, in order."""
        return tuple(step for step in self.steps if isinstance(step, Convolution | Linear))

    @cached_property
    def owners(self) -> tuple[Weighted, ...]:
        """The steps that have weights of their own, in order."""
        return tuple(step for step in self.weighted if isinstance(step, Linear) or not step.shared_with)

    @cached_property
    def codings(self) -> tuple[str, ...]:
        """Codings in use, most weights first."""
        counts: dict[str, int] = {}
        for step in self.owners:
            counts[step.coding] = counts.get(step.coding, 0) + self.count(step)
        return tuple(sorted(counts, key=lambda name: (-counts[name], name)))

    @property
    def parameters(self) -> int:
        """Number of weights, scales apart; shared ones once."""
        return sum(map(self.count, self.owners)) + sum(map(self.biases, self.weighted))

    def count(self, step: Weighted) -> int:
        """Return the number of weights of a step, its bias apart."""
        if isinstance(step, Linear):
            return step.channels_in * step.channels_out
        channels_out, channels_in, kernel = step.weight_shape
        return channels_out * channels_in * int(kernel**self.dimensions)

    def biases(self, step: Weighted) -> int:
        """Return the number of biases of a step."""
        return step.channels_out if isinstance(step, Linear) or step.has_bias else 0

    def with_channels(self, kept: dict[str, int]) -> Plan:
        """Return the plan with some channel groups at other widths."""
        steps: list[Step] = []
        for step in self.steps:
            if isinstance(step, Convolution):
                counts = kept.get(step.group_in, step.channels_in), kept.get(step.group_out, step.channels_out)
                is_same = counts == (step.channels_in, step.channels_out)
                steps.append(step if is_same else replace(step, channels_in=counts[0], channels_out=counts[1]))
            elif isinstance(step, Linear):
                steps.append(replace(step, channels_in=kept.get(step.group_in, step.channels_in)))
            else:
                steps.append(step)
        return replace(self, steps=tuple(steps))
