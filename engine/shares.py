"""Means of candidates as a candidate: the genes of each member beside its share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.space import Candidate, Value

__all__ = ["BLEND", "blend_of", "is_blend", "shares_of"]

BLEND = "blend"  # under the gene `family`; no search proposes one


def blend_of(shares: Mapping[Candidate, float]) -> Candidate:
    """Return a mean as a candidate.

    Args:
        shares: Of each member, above 0, with the sum 1.

    Example:
        >>> one, other = Candidate.of({"family": "constant"}), Candidate.of({"family": "linear", "crosses": 4})
        >>> blend_of({one: 0.25, other: 0.75})["blend.0.crosses"]
        4
    """
    members = sorted(shares.items(), key=lambda entry: (-entry[1], entry[0].key))
    genes: dict[str, Value] = {"family": BLEND}
    for number, (member, share) in enumerate(members):
        genes[f"{BLEND}.{number}.share"] = share
        genes |= {f"{BLEND}.{number}.{name}": value for name, value in member.values}
    return Candidate.of(genes)


def is_blend(candidate: Candidate) -> bool:
    """Say whether a candidate is a mean of others."""
    return candidate.genes.get("family") == BLEND


def shares_of(candidate: Candidate) -> dict[Candidate, float]:
    """Return the members of a mean with their shares, the largest share first.

    Args:
        candidate: As `blend_of` makes it.

    Example:
        >>> shares = {Candidate.of({"family": "constant"}): 0.25, Candidate.of({"family": "linear"}): 0.75}
        >>> shares_of(blend_of(shares)) == shares
        True
    """
    members: dict[int, dict[str, Any]] = {}
    for name, value in candidate.values:
        if name != "family":
            _, number, gene = name.split(".", 2)
            members.setdefault(int(number), {})[gene] = value
    return {
        Candidate.of(genes): share for share, genes in ((members[n].pop("share"), members[n]) for n in sorted(members))
    }
