"""The space of rule models: a generator, how many rules, and what that generator takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.errors import SettingsError, did_you_mean
from engine.space import Candidate, Choice, Condition, Domain, Int, Space
from rules.generators.generate import GENERATORS, generators_for

__all__ = ["RulesSettings", "genes_of", "portfolio", "rules_space"]

MOST_RULES = 1000


@dataclass(frozen=True, kw_only=True)
class RulesSettings:
    """Of the space of rule models.

    Args:
        name: `rules`.
        generators: To choose from: `score`, `tree`, `list`, `set`, `sum`.
        rules: Most rules of a model.
        depths: Most columns in a scored rule.
        ridges: Of squared points, in rows of average weight.
        solvers: Of trees: `greedy`, `near` (one cut of look-ahead), `optimal`.
        shrinks: How many rows a parent's share counts for in the children of a tree.
        lengths: Most comparisons in the rules of lists, sets and sums.
        methods: Of rule sets: `cover`, `columns` (column generation).
        teaches: Shares of the targets that come from a teacher.
        points: Of scored rules and sums, for two classes: `real`, `integer`.
    """

    name: str = "rules"
    generators: list[str] = field(default_factory=lambda: list(GENERATORS))
    rules: int = 32
    depths: list[int] = field(default_factory=lambda: [1, 2, 3])
    ridges: list[float] = field(default_factory=lambda: [1.0, 3.0, 10.0, 30.0])
    solvers: list[str] = field(default_factory=lambda: ["greedy", "near", "optimal"])
    shrinks: list[float] = field(default_factory=lambda: [0.0, 3.0, 10.0, 30.0, 100.0])
    lengths: list[int] = field(default_factory=lambda: [1, 2, 3, 4, 5])
    methods: list[str] = field(default_factory=lambda: ["cover", "columns"])
    teaches: list[float] = field(default_factory=lambda: [0.0, 0.5, 1.0])
    points: list[str] = field(default_factory=lambda: ["real"])

    def __post_init__(self) -> None:
        known = {
            "generators": tuple(GENERATORS),
            "solvers": ("greedy", "near", "optimal"),
            "methods": ("cover", "columns"),
            "points": ("real", "integer"),
        }
        problems = [
            f"space.{key} may hold {', '.join(names)}, got '{value}'{did_you_mean(str(value), names)}"
            for key, names in known.items()
            for value in getattr(self, key)
            if value not in names
        ]
        limits: dict[str, tuple[float, float]] = {
            "depths": (1, 6),
            "ridges": (0, 1e6),
            "shrinks": (0, 1e6),
            "lengths": (1, 10),
            "teaches": (0, 1),
        }
        for key, (low, high) in limits.items():
            problems += [
                f"space.{key} must lie in [{low:g}, {high:g}], got {value}."
                for value in getattr(self, key)
                if not low <= value <= high
            ]
        problems += [
            f"space.{key} must hold at least one value and none twice, got {values}."
            for key in (*known, *limits)
            if not (values := getattr(self, key)) or len(set(values)) != len(values)
        ]
        if not 1 <= self.rules <= MOST_RULES:
            problems.append(f"space.rules must lie in [1, {MOST_RULES}], got {self.rules}.")
        if problems:
            raise SettingsError("\n".join(problems))


def rules_space(settings: RulesSettings, task: str, n_classes: int) -> Space:
    """Return the space for a task.

    Args:
        settings: Of the space.
        task: `classification` or `regression`.
        n_classes: Number of classes; 0 for regression.

    Raises:
        SettingsError: If no generator of the settings serves the task, or only integer points are asked for where there
            are not two classes.
    """
    served = [name for name in settings.generators if name in generators_for(task)]
    if not served:
        raise SettingsError(f"space.generators must hold one of {', '.join(generators_for(task))} for {task}.")
    is_binary = n_classes == 2
    if not is_binary and "real" not in settings.points:
        raise SettingsError("space.points must hold real here: integer points are for two classes.")
    own: dict[str, dict[str, Domain]] = {
        "score": {"depth": _ordered(settings.depths), "ridge": _ordered(settings.ridges)},
        "tree": {
            "depth": Choice((2, 3, 4, 5, 6), ordered=True),
            "solver": Choice(tuple(settings.solvers)),
            "shrink": _ordered(settings.shrinks),
        },
        "list": {"length": _ordered(settings.lengths), "brevity": Choice((1.0, 2.0, 4.0, 8.0), ordered=True)},
        "set": {"length": _ordered(settings.lengths), "brevity": Choice((0.1, 0.5, 2.0, 5.0), ordered=True)},
        "sum": {"length": _ordered(settings.lengths), "ridge": _ordered(settings.ridges)},
    }
    if is_binary:
        own["set"] |= {"method": Choice(tuple(settings.methods)), "positive": Choice(("second", "first"))}
    if is_binary and settings.points != ["real"]:
        for name in ("score", "sum"):
            own[name]["points"] = Choice(tuple(settings.points))
    domains: dict[str, Domain] = {
        "generator": Choice(tuple(served)),
        "rules": Int(1, settings.rules, log=True),
        "teach": _ordered(settings.teaches),
    }
    conditions = {}
    for name in served:
        for gene, domain in own[name].items():
            domains[f"{name}.{gene}"] = domain
            conditions[f"{name}.{gene}"] = Condition("generator", (name,))
    return Space(domains, conditions)


def genes_of(candidate: Candidate) -> dict[str, Any]:
    """Return the genes of a candidate as `rules.generators.generate` takes them.

    Example:
        >>> genes_of(Candidate.of({"generator": "score", "rules": 9, "teach": 0.0, "score.depth": 1}))
        {'generator': 'score', 'rules': 9, 'depth': 1, 'teach': 0.0}
    """
    genes: Mapping[str, Any] = candidate.genes
    return {name.split(".")[-1]: value for name, value in genes.items()}


def portfolio(space: Space, settings: RulesSettings) -> Sequence[Candidate]:
    """Return good candidates of each generator, as far as the space has them; each yields every smaller model too."""
    wanted: list[dict[str, Any]] = [
        {"generator": "score", "score.depth": 1, "score.ridge": 3.0, "teach": 1.0},
        {"generator": "score", "score.depth": 2, "score.ridge": 10.0, "teach": 0.0},
        {"generator": "set", "set.length": 4, "set.brevity": 0.5, "set.method": "cover", "set.positive": "second"},
        {"generator": "sum", "sum.length": 3, "sum.ridge": 3.0, "teach": 0.5},
        {"generator": "tree", "tree.depth": 4, "tree.solver": "greedy", "tree.shrink": 10.0, "teach": 0.0},
        {"generator": "list", "list.length": 3, "list.brevity": 2.0, "teach": 0.0},
        {"generator": "tree", "tree.depth": 3, "tree.solver": "optimal", "tree.shrink": 10.0, "teach": 0.0},
        {"generator": "score", "score.depth": 3, "score.ridge": 10.0, "teach": 1.0},
    ]
    made = []
    for entry in wanted:
        values: dict[str, Any] = {"teach": 0.0, "score.points": "real", "sum.points": "real", **entry}
        values["rules"] = settings.rules
        if not space.domains["generator"].contains(values["generator"]):
            continue
        genes = {name: values.get(name) for name in space.domains if space.is_active(name, values)}
        made.append(Candidate.of({name: _nearest(space.domains[name], value) for name, value in genes.items()}))
    return list(dict.fromkeys(made))


def _nearest(domain: Domain, value: Any) -> Any:
    """Return the option nearest to a wanted value; the first where there is nothing to measure."""
    if not isinstance(domain, Choice):
        return value
    if domain.contains(value):
        return value
    numbers = [option for option in domain.options if isinstance(option, int | float)]
    return min(numbers, key=lambda option: abs(option - value)) if numbers and value is not None else domain.options[0]


def _ordered(values: Sequence[Any]) -> Choice:
    return Choice(tuple(sorted(values)), ordered=True)
