"""Box algebra: conditions as boxes, a set of values for each column; exact on float32 and on unseen categories."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache, reduce

from rules.atoms import Atom, Categories, Condition, Numbers
from rules.decimals import after, before, shortest_between

__all__ = [
    "covers",
    "difference",
    "ends",
    "intersection",
    "is_apart",
    "is_covered",
    "is_everything",
    "is_nothing",
    "joined",
    "meet",
    "outside",
    "remainder",
    "simplified",
    "touches",
    "union",
    "witness",
]

OTHER = "other"  # a category that is in no list, in witness rows


@lru_cache(maxsize=100_000)
def ends(atom: Numbers) -> tuple[float, float]:
    """Return the smallest and the largest float32 in an interval; (inf, -inf) where there is none."""
    low = after(atom.low) if atom.low_open else atom.low
    high = before(atom.high) if atom.high_open else atom.high
    return (low, high) if low <= high else (math.inf, -math.inf)


def is_nothing(atom: Atom) -> bool:
    """Whether no value satisfies."""
    if atom.missing:
        return False
    if isinstance(atom, Numbers):
        low, high = ends(atom)
        return low > high
    return not atom.values and not atom.negated


def is_everything(atom: Atom) -> bool:
    """Whether every value satisfies, missing ones included."""
    if isinstance(atom, Numbers):
        return atom.missing and ends(atom) == (-math.inf, math.inf)
    return atom.missing and atom.negated and not atom.values


def intersection(one: Atom, other: Atom) -> Atom:
    """Return the atom that holds where both do; they are about one column."""
    missing = one.missing and other.missing
    if isinstance(one, Numbers) and isinstance(other, Numbers):
        low, low_open = max((one.low, one.low_open), (other.low, other.low_open))
        high, is_closed = min((one.high, not one.high_open), (other.high, not other.high_open))
        return Numbers(one.column, low, high, low_open, not is_closed, missing)
    assert isinstance(one, Categories)
    assert isinstance(other, Categories)
    mine, theirs = set(one.values), set(other.values)
    if one.negated and other.negated:
        return Categories(one.column, tuple(mine | theirs), True, missing)
    if one.negated or other.negated:
        kept = theirs - mine if one.negated else mine - theirs
        return Categories(one.column, tuple(kept), False, missing)
    return Categories(one.column, tuple(mine & theirs), False, missing)


def outside(atom: Atom) -> tuple[Atom, ...]:
    """Return atoms that hold where this one does not, no two of them for one value."""
    column, missing = atom.column, not atom.missing
    if isinstance(atom, Categories):
        rest: tuple[Atom, ...] = (Categories(column, atom.values, not atom.negated, missing),)
    else:
        low, high = ends(atom)
        if low > high:
            rest = (Numbers(column, missing=missing),)
        else:
            has_below = low > -math.inf  # a missing value goes with one of the two, not into a box of its own
            below = Numbers(column, high=atom.low, high_open=not atom.low_open, missing=missing and has_below)
            above = Numbers(column, atom.high, low_open=not atom.high_open, missing=missing and not has_below)
            rest = (below, above)
    return tuple(part for part in rest if not is_nothing(part))


def joined(one: Atom, other: Atom) -> Atom | None:
    """Return the one atom that holds where either does; None where that is no interval."""
    missing = one.missing or other.missing
    if isinstance(one, Categories) and isinstance(other, Categories):
        mine, theirs = set(one.values), set(other.values)
        if one.negated and other.negated:
            return Categories(one.column, tuple(mine & theirs), True, missing)
        if one.negated or other.negated:
            kept = mine - theirs if one.negated else theirs - mine
            return Categories(one.column, tuple(kept), True, missing)
        return Categories(one.column, tuple(mine | theirs), False, missing)
    assert isinstance(one, Numbers)
    assert isinstance(other, Numbers)
    (low, high), (begin, end) = ends(one), ends(other)
    if low > high or begin > end:
        return replace(other if low > high else one, missing=missing)
    first, second = (one, other) if low <= begin else (other, one)
    if ends(first)[1] < before(ends(second)[0]):
        return None
    last = one if high >= end else other
    return Numbers(one.column, first.low, last.high, first.low_open, last.high_open, missing)


def simplified(condition: Condition) -> Condition | None:
    """Return the same condition with one atom a column and no implied ones; None where nothing satisfies it.

    Example:
        >>> simplified(Condition((Numbers("a", high=10), Numbers("a", high=5)))).atoms
        (Numbers(column='a', low=-inf, high=5.0, low_open=False, high_open=False, missing=False),)
    """
    by_column: dict[str, list[Atom]] = {}
    for atom in condition.atoms:
        by_column.setdefault(atom.column, []).append(atom)
    merged = [reduce(intersection, atoms) for atoms in by_column.values()]
    if any(is_nothing(atom) for atom in merged):
        return None
    return Condition(tuple(atom for atom in merged if not is_everything(atom)))


def meet(*conditions: Condition) -> Condition | None:
    """Return the box in which all conditions hold; None where there is none."""
    return simplified(Condition(tuple(atom for condition in conditions for atom in condition.atoms)))


def covers(outer: Condition, inner: Condition) -> bool:
    """Whether `outer` holds for every row for which `inner` does."""
    return not difference(inner, outer)


def difference(box: Condition, other: Condition) -> tuple[Condition, ...]:
    """Return boxes, no two of which share a row, of the rows in `box` that are not in `other`."""
    rest, cut = simplified(box), simplified(other)
    if rest is None or cut is None:
        return () if rest is None else (rest,)
    if not touches(rest, cut):
        return (rest,)
    made = []
    for atom in cut.atoms:
        for part in outside(atom):
            piece = meet(rest, Condition((part,)))
            if piece is not None:
                made.append(piece)
        narrowed = meet(rest, Condition((atom,)))
        if narrowed is None:
            break
        rest = narrowed
    return tuple(made)


def touches(one: Condition, other: Condition) -> bool:
    """Whether both conditions, each with one atom a column, hold for some row."""
    mine = {atom.column: atom for atom in one.atoms}
    return not any(is_apart(mine[atom.column], atom) for atom in other.atoms if atom.column in mine)


def is_apart(one: Atom, other: Atom) -> bool:
    """Whether no value satisfies both of two atoms of one column."""
    if one.missing and other.missing:
        return False
    if isinstance(one, Numbers) and isinstance(other, Numbers):
        (low, high), (begin, end) = ends(one), ends(other)
        return max(low, begin) > min(high, end)
    return is_nothing(intersection(one, other))


def is_covered(box: Condition, others: Iterable[Condition], *, most: int = 20_000) -> bool:
    """Whether at least one of the others holds wherever a box does.

    Args:
        box: Where to look.
        others: Conditions.
        most: Steps after which the answer is no, though it might be yes.

    Example:
        >>> low, high = Condition((Numbers("a", high=5),)), Condition((Numbers("a", low=3, missing=True),))
        >>> is_covered(Condition(), (low, high)), is_covered(Condition(), (low,))
        (True, False)
    """
    known = [kept for kept in map(simplified, others) if kept is not None]
    waiting = [(kept, known) for kept in (simplified(box),) if kept is not None]
    for _ in range(most):
        if not waiting:
            return True
        piece, candidates = waiting.pop()
        near = [other for other in candidates if touches(piece, other)]
        if not near:
            return False
        waiting += [(part, near[1:]) for part in difference(piece, near[0])]
    return False


def union(one: Condition, other: Condition) -> Condition | None:
    """Return the box of all rows of two boxes, each with one atom a column; None where that is no box.

    Example:
        >>> low, high = (Condition((Numbers("a", 0, 5),)), Condition((Numbers("a", 5, 9),)))
        >>> union(low, high) == Condition((Numbers("a", 0, 9),))
        True
    """
    mine, theirs = ({atom.column: atom for atom in box.atoms} for box in (one, other))
    if covers(one, other) or covers(other, one):
        return one if covers(one, other) else other
    if mine.keys() != theirs.keys() or sum(mine[column] != theirs[column] for column in mine) > 1:
        return None
    atoms = [joined(atom, theirs[column]) for column, atom in mine.items()]
    return None if None in atoms else simplified(Condition(tuple(atom for atom in atoms if atom is not None)))


def remainder(box: Condition, others: Iterable[Condition], *, most: int = 2000) -> tuple[Condition, ...] | None:
    """Return disjoint boxes of the rows of a box that none of the others holds for.

    Args:
        box: Where to look.
        others: What is taken away, one after the other.
        most: Give up when there are more pieces than this.

    Returns:
        The pieces; None where there would be too many.
    """
    pieces: Sequence[Condition] = [kept for kept in (simplified(box),) if kept is not None]
    for other in others:
        pieces = [part for piece in pieces for part in difference(piece, other)]
        if len(pieces) > most:
            return None
        if not pieces:
            break
    return tuple(pieces)


def witness(box: Condition) -> dict[str, float | str]:
    """Return a row that satisfies a box, as short numbers and texts: a value for each column that the box is about.

    A missing value is NaN, or the empty text.

    Example:
        >>> witness(Condition((Numbers("age", low=18, high=30), Categories("town", ("Ulm",), negated=True))))
        {'age': 20.0, 'town': 'other'}
    """
    found: dict[str, float | str] = {}
    kept = simplified(box)
    for atom in kept.atoms if kept else ():
        if isinstance(atom, Numbers):
            low, high = ends(atom)
            found[atom.column] = math.nan if low > high else shortest_between(low, high)
        elif atom.negated:
            found[atom.column] = _other(atom.values)
        else:
            found[atom.column] = atom.values[0] if atom.values else ""
    return found


def _other(values: Sequence[str]) -> str:
    name = OTHER
    while name in values:
        name += "_"
    return name
