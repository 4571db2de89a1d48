"""Features on their way to a model: columns of tensors, with what is still to be multiplied and added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from compression.tables import TableColumns, TableGraph
from engine.errors import ArtifactError

NEGLIGIBLE = 1e-6  # of a scaled feature

__all__ = ["Block", "Blocks", "assembled", "chosen", "gathered", "matrix", "scaled", "start", "unscaled", "width"]


@final
@dataclass(frozen=True, eq=False)
class Block:
    """Some columns of one tensor: value = tensor x scale + shift.

    Scale and shift are not written until somebody needs the values; a linear layer takes them into its weights.

    Args:
        tensor: Name in the graph; float32 or str, shape (n_rows, n_columns).
        size: Number of columns of the tensor.
        columns: Those that the block has, in its order.
        is_text: Whether the tensor holds texts, which have neither scale nor shift.
        scale: float64, shape (len(columns),).
        shift: float64, shape (len(columns),).
    """

    tensor: str
    size: int
    columns: tuple[int, ...]
    is_text: bool
    scale: np.ndarray
    shift: np.ndarray

    @staticmethod
    def whole(tensor: str, size: int, *, is_text: bool = False) -> Block:
        """Return all columns of a tensor."""
        return Block(tensor, size, tuple(range(size)), is_text, np.ones(size), np.zeros(size))

    @property
    def is_plain(self) -> bool:
        """Whether nothing is to be multiplied or added."""
        return bool((self.scale == 1).all() and (self.shift == 0).all())

    def take(self, places: Sequence[int]) -> Block:
        """Return the block with only these of its columns."""
        index = list(places)
        columns = tuple(self.columns[place] for place in index)
        return replace(self, columns=columns, scale=self.scale[index], shift=self.shift[index])


Blocks = tuple[Block, ...]


def start(graph: TableGraph, columns: TableColumns) -> Blocks:
    """Return the columns of a table, in the order of the estimator, as blocks of `x` and `c`."""
    inputs = (len(columns.numeric), len(columns.categorical))
    blocks = []
    for column, kind in enumerate(columns.kinds):
        is_number = kind == "number"
        block = Block.whole("x" if is_number else "c", inputs[not is_number], is_text=not is_number)
        block = block.take([columns.place(column)])
        if kind == "flag":
            block = Block.whole(
                graph.node("Cast", graph.node("Equal", gathered(graph, block), graph.texts(["True"])), to=1), 1
            )
        blocks.append(block)
    return _joined(blocks)


def width(blocks: Blocks) -> int:
    """Return the number of features."""
    return sum(len(block.columns) for block in blocks)


def chosen(blocks: Blocks, features: Sequence[int]) -> Blocks:
    """Return some features, in this order."""
    where = [(block, place) for block in blocks for place in range(len(block.columns))]
    return _joined([where[feature][0].take([where[feature][1]]) for feature in features])


def scaled(blocks: Blocks, scale: np.ndarray, shift: np.ndarray) -> Blocks:
    """Return feature x scale + shift, float64, shapes (n_features,)."""
    made, begin = [], 0
    for block in blocks:
        part = slice(begin, begin + len(block.columns))
        made.append(replace(block, scale=block.scale * scale[part], shift=block.shift * scale[part] + shift[part]))
        begin = part.stop
    return tuple(made)


def unscaled(blocks: Blocks) -> Blocks:
    """Return the same columns with nothing to be multiplied or added."""
    return tuple(replace(b, scale=np.ones(len(b.columns)), shift=np.zeros(len(b.columns))) for b in blocks)


def gathered(graph: TableGraph, block: Block) -> str:
    """Write the columns of a block side by side, without scale and shift, and return the tensor's name."""
    if block.columns == tuple(range(block.size)):
        return block.tensor
    return graph.node("Gather", block.tensor, graph.integers(block.columns), axis=1)


def assembled(graph: TableGraph, blocks: Blocks) -> tuple[str, np.ndarray, np.ndarray]:
    """Write all features side by side without scale and shift.

    Returns:
        Name of the tensor, float32, shape (n_rows, n_features); scale; shift.

    Raises:
        ArtifactError: If a feature is a text.
    """
    if any(block.is_text for block in blocks):
        raise ArtifactError(
            "texts reach a step that takes numbers: encode them before it, with OneHotEncoder or the like."
        )
    names = [gathered(graph, block) for block in blocks]
    name = names[0] if len(names) == 1 else graph.node("Concat", *names, axis=1)
    return name, np.concatenate([b.scale for b in blocks]), np.concatenate([b.shift for b in blocks])


def matrix(graph: TableGraph, blocks: Blocks) -> str:
    """Write all features side by side as they are and return the tensor's name, float32, (n_rows, n_features)."""
    plain = tuple(Block.whole(_written(graph, block), len(block.columns)) for block in blocks)
    return assembled(graph, plain)[0]


def _written(graph: TableGraph, block: Block) -> str:
    """First the difference, then the product: near the centre nothing is lost to rounding."""
    name = gathered(graph, block)
    if block.is_plain:
        return name
    if not block.scale.all():
        scaled_name = graph.node("Mul", name, _vector(graph, block.scale))
        return graph.node("Add", scaled_name, _vector(graph, block.shift))
    center = -block.shift / block.scale
    if center.any():
        name = graph.node("Sub", name, _vector(graph, center))
    if not (block.scale == 1).all():
        name = graph.node("Mul", name, _vector(graph, block.scale))
    rest = (center.astype(np.float32) - center) * block.scale  # what float32 cannot tell of the centre
    return name if np.abs(rest).max() < NEGLIGIBLE else graph.node("Add", name, _vector(graph, rest))


def _vector(graph: TableGraph, values: np.ndarray) -> str:
    if (values == values[0]).all():
        return graph.constant(float(values[0]))
    return graph.weights(values.astype(np.float32))


def _joined(blocks: Sequence[Block]) -> Blocks:
    """Make one block of neighbours that lie in the same tensor."""
    made: list[Block] = []
    for block in blocks:
        if made and made[-1].tensor == block.tensor:
            last = made[-1]
            made[-1] = replace(
                last,
                columns=last.columns + block.columns,
                scale=np.concatenate([last.scale, block.scale]),
                shift=np.concatenate([last.shift, block.shift]),
            )
        else:
            made.append(block)
    return tuple(made)
