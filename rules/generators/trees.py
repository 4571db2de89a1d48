"""Sparse trees, greedy, near-optimal or optimal, as rules of which exactly one applies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np

from engine.errors import MissingExtraError
from rules.generators.binned import Box
from rules.generators.cuts import cuts, opposite
from rules.generators.examples import Examples
from rules.generators.monotone import repaired
from rules.rule import Rule
from rules.ruleset import RuleSet

__all__ = ["Path", "TreeGenes", "trees"]

Path = tuple[Box, ...]  # the boxes from the root to a leaf

GREEDY_CUTS, NEAR_CUTS = 200, 60
OPTIMAL_CUTS = {1: 200, 2: 200, 3: 60, 4: 24}  # by depth: what is solved in seconds
OPTIMAL_ROWS = 8000
NEAR_DEPTH = 5
NEAR_PRICES = (0.03, 0.02, 0.012, 0.008, 0.005, 0.003, 0.002, 0.0012)
LEAST_LEAF = 3
MOST_SECONDS = 120.0  # far above what the limits on rows and cuts need: a solver that stops early would not repeat


@final
@dataclass(frozen=True)
class TreeGenes:
    """How a tree is found.

    Args:
        rules: Most leaves.
        depth: Most cuts on the way to a leaf.
        solver: `greedy`: the best cut first; `near`: looks one cut ahead; `optimal`: proves that no tree of its size
            errs less on the rows that it saw.
        shrink: How many rows a parent's share counts for in its children.
    """

    rules: int = 10
    depth: int = 4
    solver: Literal["greedy", "near", "optimal"] = "greedy"
    shrink: float = 10.0


def trees(examples: Examples, genes: TreeGenes) -> Iterator[tuple[int, RuleSet]]:
    """Yield trees, from few leaves to many, each with the number of leaves that was allowed.

    Rules that every model must have come first and decide alone. A tree whose shares break a direction that the user
    demands is repaired: shares of leaves that stand the wrong way round become equal.

    Source: Agarwal et al. (2022), arXiv:2202.00858, "Hierarchical shrinkage", for the shares of leaves; van der Linden
    et al. (2023), arXiv:2305.19706, for the optimal solver; Babbar et al. (2025), arXiv:2502.15988, for the near one.
    """
    grow = {"greedy": _greedy, "near": _near, "optimal": _optimal}[genes.solver]
    seen: set[tuple[Path, ...]] = set()
    constraints = examples.constraints
    for leaves in grow(examples, genes):
        size = sum(examples.data.size(path[-1]) for path in leaves)
        if tuple(leaves) in seen or not constraints.within(len(leaves) + len(constraints.must), size):
            continue
        seen.add(tuple(leaves))
        yield len(leaves) + len(constraints.must), _ruleset(examples, leaves, genes.shrink)


def _ruleset(examples: Examples, leaves: Sequence[Path], shrink: float) -> RuleSet:
    masks: dict[Box, np.ndarray] = {}
    for path in leaves:
        for box in path:
            if box not in masks:
                masks[box] = examples.inside(box)
    values = np.stack([_shrunk(examples, path, masks, shrink) for path in leaves])
    weights = np.array([examples.weights[masks[path[-1]]].sum() for path in leaves])
    boxes = [path[-1] for path in leaves]
    values = repaired(examples, boxes, values, weights)
    rules = [*examples.must]
    for number, (box, said) in enumerate(zip(boxes, values, strict=True), 1):
        rules.append(Rule(f"r{number}", examples.data.condition(box, is_exact=True), examples.output(said)))
    everyone = examples.output(examples.mean_of(np.ones(len(examples.targets), bool), prior=0.0))
    return examples.ruleset(tuple(rules), "first" if examples.constraints.must else "unique", everyone)


def _shrunk(examples: Examples, path: Path, masks: dict[Box, np.ndarray], shrink: float) -> np.ndarray:
    """Return a leaf's share, each step from the root weakened by the number of rows that it is told by."""
    made = examples.mean_of(masks[path[0]], prior=0.0)
    above, parent = made, masks[path[0]]
    for box in path[1:]:
        here = examples.mean_of(masks[box], prior=1e-9)
        made = made + (here - above) / (1 + shrink / max(float(examples.weights[parent].sum()), 1e-9))
        above, parent = here, masks[box]
    return made


def _literals(examples: Examples, most: int) -> list[Box]:
    found = cuts(examples, most=most)
    none = examples.constraints
    return [box for box in found if not none.forbidden or none.allows(examples.data, box, 1.0)]


def _greedy(examples: Examples, genes: TreeGenes) -> Iterator[list[Path]]:
    """Grow the leaf with the best cut, again and again."""
    literals = _literals(examples, GREEDY_CUTS)
    leaves: list[Path] = [(Box(),)]
    yield list(leaves)
    if not literals:
        return
    data = examples.data
    held = np.stack([box.mask(data.codes) for box in literals], axis=1).astype(np.float32)
    weights = examples.weights[examples.sample]
    shares = examples.shares[examples.sample]
    masks = {leaves[0]: np.ones(len(weights), bool)}
    offers: dict[Path, tuple[float, int]] = {}
    while len(leaves) < genes.rules:
        for path in leaves:
            if path not in offers:
                offers[path] = _best_cut(examples, shares, weights, held, masks[path])
        open_paths = [path for path in leaves if len(path) <= genes.depth and offers[path][0] > 0]
        if not open_paths:
            return
        parent = max(open_paths, key=lambda path: offers[path][0])
        number = offers[parent][1]
        halves = _halves(examples, parent[-1], literals[number])
        if halves is None:
            offers[parent] = (0.0, 0)
            continue
        place = leaves.index(parent)
        inside = masks[parent] & (held[:, number] > 0)
        made = [(*parent, box) for box in halves]
        masks[made[0]], masks[made[1]] = inside, masks[parent] & ~inside
        leaves[place : place + 1] = made
        yield list(leaves)


def _halves(examples: Examples, box: Box, literal: Box) -> tuple[Box, Box] | None:
    other = opposite(examples, literal)
    first = examples.data.simplified(box & literal)
    second = None if other is None else examples.data.simplified(box & other)
    return None if first is None or second is None else (first, second)


def _best_cut(
    examples: Examples, shares: np.ndarray, weights: np.ndarray, held: np.ndarray, mask: np.ndarray
) -> tuple[float, int]:
    """Return by how much the best cut of a leaf lowers its impurity, and its number."""
    rows = np.flatnonzero(mask)
    seen, mass = held[rows], weights[rows]
    counts = mass.astype(np.float32) @ seen
    sums = (shares[rows] * mass[:, None]).astype(np.float32).T @ seen
    whole, total = (shares[rows] * mass[:, None]).sum(axis=0), float(mass.sum())
    others, beside = total - counts, whole[:, None] - sums
    least = max(LEAST_LEAF, examples.constraints.min_support * len(weights))
    fits = (counts >= least) & (others >= least)
    inner = (sums**2).sum(axis=0) / np.maximum(counts, 1e-9) + (beside**2).sum(axis=0) / np.maximum(others, 1e-9)
    gains = np.where(fits, inner - float((whole**2).sum()) / total, 0.0)
    best = int(gains.argmax())
    return (float(gains[best]) if gains[best] > 1e-6 * total else 0.0), best


def _near(examples: Examples, genes: TreeGenes) -> Iterator[list[Path]]:
    """Solve with one cut of look-ahead for a falling price of a leaf."""
    try:
        from licketysplit import LicketySPLITClassifier, LicketySPLITRegressor
    except ImportError as error:
        raise _missing("licketysplit", "near") from error
    literals = _literals(examples, NEAR_CUTS)
    if not literals:
        yield [(Box(),)]
        return
    features, y, weights = _binary(examples, literals, len(examples.sample))
    kind: Any = LicketySPLITRegressor if examples.kind == "squares" else LicketySPLITClassifier
    spread = float(examples.targets.var()) if examples.kind == "squares" else 1.0
    for price in NEAR_PRICES:
        solver = kind(lambda_leaf=price * spread, depth_budget=min(genes.depth, NEAR_DEPTH) + 1)
        solver.fit(features, y, sample_weight=weights)
        paths = [_followed(examples, literals, signed) for signed in solver.get_tree_paths()[0]]
        leaves = [path for path in paths if path is not None]
        if len(leaves) <= genes.rules:
            yield leaves


def _optimal(examples: Examples, genes: TreeGenes) -> Iterator[list[Path]]:
    """Solve to optimality for each number of cuts."""
    try:
        from pystreed import STreeDClassifier, STreeDRegressor
    except ImportError as error:
        raise _missing("pystreed", "optimal") from error
    depth = min(genes.depth, max(OPTIMAL_CUTS))
    literals = _literals(examples, OPTIMAL_CUTS[depth])
    if not literals or genes.rules < 2:
        yield [(Box(),)]
        return
    features, y, _ = _binary(examples, literals, OPTIMAL_ROWS)
    for n_cuts in range(1, min(genes.rules - 1, 2**depth - 1) + 1):
        settings: dict[str, Any] = {"max_depth": depth, "max_num_nodes": n_cuts, "min_leaf_node_size": LEAST_LEAF}
        settings |= {"time_limit": MOST_SECONDS, "cost_complexity": 0.0}
        solver = STreeDRegressor(**settings) if examples.kind == "squares" else STreeDClassifier(**settings)
        solver.fit(features, y)
        leaves: list[Path] = []
        _walk(examples, literals, solver.get_tree(), (Box(),), leaves)
        yield leaves


def _walk(examples: Examples, literals: Sequence[Box], node: Any, path: Path, leaves: list[Path]) -> None:
    """Collect the leaves of a solver's tree; a cut that parts nothing is passed over."""
    if node.is_leaf_node():
        leaves.append(path)
        return
    halves = _halves(examples, path[-1], literals[int(node.feature)])
    if halves is None:  # the cut follows from those above: only one side has rows
        first = examples.data.simplified(path[-1] & literals[int(node.feature)])
        _walk(examples, literals, node.left_child if first is None else node.right_child, path, leaves)
        return
    _walk(examples, literals, node.left_child, (*path, halves[1]), leaves)
    _walk(examples, literals, node.right_child, (*path, halves[0]), leaves)


def _followed(examples: Examples, literals: Sequence[Box], signed: Sequence[int]) -> Path | None:
    """Return the boxes along a path of signed literals, numbered from 1; None where no row can go."""
    path: list[Box] = [Box()]
    for number in signed:
        literal: Box | None = literals[abs(int(number)) - 1]
        if number < 0 and literal is not None:
            literal = opposite(examples, literal)
        box = None if literal is None else examples.data.simplified(path[-1] & literal)
        if box is None:
            return None
        if box != path[-1]:
            path.append(box)
    return tuple(path)


def _binary(examples: Examples, literals: Sequence[Box], most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return literals as columns of 0 and 1, hard targets, and weights, of at most so many rows of the sample."""
    count = len(examples.sample)
    rows = np.arange(count)
    if count > most:
        rows = np.sort(np.random.default_rng(examples.seed).choice(count, most, replace=False))
    features = np.stack([box.mask(examples.data.codes) for box in literals], axis=1)[rows].astype(np.int32)
    shares = examples.shares[examples.sample][rows]
    y = shares[:, 0] if examples.kind == "squares" else shares.argmax(axis=1)
    return features, y, examples.weights[examples.sample][rows]


def _missing(package: str, solver: str) -> MissingExtraError:
    return MissingExtraError(f"Solver '{solver}' needs the package {package}: pip install 'lilliput[rules]'.")
