"""From what a user asks for to a coding for each layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import yaml

from compression.codings import CODINGS, PALETTES
from compression.graphs.apply import Choice
from compression.graphs.weighted import Layer
from engine.errors import SettingsError, did_you_mean
from engine.settings import build

__all__ = ["SMALL_SHARE", "read_choices", "uniform"]

SMALL_SHARE = 0.04  # of all weights: the smallest layers, up to so many together, lose much and spare little
TINY = 16  # weights; scales and the nodes that apply them take more than float16 does


def uniform(layers: Sequence[Layer], choice: Choice) -> dict[str, Choice]:
    """Return one coding for all layers; below four bits, the smallest layers keep eight.

    Args:
        layers: Of the model.
        choice: For all that are large enough.
    """
    known = CODINGS | PALETTES
    is_hard = known[choice.coding].bits < 4 or choice.density < 1
    room = SMALL_SHARE * sum(layer.values.size for layer in layers) if is_hard else 0.0
    made = {layer.weight: choice for layer in layers}
    for layer in sorted(layers, key=lambda layer: layer.values.size):
        room -= layer.values.size
        if room >= 0:
            made[layer.weight] = Choice("int8")
        if layer.values.size < TINY and known[made[layer.weight].coding].is_integer:
            made[layer.weight] = Choice("float16")
    return made


@final
@dataclass(frozen=True)
class LayerEntry:
    """What the file says of one layer: its weight's name, and what differs from the rest."""

    name: str
    coding: str | None = None
    density: float | None = None


@final
@dataclass(frozen=True)
class FileEntries:
    """What the file may say: a coding for all layers, the density of sparse codings, and exceptions."""

    coding: str = "int8"
    density: float | None = None
    layers: list[LayerEntry] = field(default_factory=list)


def read_choices(path: Path, layers: Sequence[Layer]) -> dict[str, Choice]:
    """Read a coding for each layer from a YAML file, strictly.

    The keys are those of the recipes of `compression.search` that need no training: `coding`, `density`, and `layers`,
    a list of mappings with `name`, `coding`, `density`.

    Args:
        path: The file.
        layers: Of the model.

    Raises:
        SettingsError: With everything in the file that is not understood.

    Example:
        A file that holds `{coding: int4, layers: [{name: fc.weight, coding: int8}]}`.
    """
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path} must be a readable YAML file: {error}") from error
    if not isinstance(given, dict):
        raise SettingsError(f"{path} must hold keys and values, as `coding: int4`; it holds {given!r:.60}.")
    entries = build(FileEntries, given, where=str(path))
    problems = [*_problems(entries, path), *(text for entry in entries.layers for text in _problems(entry, path))]
    names = [layer.weight for layer in layers]
    problems += [
        f"{path}: the model has no weight '{entry.name}'{did_you_mean(entry.name, names)} Weights: {', '.join(names)}."
        for entry in entries.layers
        if entry.name not in names
    ]
    if problems:
        raise SettingsError("\n".join(problems))
    own = {entry.name: entry for entry in entries.layers}
    return {name: _choice(entries, own.get(name)) for name in names}


def _choice(entries: FileEntries, own: LayerEntry | None) -> Choice:
    coding = entries.coding if own is None or own.coding is None else own.coding
    known = (CODINGS | PALETTES)[coding]
    if known.density == 1:
        return Choice(coding)
    given = entries.density if own is None or own.density is None else own.density
    return Choice(coding, known.density if given is None else given)


def _problems(entry: FileEntries | LayerEntry, path: Path) -> Iterator[str]:
    known = CODINGS | PALETTES
    where = f"{path}: {entry.name}: " if isinstance(entry, LayerEntry) else f"{path}: "
    if entry.coding is not None and entry.coding not in known:
        hint = did_you_mean(entry.coding, known)
        yield f"{where}no coding '{entry.coding}'{hint} Codings: {', '.join(known)}."
    if entry.density is not None and not 0 < entry.density <= 1:
        yield f"{where}density must lie in (0, 1], got {entry.density}."
