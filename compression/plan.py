"""A network as data: the steps that both the torch twin and the file are made from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

from engine.data import Signature

__all__ = ["Addition", "Convolution", "Linear", "Mean", "Plan", "Pooling", "Step", "Weighted"]


@final
@dataclass(frozen=True)
class Convolution:
    """A convolution whose batch normalisation is folded into scale and bias, with an optional ReLU.

    Channels belong to groups: tensors that are added to each other share one, so that pruning removes the same
    channels from all of them.

    Args:
        name: Of its output.
        source: Name of its input.
        channels_in: Input channels.
        channels_out: Output channels.
        kernel: Side length, odd; padded so that stride 1 keeps the size.
        stride: Of both axes.
        is_depthwise: One filter a channel; then channels_in equals channels_out.
        has_bias: Whether a normalisation follows, which leaves a bias (and a ReLU).
        coding: Of the weights in the file.
        group_in: Channel group of the input.
        group_out: Channel group of the output.
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


Step = Convolution | Pooling | Addition | Mean | Linear
Weighted = Convolution | Linear


@final
@dataclass(frozen=True)
class Plan:
    """A whole network.

    Args:
        signature: Of the data.
        steps: In order; the first takes `x`, the last gives the logits.
    """

    signature: Signature
    steps: tuple[Step, ...]

    @property
    def dimensions(self) -> int:
        """2 for images, 1 for signals."""
        return len(self.signature.shape) - 1

    @property
    def weighted(self) -> tuple[Weighted, ...]:
        """The steps that have weights, in order."""
        return tuple(step for step in self.steps if isinstance(step, Convolution | Linear))

    @property
    def codings(self) -> tuple[str, ...]:
        """Codings in use, most weights first."""
        counts: dict[str, int] = {}
        for step in self.weighted:
            counts[step.coding] = counts.get(step.coding, 0) + self.count(step)
        return tuple(sorted(counts, key=lambda name: (-counts[name], name)))

    @property
    def parameters(self) -> int:
        """Number of weights, scales apart."""
        return sum(self.count(step) + self.biases(step) for step in self.weighted)

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
                channels_in = kept.get(step.group_in, step.channels_in)
                steps.append(
                    replace(step, channels_in=channels_in, channels_out=kept.get(step.group_out, step.channels_out))
                )
            elif isinstance(step, Linear):
                steps.append(replace(step, channels_in=kept.get(step.group_in, step.channels_in)))
            else:
                steps.append(step)
        return Plan(self.signature, tuple(steps))
