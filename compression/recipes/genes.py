"""The space of recipes for one network, and the recipe of each candidate."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from compression.codings import CODINGS, PALETTES
from compression.modules.channels import channel_groups
from compression.modules.importing import ImportedNetwork
from compression.modules.lowrank import full_ranks
from compression.modules.retrain import Training
from compression.recipes.recipe import GroupRecipe, LayerRecipe, Recipe
from compression.recipes.settings import RecipesSettings
from engine.space import Candidate, Choice, Condition, Space

__all__ = [
    "EXECUTION",
    "Anatomy",
    "anatomy_of",
    "canonical_of",
    "execution_of",
    "plain_candidates",
    "recipe_of",
    "recipes_space",
]

EXECUTION = "execution"

WHOLE = "int8"
SMALLEST_FACTORED = 256  # weights below which two factors cost more than they save


@final
@dataclass(frozen=True)
class Anatomy:
    """What of a network can be changed, in parts that have genes of their own.

    Args:
        layers: Names of the weights in each part.
        groups: Names and widths of the channel groups in each part.
        ranks: Largest useful rank of each layer that is worth factoring.
    """

    layers: tuple[tuple[str, ...], ...]
    groups: tuple[tuple[tuple[str, int], ...], ...]
    ranks: Mapping[str, int] = field(default_factory=dict)


def anatomy_of(network: ImportedNetwork, settings: RecipesSettings) -> Anatomy:
    """Return what of a network can be changed."""
    layers = list(dict.fromkeys(layer.weight for layer in network.layers))
    groups = [(group.name, group.width) for group in channel_groups(network) if group.width > 1]
    ranks = {
        name: rank
        for name, rank in full_ranks(network).items()
        if rank > 1 and network.tensor(name).numel() >= SMALLEST_FACTORED
    }
    return Anatomy(_parts(layers, settings.layers), _parts(groups, settings.layers), ranks)


def recipes_space(anatomy: Anatomy, settings: RecipesSettings) -> Space:
    """Return the space: a coding for each part of the layers, a share for each part of the channel groups, ranks."""
    domains: dict[str, Choice] = {}
    conditions: dict[str, Condition] = {}
    sparse = tuple(name for name in settings.codings if name.startswith("sparse"))
    for number, names in enumerate(anatomy.layers):
        domains[f"layer{number}.coding"] = Choice(tuple(settings.codings))
        if sparse:
            domains[f"layer{number}.density"] = Choice(tuple(sorted(settings.densities)), ordered=True)
            conditions[f"layer{number}.density"] = Condition(f"layer{number}.coding", sparse)
        if any(name in anatomy.ranks for name in names) and len(settings.ranks) > 1:
            domains[f"layer{number}.rank"] = Choice(tuple(sorted(settings.ranks)), ordered=True)
    for number in range(len(anatomy.groups)):
        domains[f"group{number}.keep"] = Choice(tuple(sorted(settings.keeps)), ordered=True)
    if len(settings.executions or ()) > 1:
        domains[EXECUTION] = Choice(tuple(settings.executions or ()))
    return Space(domains, conditions)


def plain_candidates(space: Space, settings: RecipesSettings) -> tuple[Candidate, ...]:
    """Return what stands for itself everywhere: all layers in one coding, all channels, then about half of them.

    The more bits, the earlier: the search begins with the accurate end, which chance hardly ever draws.
    """
    known = CODINGS | PALETTES
    codings = [name for name in settings.codings if known[name].density == 1]
    codings.sort(key=lambda name: -known[name].bits)
    half = min(settings.keeps, key=lambda share: abs(share - 0.5))
    found: dict[Candidate, None] = {}
    for keep, coding in itertools.product((max(settings.keeps), half), codings):
        genes: dict[str, Any] = {}
        for name, domain in space.domains.items():
            if name.endswith(".coding"):
                genes[name] = coding
            elif name.endswith(".rank"):
                genes[name] = max(settings.ranks)
            elif name.endswith(".keep"):
                genes[name] = keep
            elif name == EXECUTION:
                assert isinstance(domain, Choice)
                genes[name] = domain.options[0]
        found[Candidate.of(genes)] = None
    return tuple(found)


def execution_of(candidate: Candidate, settings: RecipesSettings) -> str:
    """Return how the file of a candidate computes: `float` or `integer`."""
    return str(candidate.genes.get(EXECUTION, (settings.executions or ["float"])[0]))


def recipe_of(candidate: Candidate, anatomy: Anatomy, settings: RecipesSettings, training: Training) -> Recipe:
    """Return the recipe of a candidate."""
    genes: Mapping[str, Any] = candidate.genes
    alone = settings.ranks[0] if len(settings.ranks) == 1 else 1.0
    layers = [
        LayerRecipe(
            name,
            genes[f"layer{number}.coding"],
            genes.get(f"layer{number}.density"),
            genes.get(f"layer{number}.rank", alone) if name in anatomy.ranks else 1.0,
        )
        for number, names in enumerate(anatomy.layers)
        for name in names
    ]
    groups = [
        GroupRecipe(name, genes[f"group{number}.keep"])
        for number, members in enumerate(anatomy.groups)
        for name, _ in members
    ]
    return Recipe(layers=layers, groups=groups, training=training)


def canonical_of(candidate: Candidate, anatomy: Anatomy, settings: RecipesSettings) -> Candidate:
    """Return the candidate with, of the shares that leave the same channels, always the largest.

    Files that compute with integers hold weights of eight bits, whatever the coding.
    """
    changed: dict[str, Any] = {}
    for number, members in enumerate(anatomy.groups):
        share = float(candidate[f"group{number}.keep"])
        counts = [max(1, round(share * width)) for _, width in members]
        changed[f"group{number}.keep"] = max(
            other for other in settings.keeps if [max(1, round(other * width)) for _, width in members] == counts
        )
    if execution_of(candidate, settings) == "integer" and WHOLE in settings.codings:
        changed |= {name: WHOLE for name in candidate.genes if name.endswith(".coding")}
        kept = {name: value for name, value in candidate.values if not name.endswith(".density")}
        return Candidate.of(kept | changed)
    return candidate.replace(**changed)


def _parts(items: Sequence[Any], count: int) -> tuple[tuple[Any, ...], ...]:
    """Cut a list into at most so many parts of neighbours, as equal as can be."""
    count = min(count, len(items))
    edges = [round(place * len(items) / count) for place in range(count + 1)] if count else []
    return tuple(tuple(items[start:end]) for start, end in itertools.pairwise(edges))
