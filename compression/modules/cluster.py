"""Weight clustering: weights that are places in a short list of values."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import torch
from torch import Tensor, nn

from compression.modules.forms import Codebook, Form, axes_of, channel_scale, form_of, shaped
from engine.errors import SettingsError

__all__ = ["cluster", "nearest_values", "refresh"]

ROUNDS = 25  # of Lloyd's algorithm; on sorted numbers from quantiles it has settled by then
CODINGS_BY_ENTRIES = {4: "palette2", 16: "palette4"}


def cluster(module: nn.Module, *, entries: int = 16, names: Collection[str] | None = None) -> dict[str, Form]:
    """Make weights places in one list of values, times a scale for each output channel.

    While the module is trained on, gradients pass straight through to the float weights; call `refresh` now and then,
    as `compression.modules.retrain.retrain` does, to move the values to the weights.

    Args:
        module: Is changed: its weights become parametrized, and share one codebook.
        entries: Of the list: 4 or 16, which are 2 or 4 bits a weight in the file.
        names: Of the weights; by default those of all convolutions and linear layers.

    Returns:
        Forms by name of the weight.

    Raises:
        SettingsError: If there is no coding with so many entries.

    Example:
        >>> layer = nn.Linear(64, 8)
        >>> form = cluster(layer, entries=4)["weight"]
        >>> len(form.codes(layer.weight)[0].unique()) <= 4
        True

    Source: Han et al. (2016), arXiv:1510.00149, section 3. Differs: one list for all layers on weights divided by the
    mean magnitude of their channel, and straight-through gradients instead of gradients of the values.
    """
    if entries not in CODINGS_BY_ENTRIES:
        raise SettingsError(f"entries must be one of {', '.join(map(str, CODINGS_BY_ENTRIES))}, got {entries}.")
    chosen = list(axes_of(module) if names is None else names)
    codebook = Codebook(torch.linspace(-2.0, 2.0, entries))
    forms = shaped(module, dict.fromkeys(chosen, CODINGS_BY_ENTRIES[entries]), codebook=codebook)
    refresh((form, found[1]) for name, form in forms.items() if (found := form_of(module, name)) is not None)
    return forms


@torch.no_grad()
def refresh(forms: Iterable[tuple[Form, Tensor]]) -> None:
    """Move the values of every codebook to the weights that use it."""
    users: dict[Codebook, list[Tensor]] = {}
    for form, weight in forms:
        if form.codebook is not None:
            units = weight.detach() / channel_scale(weight.detach(), form.axis)
            users.setdefault(form.codebook, []).append(units.flatten())
    for codebook, parts in users.items():
        codebook.values.copy_(nearest_values(torch.cat(parts), len(codebook.values)).half().float())


@torch.no_grad()
def nearest_values(numbers: Tensor, count: int) -> Tensor:
    """Return the values that numbers lie nearest to, in the mean square: k-means in one dimension.

    Args:
        numbers: float32, flat.
        count: Of values.

    Returns:
        float32, shape (count,), ascending.

    Example:
        >>> nearest_values(torch.tensor([0.0, 0.2, 5.0, 5.4]), 2).tolist()
        [0.10000000149011612, 5.199999809265137]

    Source: Lloyd (1982), from quantiles.
    """
    line = numbers.sort().values
    places = ((torch.arange(count) + 0.5) / count * len(line)).long().clamp_max(len(line) - 1)
    values = line[places].clone()
    sums = torch.cat([torch.zeros(1, dtype=torch.float64), line.double().cumsum(0)])
    for _ in range(ROUNDS):
        ends = torch.searchsorted(line, (values[1:] + values[:-1]) / 2)
        edges = torch.cat([torch.zeros(1, dtype=torch.int64), ends, torch.tensor([len(line)])])
        counts = edges[1:] - edges[:-1]
        means = (sums[edges[1:]] - sums[edges[:-1]]) / counts.clamp_min(1)
        values = torch.where(counts > 0, means.float(), values)
    return values
