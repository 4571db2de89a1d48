"""Backends by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.backends import Backend
from engine.backends.processes import Processes
from engine.backends.ray import Ray
from engine.backends.serial import Serial
from engine.backends.settings import BackendSettings
from engine.errors import SettingsError, did_you_mean

__all__ = ["BACKENDS", "backend_for"]

BACKENDS = ("processes", "ray", "serial")


def backend_for(
    settings: BackendSettings,
    *,
    workers: int,
    seconds_of: Callable[[Any], float | None] | None = None,
    memory_bytes: int | None = None,
) -> Backend:
    """Make a backend.

    Args:
        settings: Its name, one of BACKENDS, and what Ray must know.
        workers: How many tasks may run at once; `serial` runs one whatever it says.
        seconds_of: Tells how long a task may run; None where all run for as long as they take.
        memory_bytes: Of each worker; None for as much as there is.

    Raises:
        SettingsError: If there is no such backend, fewer than one worker, or limits that the backend cannot keep.
        MissingExtraError: If its package is not installed.
    """
    name = settings.name
    if name not in BACKENDS:
        raise SettingsError(f"No backend '{name}'{did_you_mean(name, BACKENDS)} Backends: {', '.join(BACKENDS)}.")
    if name == "processes":
        return Processes(workers, seconds_of=seconds_of, memory_bytes=memory_bytes)
    if name == "ray":
        return Ray(settings, workers=workers, seconds_of=seconds_of, memory_bytes=memory_bytes)
    if seconds_of is not None or memory_bytes is not None:
        raise SettingsError(f"trial.seconds and trial.memory_bytes need worker processes, got backend={name}.")
    return Serial()
