"""What a card says of a tabular model in words."""

from __future__ import annotations

from typing import Any

from engine.shares import BLEND, is_blend, shares_of
from engine.space import Candidate

__all__ = ["describe"]

PREPARATION = ("rare", "order", "categories", "fill", "scale", "crosses", "select")
NAMES = {"extra": "extremely randomised trees", "forest": "random forest", "perceptron": "multi-layer perceptron"}


def describe(candidate: Candidate) -> dict[str, Any]:
    """Return the steps that led to a model, from its genes.

    Args:
        candidate: The winner.
    """
    if is_blend(candidate):
        shares = shares_of(candidate)
        steps = [{"step": f"{share:.1%} of the mean", "detail": member.genes} for member, share in shares.items()]
        return {"family": BLEND, "steps": steps}
    genes, family = candidate.genes, str(candidate["family"])
    own = {name.split(".")[1]: value for name, value in genes.items() if name.startswith(f"{family}.")}
    steps = []
    prepared = {name: genes[name] for name in PREPARATION if name in genes}
    if prepared:
        steps.append({"step": "columns prepared", "detail": prepared})
    if own:
        steps.append({"step": f"{NAMES.get(family, family)} trained", "detail": own})
    if genes.get("teach"):
        steps.append({"step": "taught by out-of-fold opinions", "detail": f"{genes['teach']:.0%} of the target"})
    if genes.get("calibrate"):
        steps.append({"step": "probabilities calibrated", "detail": "on rows that the model was not trained on"})
    rounded = [name for name in ("leaves", "coding") if name in genes]
    steps += [{"step": "values rounded", "detail": f"{name} {genes[name]}"} for name in rounded]
    return {"family": family, "steps": steps}
