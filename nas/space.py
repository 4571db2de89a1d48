"""The seam between the family and its spaces: what a space of networks has to say."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Protocol, final, runtime_checkable

import nas.spaces
from compression.nets.plan import Plan
from engine.data import Signature
from engine.errors import SettingsError, did_you_mean
from engine.space import Candidate, Space
from nas.describe import Description

__all__ = ["Genome", "NetworkSpace", "SpaceSettings", "ViewSettings", "known_spaces", "space_named"]


class SpaceSettings(Protocol):
    """What the YAML of a space may set: a frozen dataclass of tuples that checks itself, with the name of the space."""

    def __hash__(self) -> int: ...

    @property
    def name(self) -> str:
        """Of the space."""
        ...

    @property
    def executions(self) -> tuple[str, ...] | None:
        """How networks may compute: `float`, `integer`; a gene where there are both. None: with floats."""
        ...


@runtime_checkable
class ViewSettings(Protocol):
    """Settings of a space of images."""

    @property
    def views(self) -> tuple[int, ...] | None:
        """Of how many views of an image a file may answer with the mean; a gene where there are several. None: of 1."""
        ...


class Genome(Protocol):
    """A network as frozen, hashable data."""

    def __hash__(self) -> int: ...

    def candidate(self) -> Candidate:
        """Return the candidate that it was read from."""
        ...


@final
@dataclass(frozen=True)
class NetworkSpace:
    """A space of networks, as functions of data; `S` are its settings and `G` its genomes.

    Args:
        settings: The dataclass `S`; all its fields have defaults.
        check: Raises DataError where a signature does not fit: it says what does.
        space: From S to named genes.
        genome: From a candidate and S to a G.
        canonical: From a G and S to the representative of all that build the same network, inside the space.
        plan: From a G and a signature to the network at full widths. Its length depends on nothing else.
        kept: From a G to the number of channels that stay, by channel group of the plan.
        portfolio: From S and a signature to candidates that are known to do well, of many sizes.
        describe: From a G to words.
    """

    settings: type[Any]
    check: Callable[[Signature], None]
    space: Callable[[Any], Space]
    genome: Callable[[Candidate, Any], Any]
    canonical: Callable[[Any, Any], Any]
    plan: Callable[[Any, Signature], Plan]
    kept: Callable[[Any], dict[str, int]]
    portfolio: Callable[[Any, Signature], Sequence[Candidate]]
    describe: Callable[[Any], Description]


@cache
def known_spaces() -> tuple[str, ...]:
    """Return the names of all spaces: the files of `nas/spaces`."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(nas.spaces.__path__)))


@cache
def space_named(name: str) -> NetworkSpace:
    """Return a space of networks: `SPACE` of the file of this name.

    Raises:
        SettingsError: If there is none of that name; it lists them.

    Example:
        >>> space_named("cells").settings().stages
        3
    """
    if name not in known_spaces():
        hint = did_you_mean(name, known_spaces())
        raise SettingsError(f"No space '{name}' of networks{hint} Spaces: {', '.join(known_spaces())}.")
    found: NetworkSpace = import_module(f"nas.spaces.{name}").SPACE
    return found
