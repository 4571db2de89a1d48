"""Models made of models: averages of their answers, and a last model on top of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from compression.dense import DENSE_CODINGS, Manner, Model
from compression.features import Block, Blocks, chosen
from compression.tables import TableGraph
from compression.tabular.preprocessing import Step

__all__ = ["Average", "Member", "Stack"]


@final
@dataclass(frozen=True, eq=False)
class Member:
    """One of several models.

    Args:
        features: Those that it takes; None for all.
        step: Its own preparation.
        model: Itself.
    """

    features: tuple[int, ...] | None
    step: Step
    model: Model

    def lower(self, graph: TableGraph, blocks: Blocks, manner: Manner) -> tuple[str, Member]:
        """Write the member, in the coding asked for or the nearest of more bits that it has."""
        taken = blocks if self.features is None else chosen(blocks, self.features)
        asked = DENSE_CODINGS[: DENSE_CODINGS.index(manner.coding) + 1]
        coding = [name for name in asked if name in self.model.codings][-1]
        name, held = self.model.lower(graph, self.step.lower(graph, taken), Manner(coding, manner.folds))
        return name, Member(self.features, self.step, held)


@final
@dataclass(frozen=True, eq=False)
class Average:
    """The weighted mean of what the members answer.

    Args:
        members: At least one.
        weights: Of each, float64, shape (n_members,), with the sum 1.
    """

    members: tuple[Member, ...]
    weights: np.ndarray
    codings: tuple[str, ...] = DENSE_CODINGS

    def lower(self, graph: TableGraph, blocks: Blocks, manner: Manner, /) -> tuple[str, Average]:
        """Write the members and their mean."""
        written = [member.lower(graph, blocks, manner) for member in self.members]
        held = Average(tuple(member for _, member in written), self.weights)
        names = [name for name, _ in written]
        if (self.weights == self.weights[0]).all():
            total = graph.node("Sum", *names)
            return graph.node("Mul", total, graph.constant(float(self.weights[0]))), held
        parts = [graph.node("Mul", n, graph.constant(float(w))) for n, w in zip(names, self.weights, strict=True)]
        return graph.node("Sum", *parts), held


@final
@dataclass(frozen=True, eq=False)
class Stack:
    """A last model whose features are what the members answer.

    Args:
        members: At least one.
        skipped: How many first columns of each answer are left out.
        outputs: Columns of each answer.
        last: The last model.
        takes_rows: Whether it takes the features of the members, too.
    """

    members: tuple[Member, ...]
    skipped: tuple[int, ...]
    outputs: tuple[int, ...]
    last: Member
    takes_rows: bool
    codings: tuple[str, ...] = DENSE_CODINGS

    def lower(self, graph: TableGraph, blocks: Blocks, manner: Manner, /) -> tuple[str, Stack]:
        """Write the members and the last model."""
        written = [member.lower(graph, blocks, manner) for member in self.members]
        answers = tuple(
            Block.whole(name, outputs).take(range(skipped, outputs))
            for (name, _), skipped, outputs in zip(written, self.skipped, self.outputs, strict=True)
        )
        name, last = self.last.lower(graph, answers + blocks if self.takes_rows else answers, manner)
        members = tuple(member for _, member in written)
        return name, Stack(members, self.skipped, self.outputs, last, self.takes_rows)
