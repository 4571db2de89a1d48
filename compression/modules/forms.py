"""How a forward pass sees a trained weight: thinned, clustered, quantized, while gradients reach the weight itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from compression.codings import CODINGS, PALETTES, Coding
from compression.graphs.recode import Recoded
from compression.modules.importing import ImportedNetwork
from compression.nets.magnitude import magnitude_mask, zeros_at
from compression.nets.quantize import SMALLEST_SCALE, codes_and_scale
from engine.errors import ArtifactError, did_you_mean

__all__ = ["Codebook", "Form", "axes_of", "form_of", "forms_of", "shaped"]

LARGEST_HALF, SMALLEST_HALF = 65504.0, 2.0**-24
LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class _Rounded(torch.autograd.Function):
    """The second of two tensors, bit for bit; its gradient goes to the first."""

    @staticmethod
    def forward(ctx: object, weight: Tensor, rounded: Tensor) -> Tensor:  # noqa: ARG004
        return rounded

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> tuple[Tensor, None]:  # noqa: ARG004
        return gradients[0], None


class Codebook(nn.Module):
    """The values of a palette, float16 values held as float32; several weights may share one.

    Args:
        values: Shape (at most 16,), ascending.
    """

    values: Tensor

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.register_buffer("values", values.half().float())

    def places(self, weight: Tensor) -> Tensor:
        """Return which value is nearest, int64, with the shape of the weight."""
        middles = (self.values[1:] + self.values[:-1]) / 2
        return torch.bucketize(weight.contiguous(), middles)


class Form(nn.Module):
    """A torch parametrization of one weight: what the file will hold of it.

    The forward pass sees the weight exactly as the file decodes it, float16 scales included; gradients pass straight
    through to the float weight, except to those set to zero.

    Args:
        coding: From `CODINGS` or `PALETTES`; its density is the share of the weights that stay.
        axis: Of the output channels, which have a scale each.
        shape: Of the weight.
        codebook: For palettes.
    """

    mask: Tensor

    def __init__(self, coding: Coding, axis: int, shape: torch.Size, codebook: Codebook | None = None) -> None:
        super().__init__()
        self.coding, self.axis, self.codebook = coding, axis, codebook
        self.is_quantized = True
        self.register_buffer("mask", torch.ones(shape))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight as the file will hold it."""
        kept = weight * self.mask
        if not self.is_quantized or self.coding.name == "float32":
            return kept
        rounded = _Rounded.apply(kept, self.decoded(kept.detach()))  # type: ignore[no-untyped-call]
        assert isinstance(rounded, Tensor)
        return rounded

    @torch.no_grad()
    def decoded(self, weight: Tensor) -> Tensor:
        """Return a weight rounded to the grid of the coding."""
        if not self.coding.is_integer:
            return weight.clamp(-LARGEST_HALF, LARGEST_HALF).half().float()
        codes, scale = self.codes(weight)
        if self.codebook is not None:
            return self.codebook.values[codes.long()] * scale
        return (codes - self.coding.offset) * scale

    @torch.no_grad()
    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return codes as floats, and float16 scales as float32 with ones around the channel axis."""
        if self.codebook is None:
            codes, scale = codes_and_scale(weight, self.coding, channel_axis=self.axis)
            return codes, _half(scale)
        scale = channel_scale(weight, self.axis)
        return self.codebook.places(weight / scale).float(), _half(scale)

    @torch.no_grad()
    def thin(self, weight: Tensor, progress: float) -> None:
        """Set the smallest weights to zero, as many as are due after a share of the training."""
        if self.coding.density < 1:
            self.mask.copy_(magnitude_mask(weight, zeros_at(progress, self.coding, weight.numel())))

    @torch.no_grad()
    def recoded(self, weight: Tensor, gain: Tensor | None = None) -> Recoded:
        """Return a weight as it is written.

        Args:
            weight: The trained one, before masks.
            gain: Factor of each output channel, shape (channels_out,), from a normalisation that is folded in.
        """
        kept = weight * self.mask
        line = [1] * weight.dim()
        line[self.axis] = -1
        if not self.coding.is_integer:
            values = kept if gain is None else kept * gain.reshape(line)
            is_half = self.coding.name == "float16" and bool((values.abs() <= LARGEST_HALF).all())
            return Recoded("float16" if is_half else "float32", values.contiguous().cpu().numpy())
        codes, scale = self.codes(kept)
        scale = scale.flatten() if gain is None else scale.flatten() * gain
        numbers = codes.contiguous().cpu().numpy().astype(np.int16)
        book = None if self.codebook is None else self.codebook.values.half().cpu().numpy()
        return Recoded(self.coding.name, numbers, _half(scale).half().cpu().numpy(), self.axis, book)


def channel_scale(weight: Tensor, axis: int) -> Tensor:
    """Return the mean magnitude of each output channel, with ones around the channel axis: the unit of a palette."""
    axes = [place for place in range(weight.dim()) if place != axis]
    return weight.abs().mean(axes, keepdim=True).clamp_min(SMALLEST_SCALE)


def axes_of(module: nn.Module) -> dict[str, int]:
    """Return the weights of convolutions and linear layers by name, with the axis of their output channels.

    Args:
        module: An imported network, or any torch module.

    Example:
        >>> axes_of(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.ConvTranspose1d(3, 2, 1)))
        {'0.weight': 0, '2.weight': 1}
    """
    if isinstance(module, ImportedNetwork):
        return {layer.weight: layer.axis_out for layer in module.layers}
    found = {}
    for path, inner in module.named_modules():
        prefix = f"{path}." if path else ""
        if isinstance(inner, LAYERS):
            found[f"{prefix}weight"] = 0
        elif isinstance(inner, TRANSPOSED):
            found[f"{prefix}weight"] = 1
    return found


def shaped(
    module: nn.Module,
    codings: Mapping[str, str],
    *,
    densities: Mapping[str, float] | None = None,
    codebook: Codebook | None = None,
) -> dict[str, Form]:
    """Let the forward pass see weights as the file will hold them, from now on.

    Args:
        module: Is changed: each weight gets a torch parametrization (`torch.nn.utils.parametrize`).
        codings: By name of the weight.
        densities: Share of the weights that stay, by name; what is not named has the coding's own.
        codebook: For palettes.

    Returns:
        The forms by name of the weight.

    Raises:
        ArtifactError: With every unknown weight and coding.
    """
    axes, known = axes_of(module), CODINGS | PALETTES
    problems = [
        f"There is no weight {n}{did_you_mean(n, axes)} Weights: {', '.join(axes)}." for n in codings if n not in axes
    ]
    problems += [
        f"No coding {c}{did_you_mean(c, known)} Codings: {', '.join(known)}."
        for c in sorted(set(codings.values()))
        if c not in known
    ]
    if problems:
        raise ArtifactError("\n".join(problems))
    made = {}
    for name, coding_name in codings.items():
        owner, leaf = _owner(module, name)
        weight = getattr(owner, leaf)
        coding = known[coding_name]
        if densities and name in densities:
            coding = replace(coding, density=densities[name])
        form = Form(coding, axes[name], weight.shape, codebook if coding_name in PALETTES else None)
        parametrize.register_parametrization(owner, leaf, form, unsafe=True)
        made[name] = form
    return made


def forms_of(module: nn.Module) -> Iterator[tuple[str, Form, Tensor]]:
    """Yield the weights that have a form: name, form, and the trained float weight behind it."""
    for name in axes_of(module):
        found = form_of(module, name)
        if found is not None:
            yield name, *found


def form_of(module: nn.Module, name: str) -> tuple[Form, Tensor] | None:
    """Return the form of a weight and the float weight behind it, or None where it has no form."""
    owner, leaf = _owner(module, name)
    if not parametrize.is_parametrized(owner, leaf):
        return None
    entries = owner.parametrizations
    assert isinstance(entries, nn.ModuleDict)
    entry = entries[leaf]
    form, weight = next(iter(entry.children())), entry.original
    assert isinstance(form, Form)
    assert isinstance(weight, Tensor)
    return form, weight


def _owner(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, leaf = name.rpartition(".")
    return module.get_submodule(path), leaf


def _half(scale: Tensor) -> Tensor:
    """Round scales to float16 and keep them from becoming zero or infinite."""
    clamped = torch.where(scale < 0, -1.0, 1.0) * scale.abs().clamp(SMALLEST_HALF, LARGEST_HALF)
    return clamped.half().float()
