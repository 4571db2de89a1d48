"""What the drivers share: Hydra composes the command line, the rest is plain Python."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from engine.arguments import lenient
from engine.errors import EXIT_INTERRUPTED, EngineError, SettingsError, report_error

__all__ = ["SPACES", "command"]

SPACES = {
    "nas": ("cells", "cells1d", "mlp", "mobile"),
    "automl": ("autosklearn", "tabular"),
    "rules": ("rules",),
}  # that each driver searches


def command(name: str, work: Callable[[dict[str, Any], list[str]], int], arguments: Sequence[str] | None) -> int:
    """Run the work of a driver, once for each combination of a sweep, and return the worst exit code.

    Args:
        name: Of the primary configuration.
        work: Given the composed configuration as plain containers and the keys as typed; returns an exit code.
            Whatever it needs it imports itself, so that `--help` and a mistyped group answer at once.
        arguments: Of the command line; by default those of this process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    codes = [0]

    @hydra.main(version_base="1.3", config_path=".", config_name=name)
    def composed(config: DictConfig) -> None:
        from hydra.core.hydra_config import HydraConfig

        from engine.command import main_guard

        plain: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        if problem := _misplaced(name, plain):
            codes.append(report_error(SettingsError(problem)))
            return
        told = [override.removeprefix("++") for override in HydraConfig.get().overrides.task]
        codes.append(main_guard(lambda: work(plain, told)))
        if codes[-1] >= EXIT_INTERRUPTED:
            sys.exit(codes[-1])  # a sweep ends too

    try:
        sys.argv = [sys.argv[0], *lenient(given, Path(__file__).parent)]
    except EngineError as error:
        return report_error(error)
    composed()
    return max(codes)


def _misplaced(driver: str, plain: dict[str, Any]) -> str:
    """Return what is wrong with a space that another driver searches; nothing otherwise."""
    space = (plain.get("space") or {}).get("name")
    for other, spaces in SPACES.items():
        if space in spaces and other != driver:
            own = f" Spaces of {driver}.search: {', '.join(SPACES[driver])}." if driver in SPACES else ""
            return f"The space {space} is searched by another command: python -m {other}.search +space={space}.{own}"
    return ""
