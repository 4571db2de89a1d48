"""One door to all generators: from rows and genes to rule sets, with the user's demands kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from engine.data import Rows, Signature
from engine.errors import SpaceError, did_you_mean
from engine.samplers.surrogate import one_thread
from rules.generators.constraints import Constraints
from rules.generators.examples import Examples, examples
from rules.generators.lists import ListGenes, lists
from rules.generators.scores import ScoreGenes, scores
from rules.generators.sets import SetGenes, sets
from rules.generators.sums import SumGenes, sums
from rules.generators.trees import TreeGenes, trees
from rules.outputs import Points
from rules.rule import Rule
from rules.ruleset import RuleSet

__all__ = ["GENERATORS", "generate", "generators_for"]

Generator = Callable[[Examples, Any], Iterator[tuple[int, RuleSet]]]

GENERATORS: dict[str, tuple[Generator, type]] = {
    "score": (scores, ScoreGenes),
    "tree": (trees, TreeGenes),
    "list": (lists, ListGenes),
    "set": (sets, SetGenes),
    "sum": (sums, SumGenes),
}
FOR_VALUES = ("score", "tree", "list", "sum")


def generators_for(task: str) -> tuple[str, ...]:
    """Return the names of the generators that serve a task."""
    return FOR_VALUES if task == "regression" else tuple(GENERATORS)


def generate(
    rows: Rows,
    signature: Signature,
    genes: Mapping[str, Any],
    constraints: Constraints | None = None,
    *,
    seed: int = 0,
    soft: np.ndarray | None = None,
) -> Iterator[tuple[int, RuleSet]]:
    """Yield rule sets, from small to large.

    Each comes with the number of rules that was allowed: a call with that number as `rules` ends with this rule set.

    Args:
        rows: Training rows.
        signature: Of the data.
        genes: `generator`, `rules` (most of them), `teach` (share of the targets that comes from `soft`), and what that
            generator takes.
        constraints: The user's demands.
        seed: Of everything random.
        soft: A teacher's probabilities or values for the rows, float64, shape (n_rows, n_classes or 1).

    Raises:
        SpaceError: For a generator or a gene that there is not.

    Example:
        >>> rows = Rows(np.arange(40) % 2, x=np.arange(40, dtype=np.float32)[:, None] % 2)
        >>> signature = Signature("table", "classification", (1,), "float32", ("no", "yes"), numeric_columns=("odd",))
        >>> [size for size, _ in generate(rows, signature, {"generator": "score", "rules": 3})]
        [1]
    """
    constraints = constraints or Constraints()
    name = str(genes["generator"])
    if name not in GENERATORS:
        raise SpaceError(f"No generator '{name}'{did_you_mean(name, GENERATORS)} Known: {', '.join(GENERATORS)}.")
    make, kind = GENERATORS[name]
    own = {key: value for key, value in genes.items() if key not in ("generator", "teach")}
    known = {field.name for field in dataclasses.fields(kind)}
    unknown = sorted(set(own) - known)
    if unknown:
        raise SpaceError(f"Generator '{name}' has no gene {', '.join(unknown)}; it has {', '.join(sorted(known))}.")
    with one_thread():
        prepared = examples(rows, signature, constraints, soft=soft, teach=float(genes.get("teach", 0.0)), seed=seed)
    path = make(prepared, kind(**own))
    while True:
        with one_thread():
            found = next(path, None)
        if found is None:
            return
        limit, model = found
        yield limit, _completed(model, constraints)


def _completed(model: RuleSet, constraints: Constraints) -> RuleSet:
    """Add what the user says beside the model: rules before and after it, the default, when to abstain."""
    taken = {rule.id for rule in (*constraints.hard, *constraints.must)}
    learned = [_renamed(rule, taken) if rule.source == "learned" else rule for rule in model.rules]
    default = model.default
    if constraints.default is not None and model.policy != "sum":
        is_points = isinstance(constraints.default, Points)
        default = default if is_points and model.classes else constraints.default
    abstain = constraints.abstain if model.classes else None
    return replace(model, rules=(*constraints.hard, *learned), default=default, abstain=abstain)


def _renamed(rule: Rule, taken: set[str]) -> Rule:
    """Return a learned rule under a name that no rule of the user's has."""
    name = rule.id
    while name in taken:
        name = f"learned_{name}"
    return replace(rule, id=name)
