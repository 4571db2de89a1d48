"""Backends by name."""

from __future__ import annotations

from engine.backends import Backend
from engine.backends.processes import Processes
from engine.backends.serial import Serial
from engine.errors import SettingsError, did_you_mean

__all__ = ["BACKENDS", "backend_named"]

BACKENDS = ("processes", "serial")


def backend_named(name: str, *, workers: int) -> Backend:
    """Make a backend.

    Args:
        name: One of BACKENDS.
        workers: How many tasks may run at once; `serial` runs one whatever it says.

    Raises:
        SettingsError: If there is no such backend, or fewer than one worker.
    """
    if name not in BACKENDS:
        raise SettingsError(
            f"No backend '{name}'{did_you_mean(name, BACKENDS) or '.'} Backends: {', '.join(BACKENDS)}."
        )
    return Processes(workers) if name == "processes" else Serial()
