"""Public conformance kits: whoever adds a family, a sampler or a backend runs the same checks as ours.

Each kit yields (name, function) pairs; a check raises AssertionError or FamilyError when its law is broken.

Example:
    >>> from engine.samplers.random import RandomSampler
    >>> for name, check in sampler_checks():
    ...     if name == "proposes_inside_the_space":
    ...         check(RandomSampler)
"""

from __future__ import annotations

from engine.checks.artifacts import artifact_checks
from engine.checks.backends import backend_checks
from engine.checks.families import family_checks
from engine.checks.samplers import sampler_checks

__all__ = ["artifact_checks", "backend_checks", "family_checks", "sampler_checks"]
