"""Candidates that do well on most tables: what a search of tables begins with."""

from __future__ import annotations

from pathlib import Path

import yaml

from automl.space import fitting
from engine.space import Candidate, Space

__all__ = ["portfolio"]

PATH = Path(__file__).with_name("portfolio.yaml")


def portfolio(space: Space) -> list[Candidate]:
    """Return the candidates of portfolio.yaml that a space has, in their order.

    Args:
        space: Of the search; genes that it has not are left out.
    """
    entries = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    found = [fitting(space, entry) for entry in entries]
    return list(dict.fromkeys(candidate for candidate in found if candidate is not None))
