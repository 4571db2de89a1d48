"""Letting every `key=value` of a command line through Hydra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = ["lenient"]


def lenient(arguments: Sequence[str], configuration: Path) -> list[str]:
    """Let every plain `key=value` through Hydra, so that `engine.settings` can judge all of them at once.

    Hydra stops at the first key that it does not know, and suggests nothing. Choices of a group (`data=npz`), keys that
    carry a prefix, and Hydra's own stay as they are.

    Args:
        arguments: Of the command line.
        configuration: The folder of YAML files.

    Example:
        >>> lenient(["budget=3", "+space=cells", "--help"], Path("conf"))
        ['++budget=3', '+space=cells', '--help']
    """
    groups = {path.name for path in configuration.iterdir() if path.is_dir()}

    def passed(argument: str) -> str:
        key = argument.split("=", 1)[0]
        is_plain = "=" in argument and not argument.startswith(("-", "+", "~")) and not key.startswith("hydra")
        return f"++{argument}" if is_plain and key not in groups else argument

    return [passed(argument) for argument in arguments]
