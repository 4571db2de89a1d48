"""Parts of a prepared table: each makes features of some columns, here and in the file alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, final

import numpy as np

from automl.table import Columns
from compression.tabular.categories import Above, Encode, OneHot
from compression.tabular.preprocessing import Affine, Chain, Clip, Fill, Indicate, Products, Ramps, Select, Step

__all__ = ["Codes", "Crosses", "Edges", "Flags", "Gaps", "Numbers", "Part", "Pieces", "Raw"]

REACH = 4.0  # spreads from the centre at which a scaled number is cut off


class Part(Protocol):
    """Some columns of a table, and what is made of them. Frozen data."""

    @property
    def columns(self) -> tuple[int, ...]:
        """Numeric columns, or categorical ones, in order."""

    @property
    def is_text(self) -> bool:
        """Whether they are categorical."""

    @property
    def owners(self) -> np.ndarray:
        """Of each feature, the place in `columns` of the column that it comes from, int, shape (n_features,)."""

    def step(self) -> Step:
        """Return the same for the file; its inputs are `columns`."""

    def apply(self, rows: Columns) -> np.ndarray:
        """Return the features, float64, shape (n_rows, n_features)."""

    def take(self, features: np.ndarray) -> Part:
        """Return the part with only these of its features."""


@final
@dataclass(frozen=True, eq=False)
class Raw:
    """Numbers as they are."""

    columns: tuple[int, ...]
    is_text: bool = False

    @property
    def owners(self) -> np.ndarray:
        """Each column is one feature."""
        return np.arange(len(self.columns))

    def step(self) -> Step:
        """Nothing is done."""
        return Chain(())

    def apply(self, rows: Columns) -> np.ndarray:
        """Return the columns."""
        return rows.x[:, list(self.columns)].astype(np.float64)

    def take(self, features: np.ndarray) -> Raw:
        """Return some of the columns."""
        return Raw(tuple(self.columns[place] for place in features))


@final
@dataclass(frozen=True, eq=False)
class Numbers:
    """Numbers with missing values filled in, centred and scaled.

    Args:
        columns: Numeric.
        fill: Instead of a missing value, shape (n_columns,).
        centre: Subtracted, shape (n_columns,).
        spread: Divided by, shape (n_columns,).
        is_cut: Whether values more than REACH spreads away are set to that.
    """

    columns: tuple[int, ...]
    fill: np.ndarray
    centre: np.ndarray
    spread: np.ndarray
    is_cut: bool = False
    is_text: bool = False

    @property
    def owners(self) -> np.ndarray:
        """Each column is one feature."""
        return np.arange(len(self.columns))

    def step(self) -> Step:
        """Return filling and scaling."""
        scaling = Affine(1 / self.spread, -self.centre / self.spread)
        steps = (Fill(tuple(self.fill.tolist())), scaling)
        return Chain((*steps, Clip(-REACH, REACH))) if self.is_cut else Chain(steps)

    def apply(self, rows: Columns) -> np.ndarray:
        """Return the scaled numbers."""
        values = rows.x[:, list(self.columns)].astype(np.float64)
        scaled = (np.where(np.isnan(values), self.fill, values) - self.centre) / self.spread
        return np.asarray(np.clip(scaled, -REACH, REACH) if self.is_cut else scaled)

    def take(self, features: np.ndarray) -> Numbers:
        """Return some of the columns."""
        columns = tuple(self.columns[place] for place in features)
        return replace(
            self, columns=columns, fill=self.fill[features], centre=self.centre[features], spread=self.spread[features]
        )


@final
@dataclass(frozen=True, eq=False)
class Gaps:
    """One where a number is missing."""

    columns: tuple[int, ...]
    is_text: bool = False

    @property
    def owners(self) -> np.ndarray:
        """Each column is one feature."""
        return np.arange(len(self.columns))

    def step(self) -> Step:
        """Return the comparison."""
        return Indicate()

    def apply(self, rows: Columns) -> np.ndarray:
        """Return flags."""
        return np.asarray(np.isnan(rows.x[:, list(self.columns)]), np.float64)

    def take(self, features: np.ndarray) -> Gaps:
        """Return some of the columns."""
        return Gaps(tuple(self.columns[place] for place in features))


@final
@dataclass(frozen=True, eq=False)
class Edges:
    """One where a number is above an edge, for each edge.

    Args:
        columns: Numeric.
        edges: Of each column, float32, shape (n_edges,).
    """

    columns: tuple[int, ...]
    edges: tuple[np.ndarray, ...]
    is_text: bool = False

    @property
    def owners(self) -> np.ndarray:
        """An edge belongs to its column."""
        return np.repeat(np.arange(len(self.columns)), [len(known) for known in self.edges])

    def step(self) -> Step:
        """Return the comparison."""
        return Above(tuple(tuple(map(float, known)) for known in self.edges))

    def apply(self, rows: Columns) -> np.ndarray:
        """Return flags; a missing number is above nothing."""
        made = [rows.x[:, [column]] > known for column, known in zip(self.columns, self.edges, strict=True)]
        return np.concatenate(made, axis=1).astype(np.float64)

    def take(self, features: np.ndarray) -> Edges:
        """Return some of the edges, and the columns that still have one."""
        owners, flat = self.owners[features], np.concatenate(self.edges)[features]
        kept = np.unique(owners)
        return Edges(tuple(self.columns[place] for place in kept), tuple(flat[owners == place] for place in kept))


@final
@dataclass(frozen=True, eq=False)
class Pieces:
    """How far a number has come through each piece of its range: 0 before, 1 behind; missing values are filled in.

    Source: Gorishniy et al. (2022), On embeddings for numerical features in tabular deep learning, arXiv:2203.05556,
    section 3.2, piecewise linear encoding; differs in that numbers beyond the outer edges count as these.

    Args:
        columns: Numeric.
        fill: Instead of a missing value, shape (n_columns,).
        owners: Of each piece, the place of its column, rising, int, shape (n_pieces,).
        low: Where each begins, shape (n_pieces,).
        high: Where each ends, shape (n_pieces,).
    """

    columns: tuple[int, ...]
    fill: np.ndarray
    owners: np.ndarray
    low: np.ndarray
    high: np.ndarray
    is_text: bool = False

    def step(self) -> Step:
        """Return filling, and a ramp for each piece."""
        places = Select(tuple(self.owners.tolist()))
        return Chain((Fill(tuple(self.fill.tolist())), places, Ramps(self.low, self.high)))

    def apply(self, rows: Columns) -> np.ndarray:
        """Return the shares."""
        values = rows.x[:, list(self.columns)].astype(np.float64)
        values = np.where(np.isnan(values), self.fill, values)[:, self.owners]
        return np.asarray(np.clip((values - self.low) / (self.high - self.low), 0.0, 1.0))

    def take(self, features: np.ndarray) -> Pieces:
        """Return some of the pieces, and the columns that still have one."""
        kept, owners = np.unique(self.owners[features], return_inverse=True)
        columns = tuple(self.columns[place] for place in kept)
        return Pieces(columns, self.fill[kept], owners, self.low[features], self.high[features])


@final
@dataclass(frozen=True, eq=False)
class Codes:
    """A number for each category.

    Args:
        columns: Categorical.
        vocabularies: Of each, its texts.
        values: Of each, the number of each text and, last, of any other, shape (n_texts + 1,).
        has_rest: Of each, whether training rows had others: rare texts, which have that last number.
    """

    columns: tuple[int, ...]
    vocabularies: tuple[tuple[str, ...], ...]
    values: tuple[np.ndarray, ...]
    has_rest: tuple[bool, ...]
    is_text: bool = True

    @property
    def owners(self) -> np.ndarray:
        """Each column is one feature."""
        return np.arange(len(self.columns))

    def step(self) -> Step:
        """Return the comparison; texts with the number of unknown ones need not be known."""
        texts, numbers = [], []
        for vocabulary, values in zip(self.vocabularies, self.values, strict=True):
            named = [
                (text, float(value)) for text, value in zip(vocabulary, values, strict=False) if value != values[-1]
            ]
            texts.append(tuple(text for text, _ in named))
            numbers.append(tuple(value for _, value in named))
        rest = tuple(float(values[-1]) for values in self.values)
        return Encode(tuple(texts), tuple(numbers), rest, (False,) * len(rest))

    def apply(self, rows: Columns) -> np.ndarray:
        """Return the numbers."""
        made = [values[rows.codes[:, column]] for column, values in zip(self.columns, self.values, strict=True)]
        return np.stack(made, axis=1).astype(np.float64)

    def take(self, features: np.ndarray) -> Codes:
        """Return some of the columns."""
        return Codes(
            tuple(self.columns[place] for place in features),
            tuple(self.vocabularies[place] for place in features),
            tuple(self.values[place] for place in features),
            tuple(self.has_rest[place] for place in features),
        )


@final
@dataclass(frozen=True, eq=False)
class Flags:
    """One where a category is met, for each one that is named.

    Args:
        columns: Categorical.
        vocabularies: Of each, its texts.
        named: Of each, places in the vocabulary.
    """

    columns: tuple[int, ...]
    vocabularies: tuple[tuple[str, ...], ...]
    named: tuple[np.ndarray, ...]
    is_text: bool = True

    @property
    def owners(self) -> np.ndarray:
        """A category belongs to its column."""
        return np.repeat(np.arange(len(self.columns)), [len(places) for places in self.named])

    def step(self) -> Step:
        """Return the comparison."""
        pairs = zip(self.vocabularies, self.named, strict=True)
        return OneHot(tuple(tuple(vocabulary[place] for place in places) for vocabulary, places in pairs))

    def apply(self, rows: Columns) -> np.ndarray:
        """Return flags."""
        made = [rows.codes[:, [column]] == places for column, places in zip(self.columns, self.named, strict=True)]
        return np.concatenate(made, axis=1).astype(np.float64)

    def take(self, features: np.ndarray) -> Flags:
        """Return some of the categories, and the columns that still have one."""
        owners, flat = self.owners[features], np.concatenate(self.named)[features]
        kept = np.unique(owners)
        return Flags(
            tuple(self.columns[place] for place in kept),
            tuple(self.vocabularies[place] for place in kept),
            tuple(flat[owners == place] for place in kept),
        )


@final
@dataclass(frozen=True, eq=False)
class Crosses:
    """Products of two scaled numbers.

    Args:
        numbers: Scaled.
        pairs: Places among them, shape (n_pairs, 2).
    """

    numbers: Numbers
    pairs: np.ndarray
    is_text: bool = False

    @property
    def columns(self) -> tuple[int, ...]:
        """Those of the numbers."""
        return self.numbers.columns

    @property
    def owners(self) -> np.ndarray:
        """A product belongs to its first factor."""
        return np.asarray(self.pairs[:, 0])

    def step(self) -> Step:
        """Return scaling and one product."""
        return Chain((self.numbers.step(), Products(tuple(map(tuple, self.pairs.tolist())))))

    def apply(self, rows: Columns) -> np.ndarray:
        """Return the products."""
        values = self.numbers.apply(rows)
        return np.asarray(values[:, self.pairs[:, 0]] * values[:, self.pairs[:, 1]])

    def take(self, features: np.ndarray) -> Crosses:
        """Return some of the products."""
        return Crosses(self.numbers, self.pairs[features])
