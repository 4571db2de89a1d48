"""Search spaces as printable data: ranges, conditions, and the candidates drawn from them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, final

import numpy as np

from engine.errors import SpaceError, did_you_mean

__all__ = ["Candidate", "Choice", "Condition", "Domain", "Float", "Int", "Space", "Value"]

Value = bool | int | float | str
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))  # made once: `json.dumps` makes one for each call


@final
@dataclass(frozen=True)
class Candidate:
    """One point of a space: named values, frozen, hashable, JSON.

    Two candidates with the same values have the same key, in every process and on every machine.

    Args:
        values: Name and value of each gene, sorted by name. Use `Candidate.of`.

    Example:
        >>> Candidate.of({"width": 8, "coding": "int8"}).key == Candidate.of({"coding": "int8", "width": 8}).key
        True
    """

    values: tuple[tuple[str, Value], ...]

    @staticmethod
    def of(values: Mapping[str, Value]) -> Candidate:
        """Make a candidate from a mapping, in any order."""
        return Candidate(tuple(sorted(values.items())))

    @cached_property
    def genes(self) -> dict[str, Value]:
        """The values by name."""
        return dict(self.values)

    @cached_property
    def key(self) -> str:
        """Sixteen hexadecimal digits that name this candidate everywhere."""
        return hashlib.sha256(_ENCODER.encode(self.genes).encode()).hexdigest()[:16]

    @cached_property
    def _hash(self) -> int:
        return hash(self.values)

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[type[Candidate], tuple[tuple[tuple[str, Value], ...]]]:
        return Candidate, (self.values,)  # without the hash, which is another one in every process

    def __getitem__(self, name: str) -> Value:
        return self.genes[name]

    def replace(self, **values: Value) -> Candidate:
        """Return a copy with some values changed."""
        return Candidate.of({**self.genes, **values})


@final
@dataclass(frozen=True)
class Float:
    """A range of real numbers, both ends included; `log` spreads samples over orders of magnitude."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise SpaceError(f"Float needs low < high, both finite, got {self.low} and {self.high}.")
        if self.log and self.low <= 0:
            raise SpaceError(f"Float with log=True needs low > 0, got {self.low}.")

    def contains(self, value: object) -> bool:
        """Say whether a value lies in the range."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return self.low <= value <= self.high

    def sample(self, rng: np.random.Generator) -> float:
        """Draw one value."""
        return self.at(rng.random())

    def at(self, share: float) -> float:
        """Return the value at a share in [0, 1] of the range."""
        if self.log:
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        return min(self.high, max(self.low, value))

    def near(self, value: Value, rng: np.random.Generator) -> float:
        """Draw a value near another one: a normal step of a tenth of the range."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        here = math.log(float(value)) if self.log else float(value)
        return self.at(min(1.0, max(0.0, (here - low) / (high - low) + 0.1 * rng.standard_normal())))


@final
@dataclass(frozen=True)
class Int:
    """A range of whole numbers, both ends included; `log` spreads samples over orders of magnitude."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise SpaceError(f"Int needs low <= high, got {self.low} and {self.high}.")
        if self.log and self.low <= 0:
            raise SpaceError(f"Int with log=True needs low > 0, got {self.low}.")

    def contains(self, value: object) -> bool:
        """Say whether a value lies in the range."""
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high

    def sample(self, rng: np.random.Generator) -> int:
        """Draw one value."""
        if self.log:
            value = math.exp(rng.uniform(math.log(self.low - 0.499), math.log(self.high + 0.499)))
            return min(self.high, max(self.low, round(value)))
        return int(rng.integers(self.low, self.high + 1))

    def near(self, value: Value, rng: np.random.Generator) -> int:
        """Draw another value near this one."""
        reach = max(1.0, 0.15 * (self.high - self.low))
        step = int(rng.choice([-1, 1])) * max(1, round(abs(rng.standard_normal()) * reach))
        return min(self.high, max(self.low, int(value) + step))


@final
@dataclass(frozen=True)
class Choice:
    """A list of options. `ordered` options (widths, ratios) mutate to a neighbour more often than far away."""

    options: tuple[Value, ...]
    ordered: bool = False

    def __post_init__(self) -> None:
        if not self.options or len(set(self.options)) != len(self.options):
            raise SpaceError(f"Choice needs at least one option and no two equal ones, got {self.options}.")

    def contains(self, value: object) -> bool:
        """Say whether a value is one of the options (True is not 1)."""
        return any(type(value) is type(option) and value == option for option in self.options)

    def sample(self, rng: np.random.Generator) -> Value:
        """Draw one option."""
        return self.options[int(rng.integers(len(self.options)))]

    def near(self, value: Value, rng: np.random.Generator) -> Value:
        """Draw another option; for ordered options a neighbour with a chance of two thirds."""
        if len(self.options) == 1:
            return value
        place = self.options.index(value)
        if self.ordered and rng.random() < 2 / 3:
            places = [p for p in (place - 1, place + 1) if 0 <= p < len(self.options)]
            return self.options[places[rng.integers(len(places))]]
        other = int(rng.integers(len(self.options) - 1))
        return self.options[other + (other >= place)]


Domain = Float | Int | Choice


@final
@dataclass(frozen=True)
class Condition:
    """A gene exists only where its parent has one of these values."""

    parent: str
    values: tuple[Value, ...]


@final
@dataclass(frozen=True)
class Space:
    """Named ranges, some of them under a condition. Plain data: it prints, compares and goes to JSON.

    Args:
        domains: Range of each gene, parents before their children.
        conditions: For some genes, when they exist.

    Raises:
        SpaceError: If a condition names an unknown or later gene, or a value its parent cannot have.

    Example:
        >>> space = Space({"kind": Choice(("a", "b")), "rate": Float(0.1, 1.0)}, {"rate": Condition("kind", ("b",))})
        >>> space.check(Candidate.of({"kind": "a"}))
        >>> sorted(space.sample(np.random.default_rng(0)).genes)
        ['kind', 'rate']
    """

    domains: Mapping[str, Domain]
    conditions: Mapping[str, Condition] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = []
        seen: set[str] = set()
        for name in self.domains:
            condition = self.conditions.get(name)
            if condition is not None and condition.parent not in seen:
                problems.append(f"the condition of {name} names {condition.parent}, which must come before it")
            elif condition is not None:
                parent = self.domains[condition.parent]
                lost = [value for value in condition.values if not parent.contains(value)]
                if lost:
                    problems.append(f"the condition of {name} waits for {lost}, which {condition.parent} never is")
            seen.add(name)
        problems += [f"a condition for {name}, which has no range" for name in self.conditions if name not in seen]
        if problems:
            raise SpaceError("The space contradicts itself: " + "; ".join(problems) + ".")

    def is_active(self, name: str, genes: Mapping[str, Value]) -> bool:
        """Say whether a gene exists, given the values of the genes before it."""
        condition = self.conditions.get(name)
        if condition is None:
            return True
        return condition.parent in genes and genes[condition.parent] in condition.values

    def sample(self, rng: np.random.Generator) -> Candidate:
        """Draw one candidate uniformly, gene by gene."""
        return self._complete({}, rng)

    def mutate(self, candidate: Candidate, rng: np.random.Generator, *, genes: int = 1) -> Candidate:
        """Return a neighbour: `genes` active genes redrawn near their values, new children sampled."""
        names = [name for name in self.domains if name in candidate.genes]
        values = dict(candidate.genes)
        for place in sorted(rng.permutation(len(names))[:genes].tolist()):
            values[names[place]] = self.domains[names[place]].near(values[names[place]], rng)
        return self._complete(values, rng)

    def cross(self, first: Candidate, second: Candidate, rng: np.random.Generator) -> Candidate:
        """Return a child that takes each gene from one of two parents."""
        values = {}
        for name in self.domains:
            sources = [p.genes[name] for p in (first, second) if name in p.genes]
            if sources:
                values[name] = sources[int(rng.integers(len(sources)))]
        return self._complete(values, rng)

    def check(self, candidate: Candidate) -> None:
        """Raise unless a candidate has exactly the active genes, each in its range.

        Raises:
            SpaceError: With every gene that is missing, unknown, inactive or out of range.
        """
        problems = []
        for name, domain in self.domains.items():
            active = self.is_active(name, candidate.genes)
            if active and name not in candidate.genes:
                problems.append(f"{name} is missing")
            elif active and not domain.contains(candidate.genes[name]):
                problems.append(f"{name} must be in {domain}, got {candidate.genes[name]!r}")
            elif not active and name in candidate.genes:
                problems.append(f"{name} exists only where {self.conditions[name]} holds")
        unknown = [name for name in candidate.genes if name not in self.domains]
        problems += [f"unknown gene {name}{did_you_mean(name, self.domains).removesuffix('.')}" for name in unknown]
        if problems:
            raise SpaceError("The candidate is not in its space: " + "; ".join(problems) + ".")

    def complete(self, candidate: Candidate, rng: np.random.Generator) -> Candidate:
        """Return the candidate with inactive genes dropped and missing ones sampled."""
        return self._complete(candidate.genes, rng)

    def to_json(self) -> dict[str, Any]:
        """Return the space as plain containers."""
        genes: dict[str, Any] = {}
        for name, domain in self.domains.items():
            genes[name] = {"type": type(domain).__name__, **vars(domain)}
            if isinstance(domain, Choice):
                genes[name]["options"] = list(domain.options)
            if name in self.conditions:
                condition = self.conditions[name]
                genes[name]["when"] = {"parent": condition.parent, "values": list(condition.values)}
        return genes

    @staticmethod
    def from_json(genes: Mapping[str, Mapping[str, Any]]) -> Space:
        """Rebuild a space from `to_json`."""
        kinds: dict[str, Any] = {"Float": Float, "Int": Int, "Choice": Choice}
        domains: dict[str, Domain] = {}
        conditions = {}
        for name, entry in genes.items():
            fields = {key: value for key, value in entry.items() if key not in ("type", "when")}
            if "options" in fields:
                fields["options"] = tuple(fields["options"])
            domains[name] = kinds[entry["type"]](**fields)
            if "when" in entry:
                conditions[name] = Condition(entry["when"]["parent"], tuple(entry["when"]["values"]))
        return Space(domains, conditions)

    def __iter__(self) -> Iterator[str]:
        return iter(self.domains)

    def __str__(self) -> str:
        lines = []
        for name, domain in self.domains.items():
            when = self.conditions.get(name)
            suffix = f"   when {when.parent} in {list(when.values)}" if when else ""
            lines.append(f"{name}: {domain}{suffix}")
        return "\n".join(lines)

    def _complete(self, values: Mapping[str, Value], rng: np.random.Generator) -> Candidate:
        complete: dict[str, Value] = {}
        for name, domain, parent, wanted in self._genes:
            if parent is None or (parent in complete and complete[parent] in wanted):
                complete[name] = values[name] if name in values else domain.sample(rng)
        return Candidate(tuple([(name, complete[name]) for name in self._sorted if name in complete]))

    @cached_property
    def _sorted(self) -> list[str]:
        """Names in the order of `Candidate.values`."""
        return sorted(self.domains)

    @cached_property
    def _genes(self) -> list[tuple[str, Domain, str | None, tuple[Value, ...]]]:
        """Name, range, parent and the parent's values of each gene, for loops that are run often."""
        return [
            (name, domain, found.parent if found else None, found.values if found else ())
            for name, domain in self.domains.items()
            for found in [self.conditions.get(name)]
        ]
