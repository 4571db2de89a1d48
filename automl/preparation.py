"""From columns to features: which parts, fitted on training rows, and the same as a step of the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from automl.parts import Codes, Crosses, Edges, Flags, Gaps, Numbers, Part, Pieces, Raw
from automl.solver import fit_weights
from automl.table import Columns, Table
from automl.targets import Targets
from compression.tabular.preprocessing import Select, Step, Union
from engine.space import Value

__all__ = ["Preparation", "category_codes", "dense", "edges_of", "for_trees", "frequent"]

SMOOTHING = 10.0  # rows of the overall mean that are added to each category
MOST_FLAGS = 256  # categories of one column that get a flag of their own
MOST_SCREENED = 40  # numbers whose products are looked at
SCREEN_ROWS = 5000


@final
@dataclass(frozen=True, eq=False)
class Preparation:
    """Parts side by side.

    Args:
        parts: In order.
        n_numeric: Numeric columns of the table; categorical ones are numbered after them.
    """

    parts: tuple[Part, ...]
    n_numeric: int

    @property
    def width(self) -> int:
        """Number of features."""
        return sum(len(part.owners) for part in self.parts)

    @property
    def owners(self) -> np.ndarray:
        """Of each feature, the column of the table that it comes from, int, shape (n_features,)."""
        made = [np.asarray(self._places(part))[part.owners] for part in self.parts]
        return np.concatenate(made) if made else np.zeros(0, np.int64)

    def step(self) -> Step:
        """Return the step of the file; its inputs are the columns of the table."""
        if len(self.parts) == 1 and isinstance(self.parts[0], Raw):
            return Select(self._places(self.parts[0]))
        return Union(tuple((self._places(part), part.step()) for part in self.parts))

    def apply(self, rows: Columns) -> np.ndarray:
        """Return the features, float64, shape (n_rows, n_features)."""
        made = [part.apply(rows) for part in self.parts]
        return np.concatenate(made, axis=1) if made else np.zeros((len(rows), 0))

    def take(self, features: Sequence[int] | np.ndarray) -> Preparation:
        """Return the preparation with only these features, ascending."""
        kept, begin = [], 0
        chosen = np.asarray(features, np.int64)
        for part in self.parts:
            end = begin + len(part.owners)
            own = chosen[(chosen >= begin) & (chosen < end)] - begin
            if len(own):
                kept.append(part if len(own) == end - begin else part.take(own))
            begin = end
        return Preparation(tuple(kept), self.n_numeric)

    def _places(self, part: Part) -> tuple[int, ...]:
        return tuple(column + (self.n_numeric if part.is_text else 0) for column in part.columns)


def for_trees(table: Table, rows: Columns, targets: Targets, *, rare: int, order: str) -> Preparation:
    """Return what trees take: numbers as they are, and a number for each category.

    Args:
        table: For vocabularies.
        rows: Training rows.
        targets: Of them.
        rare: Rows below which a category counts as any unknown one.
        order: Of the categories: `target`, by the mean of the target; or `count`, by how frequent they are.
    """
    n_numeric, n_text = rows.x.shape[1], rows.codes.shape[1]
    parts: list[Part] = [Raw(tuple(range(n_numeric)))] if n_numeric else []
    if n_text:
        values = tuple(
            _ranked(rows.codes[:, place], len(table.vocabularies[place]), targets, rare=rare, order=order)
            for place in range(n_text)
        )
        parts.append(_coded(table, rows, values))
    return Preparation(tuple(parts), n_numeric)


def dense(table: Table, rows: Columns, targets: Targets, genes: Mapping[str, Value]) -> Preparation:
    """Return what models of sums and distances take: numbers filled and scaled, and flags or means for categories.

    Args:
        table: For vocabularies.
        rows: Training rows.
        targets: Of them.
        genes: `select`; `fill`, `scale` and `crosses` where there are numbers, and perhaps `pieces`; `categories` and
            `rare` where there are categories.
    """
    n_numeric, n_text = rows.x.shape[1], rows.codes.shape[1]
    parts: list[Part] = []
    if n_numeric:
        numbers = _numbers(rows.x, fill=str(genes["fill"]), scale=str(genes["scale"]))
        count = int(genes.get("pieces", 1))
        parts += [numbers if count == 1 else _pieces(rows.x, numbers, count)] if numbers.columns else []
        gaps = np.flatnonzero(np.isnan(rows.x).any(axis=0) & ~np.isnan(rows.x).all(axis=0))
        parts += [Gaps(tuple(gaps.tolist()))] if len(gaps) and genes["fill"] == "flag" else []
    if n_text:
        rare, sizes = int(genes["rare"]), [len(known) for known in table.vocabularies]
        if genes["categories"] == "means":
            values = tuple(
                category_codes(rows.codes[:, place], sizes[place], targets, rare=rare) for place in range(n_text)
            )
            parts.append(_scaled_codes(_coded(table, rows, values), rows))
        else:
            named = [frequent(rows.codes[:, place], table.vocabularies[place], rare=rare) for place in range(n_text)]
            kept = [place for place in range(n_text) if len(named[place])]
            flags = Flags(tuple(kept), tuple(table.vocabularies[p] for p in kept), tuple(named[p] for p in kept))
            parts += [flags] if kept else []
    made = Preparation(tuple(parts), n_numeric)
    crosses = int(genes.get("crosses", 0))
    if crosses and n_numeric and numbers.columns:
        made = _crossed(made, numbers, rows, targets, crosses)
    share = float(genes["select"])
    return _selected(made, rows, targets, share) if share < 1 else made


def category_codes(codes: np.ndarray, size: int, targets: Targets, *, rare: int) -> np.ndarray:
    """Return the smoothed mean of the target for each category and, last, for any other, shape (size + 1,).

    Of several classes it is the mean along the direction in which categories differ most.
    """
    counts, means = _means(codes, size, targets)
    total = np.average(targets.goal, axis=0, weights=targets.weight)
    if targets.classes == 2:
        along = means[:, 1]
    elif means.shape[1] == 1:
        along = means[:, 0]
    else:
        away = (means - total) * np.sqrt(counts)[:, None]
        direction = np.linalg.svd(away, full_matrices=False)[2][0]
        along = means @ (direction * (1 if direction[np.abs(direction).argmax()] > 0 else -1))
    is_rare = counts < max(rare, 1)
    rest = float(np.average(along[is_rare], weights=counts[is_rare])) if counts[is_rare].sum() > 0 else None
    if rest is None:  # nothing is rare: whatever is unknown is taken for the mean
        rest = float(np.average(along, weights=counts)) if counts.sum() > 0 else 0.0
    return np.append(np.where(is_rare, rest, along), rest)


def frequent(codes: np.ndarray, vocabulary: Sequence[str], *, rare: int) -> np.ndarray:
    """Return the categories that get a flag, places in the vocabulary, int.

    One category needs no flag, since it is what all others are not: the rare ones together, or where there are none the
    one whose text is longest.
    """
    counts = np.bincount(codes[codes >= 0], minlength=len(vocabulary))
    named = np.flatnonzero(counts >= max(rare, 1))
    if len(named) > MOST_FLAGS:
        named = np.sort(named[np.argsort(-counts[named], kind="stable")[:MOST_FLAGS]])
    if len(named) == (counts > 0).sum() and len(named):
        longest = max(named.tolist(), key=lambda place: (len(vocabulary[place].encode()), place))
        named = named[named != longest]
    return named


def _means(codes: np.ndarray, size: int, targets: Targets) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of each category, and smoothed means of the goal, shape (size, n_outputs)."""
    goal, weight = targets.goal, targets.weight
    known = codes >= 0
    counts = np.bincount(codes[known], minlength=size).astype(np.float64)
    mass = np.bincount(codes[known], weight[known], size)
    total = np.average(goal, axis=0, weights=weight)
    sums = np.stack([np.bincount(codes[known], (weight * column)[known], size) for column in goal.T], axis=1)
    return counts, (sums + SMOOTHING * total) / (mass + SMOOTHING)[:, None]


def _ranked(codes: np.ndarray, size: int, targets: Targets, *, rare: int, order: str) -> np.ndarray:
    """Return whole numbers from 0 on in the order of the categories; equal ones share a number."""
    if order == "target":
        along = category_codes(codes, size, targets, rare=rare)
    else:
        counts = np.bincount(codes[codes >= 0], minlength=size).astype(np.float64)
        along = np.append(np.where(counts < max(rare, 1), 0.0, counts), 0.0)
    return np.unique(along, return_inverse=True)[1].astype(np.float64)


def _numbers(x: np.ndarray, *, fill: str, scale: str) -> Numbers:
    """Fit filling and scaling; columns of one value are left out."""
    values = x.astype(np.float64)
    known = [column[~np.isnan(column)] for column in values.T]
    columns = [place for place, column in enumerate(known) if len(column) and column.max() > column.min()]
    filled = [np.median(known[c]) if fill == "median" else known[c].mean() for c in columns]
    fills = np.array(filled, np.float64).astype(np.float32).astype(np.float64)
    if scale == "spread":
        centre, spread = np.array([known[c].mean() for c in columns]), np.array([known[c].std() for c in columns])
    else:  # robust: the middle half, cut far outside
        quarters = [np.quantile(known[c], (0.25, 0.5, 0.75)) for c in columns]
        centre = np.array([middle for _, middle, _ in quarters])
        widths = [(high - low) / 1.349 for low, _, high in quarters]
        spread = np.array([width or known[c].std() for width, c in zip(widths, columns, strict=True)])
    return Numbers(tuple(columns), fills, centre, spread, is_cut=scale == "robust")


def _pieces(x: np.ndarray, numbers: Numbers, count: int) -> Pieces:
    """Cut the range of each column into up to so many pieces that hold as many rows each."""
    edges = []
    for column in numbers.columns:
        known = x[:, column][~np.isnan(x[:, column])]
        edges.append(np.unique(np.quantile(known, np.linspace(0, 1, count + 1)).astype(np.float32)).astype(np.float64))
    owners = np.repeat(np.arange(len(edges)), [len(own) - 1 for own in edges])
    low, high = (np.concatenate([own[part] for own in edges]) for part in (slice(None, -1), slice(1, None)))
    return Pieces(numbers.columns, numbers.fill, owners, low, high)


def _coded(table: Table, rows: Columns, values: tuple[np.ndarray, ...]) -> Codes:
    has_rest = tuple(bool((known[rows.codes[:, place]] == known[-1]).any()) for place, known in enumerate(values))
    return Codes(tuple(range(len(values))), table.vocabularies, values, has_rest)


def _scaled_codes(part: Codes, rows: Columns) -> Codes:
    made = []
    for column, values in zip(part.columns, part.values, strict=True):
        seen = values[rows.codes[:, column]]
        spread = seen.std() or 1.0
        made.append(((values - seen.mean()) / spread).astype(np.float32).astype(np.float64))
    return Codes(part.columns, part.vocabularies, tuple(made), part.has_rest)


def _crossed(made: Preparation, numbers: Numbers, rows: Columns, targets: Targets, count: int) -> Preparation:
    """Add the products of two numbers that say most of what a sum of all features leaves unsaid."""
    few = np.linspace(0, len(rows) - 1, min(len(rows), SCREEN_ROWS)).astype(np.int64)
    features, scores = made.apply(rows.take(few)), targets.take(few).scores
    weight, bias = fit_weights(features, scores, targets.weight[few], "identity", ridge=1.0)
    rest = scores - features @ weight - bias
    size = min(len(numbers.columns), MOST_SCREENED)
    first, second = np.triu_indices(size)
    values = numbers.apply(rows.take(few))[:, :size]
    products = values[:, first] * values[:, second]
    products = (products - products.mean(axis=0)) / (products.std(axis=0) + 1e-12)
    found = np.abs(products.T @ rest).sum(axis=1)
    best = np.sort(np.argsort(-found, kind="stable")[:count])
    used, places = np.unique([first[best], second[best]], return_inverse=True)
    crosses = Crosses(numbers.take(used), places.reshape(2, -1).T)
    return Preparation((*made.parts, crosses), made.n_numeric)


def _selected(made: Preparation, rows: Columns, targets: Targets, share: float) -> Preparation:
    """Keep the features with the largest weights of a sum of all of them."""
    few = np.linspace(0, len(rows) - 1, min(len(rows), SCREEN_ROWS)).astype(np.int64)
    features, part = made.apply(rows.take(few)), targets.take(few)
    weight, _ = fit_weights(features, part.scores, part.weight, "identity", ridge=1.0)
    worth = np.abs(weight).sum(axis=1) * features.std(axis=0)
    count = max(1, round(share * len(worth)))
    return made.take(np.sort(np.argsort(-worth, kind="stable")[:count]))


def edges_of(columns: Sequence[int], edges: Sequence[np.ndarray]) -> Edges:
    """Return the part that compares numbers with edges; columns without edges are left out."""
    kept = [place for place, known in enumerate(edges) if len(known)]
    return Edges(tuple(columns[place] for place in kept), tuple(edges[place] for place in kept))
