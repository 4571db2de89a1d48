"""A recipe: what to do with each layer of a network, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

import torch
import yaml

from compression.codings import CODINGS, PALETTES
from compression.modules.channels import channel_groups, prune_channels
from compression.modules.cluster import refresh
from compression.modules.forms import Codebook, forms_of, shaped
from compression.modules.importing import ImportedNetwork
from compression.modules.lowrank import factored, full_ranks
from compression.modules.retrain import Training
from compression.modules.sharing import shared
from engine.errors import SettingsError, did_you_mean
from engine.settings import build

__all__ = ["GroupRecipe", "LayerRecipe", "Recipe", "applied", "read_recipe"]

SHARES = ("density", "keep", "rank")


@final
@dataclass(frozen=True)
class LayerRecipe:
    """What to do with one layer; null takes what the recipe says of all layers.

    Args:
        name: Of the weight, as the imported network calls it.
        coding: Of the weight, in the file.
        density: Share of the weights that stay, for sparse codings.
        rank: Share of the full rank that stays; 1 for no factors.
    """

    name: str
    coding: str | None = None
    density: float | None = None
    rank: float | None = None


@final
@dataclass(frozen=True)
class GroupRecipe:
    """How many channels of one group stay: its name, and the share."""

    name: str
    keep: float


@final
@dataclass(frozen=True)
class Recipe:
    """What to do with a network.

    Args:
        coding: Of every weight that `layers` does not name.
        density: Share of the weights that stay, for sparse codings.
        rank: Share of the full rank that stays in every layer that can be factored.
        keep: Share of the channels that stays in every group.
        layers: Exceptions, by layer.
        groups: Exceptions, by group of channels.
        share: Groups of layers that share one weight.
        training: The training after it.

    Raises:
        SettingsError: With every unknown coding and every share out of (0, 1].
    """

    coding: str = "int8"
    density: float = 0.25
    rank: float = 1.0
    keep: float = 1.0
    layers: list[LayerRecipe] = field(default_factory=list)
    groups: list[GroupRecipe] = field(default_factory=list)
    share: list[list[str]] = field(default_factory=list)
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        known = CODINGS | PALETTES
        entries: list[Any] = [self, *self.layers, *self.groups]
        problems = [
            f"{_where(entry)}coding must be one of {', '.join(known)}, got {entry.coding}"
            f"{did_you_mean(entry.coding, known)}"
            for entry in entries
            if getattr(entry, "coding", None) is not None and entry.coding not in known
        ]
        problems += [
            f"{_where(entry)}{name} must lie in (0, 1], got {getattr(entry, name)}."
            for entry in entries
            for name in SHARES
            if getattr(entry, name, None) is not None and not 0 < getattr(entry, name) <= 1
        ]
        if problems:
            raise SettingsError("\n".join(problems))

    def to_yaml(self) -> str:
        """Return the recipe as `read_recipe` reads it."""
        return yaml.safe_dump(asdict(self), sort_keys=False)


def read_recipe(path: Path | str) -> Recipe:
    """Read a recipe from a YAML file, strictly.

    Raises:
        SettingsError: With every unknown key and wrong value, or if the file cannot be read.

    Example:
        A file that holds `{coding: int4, layers: [{name: fc_weight, coding: int8}]}`.
    """
    try:
        given = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path} must be a YAML file: {error}.") from error
    if not isinstance(given, dict):
        raise SettingsError(f"{path} must hold keys and values, as `coding: int4`; it holds {given!r:.60}.")
    return build(Recipe, given)


def applied(network: ImportedNetwork, recipe: Recipe) -> ImportedNetwork:
    """Return the network with channels removed, layers factored, weights shared, and every weight in its form.

    Train it on (`compression.modules.retrain.retrain`) and write it (`compression.modules.writing.write_network`).

    Args:
        network: Trained; it is not changed.
        recipe: What to do.

    Raises:
        SettingsError: With every name that the network does not have.
    """
    _check_names(network, recipe)
    keeps = {group.name: recipe.keep for group in channel_groups(network)}
    keeps |= {group.name: group.keep for group in recipe.groups}
    made = prune_channels(network, {name: share for name, share in keeps.items() if share < 1})
    made = shared(made, recipe.share)  # always a new network, so the caller's own stays as it is
    exceptions = {layer.name: layer for layer in recipe.layers}
    ranks = {}
    for name, full in full_ranks(made).items():
        share = _first(exceptions.get(name), "rank", recipe.rank)
        if share < 1:
            ranks[name] = max(1, round(share * full))
    made = factored(made, ranks)
    codings, densities = {}, {}
    for layer in made.layers:
        own = exceptions.get(layer.weight.removesuffix("_first").removesuffix("_second"))
        own = exceptions.get(layer.weight, own)
        coding = codings[layer.weight] = _first(own, "coding", recipe.coding)
        if coding.startswith("sparse"):
            densities[layer.weight] = _first(own, "density", recipe.density)
    books = {name: Codebook(torch.linspace(-2.0, 2.0, coding.high + 1)) for name, coding in PALETTES.items()}
    for kind in sorted(set(codings.values())):
        chosen = {name: coding for name, coding in codings.items() if coding == kind}
        shaped(made, chosen, densities=densities, codebook=books.get(kind))
    refresh((form, weight) for _, form, weight in forms_of(made))
    return made


def _first(entry: LayerRecipe | None, name: str, default: Any) -> Any:
    own = None if entry is None else getattr(entry, name)
    return default if own is None else own


def _where(entry: object) -> str:
    return "" if isinstance(entry, Recipe) else f"{getattr(entry, 'name', '')}: "


def _check_names(network: ImportedNetwork, recipe: Recipe) -> None:
    layers = [layer.weight for layer in network.layers]
    groups = [group.name for group in channel_groups(network)]
    problems = [
        f"The network has no layer {name}{did_you_mean(name, layers)} Layers: {', '.join(layers)}."
        for name in [*(layer.name for layer in recipe.layers), *(name for names in recipe.share for name in names)]
        if name not in layers
    ]
    problems += [
        f"The network has no channel group {group.name}{did_you_mean(group.name, groups)} Groups: "
        f"{', '.join(groups) or 'none'}."
        for group in recipe.groups
        if group.name not in groups
    ]
    if problems:
        raise SettingsError("\n".join(problems))
