"""Samplers by name."""

from __future__ import annotations

from engine.errors import SettingsError, did_you_mean
from engine.samplers import Sampler
from engine.samplers.optuna import OPTUNA_SAMPLERS, OptunaSampler
from engine.samplers.pareto import ParetoSampler
from engine.samplers.random import RandomSampler

__all__ = ["SAMPLERS", "is_pure", "sampler_named"]

SAMPLERS = tuple(sorted({"pareto", "random", *OPTUNA_SAMPLERS}))


def is_pure(name: str) -> bool:
    """Say whether proposals are a function of their arguments; Optuna's samplers remember earlier calls."""
    return name in ("pareto", "random")


def sampler_named(name: str, *, seed: int) -> Sampler:
    """Make a sampler.

    Args:
        name: One of SAMPLERS: ours, or one of Optuna's.
        seed: Of the study; our own samplers take their randomness from `propose`.

    Raises:
        SettingsError: If there is no such sampler.
        MissingExtraError: If it needs a package that is not installed.
    """
    if name == "pareto":
        return ParetoSampler()
    if name == "random":
        return RandomSampler()
    if name not in SAMPLERS and name != "cmaes":
        raise SettingsError(f"No sampler '{name}'{did_you_mean(name, SAMPLERS)} Samplers: {', '.join(SAMPLERS)}.")
    return OptunaSampler(name, seed)
