"""Means of finished networks: one file, and what its card says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from compression.mean import mean_file
from engine.artifact import Artifact
from engine.data import Rows
from engine.errors import ArtifactError
from engine.shares import shares_of
from engine.space import Candidate

__all__ = ["described", "joined"]

CHECKED_ROWS = 256
TOLERANCE = 1e-5  # of answers, by the largest of them where that is above 1


def joined(blend: Candidate, files: Sequence[Artifact], valid: Rows, error: float) -> Artifact:
    """Return the file of a mean of networks.

    Args:
        blend: As `engine.shares.blend_of` makes it.
        files: Of the members, in the order of their shares.
        valid: Rows on which the file must answer as its members do.
        error: Of the mean, on these rows.

    Raises:
        ArtifactError: If the files cannot be one, or it answers otherwise.
    """
    shares = list(shares_of(blend).values())
    found = Artifact(mean_file([file.model for file in files], shares))
    few = valid.take(np.arange(min(len(valid), CHECKED_ROWS))).inputs()
    expected = sum(share * file.outputs(few) for share, file in zip(shares, files, strict=True))
    answers = found.outputs(few)
    unit = max(1.0, float(np.abs(expected).max()))
    if answers.shape != np.shape(expected) or float(np.abs(answers - expected).max()) > TOLERANCE * unit:
        raise ArtifactError(f"The mean of {len(files)} networks must answer as they do on {len(answers)} rows.")
    card = {
        "validation": {"error": error, "rows": len(valid)},
        "parameters": sum(int(file.card.get("parameters", 0)) for file in files),
        "coding": ", ".join(dict.fromkeys(name for f in files for name in str(f.card.get("coding", "")).split(", "))),
        "refit": any(file.card.get("refit", False) for file in files),
    }
    return Artifact(found.model, card)


def described(blend: Candidate, member: Callable[[Candidate], Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a card says of a mean: what it says of its members, step by step.

    Args:
        blend: As `engine.shares.blend_of` makes it.
        member: What a card says of one network.
    """
    told = [(share, member(candidate)) for candidate, share in shares_of(blend).items()]
    steps = [
        {**step, "step": f"member {number}: {step['step']}"}
        for number, (_, words) in enumerate(told)
        for step in words["steps"]
    ]
    names = "; ".join(f"{share:.1%} {words['description']}" for share, words in told)
    return {"description": f"weighted mean of {len(told)} networks: {names}", "steps": steps}
